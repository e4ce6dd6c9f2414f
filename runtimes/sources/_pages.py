"""Image files that hold more than one picture, of which OpenCV would show the first alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from edge_vss.chunks import png_chunks, riff_chunks

_MOST_PAGES = 1 << 16
_NEW_SUBFILE_TYPE = 254
_REDUCED_OR_MASK = 0b101


def several(content: bytes) -> str:
    """What an image file is, if it holds several pictures: ``an animated PNG``, say. Else empty."""
    if content[8:12] == b"WEBP":
        # RFC 9649, 2.7.1.1: each frame of an animation is a chunk.
        return "an animated WebP" if sum(name == b"ANMF" for name, _ in riff_chunks(content)) > 1 else ""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "an animated PNG" if _frames_of_png(content) > 1 else ""
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF of several pages" if sum(_pages(content)) > 1 else ""
    return ""


def _frames_of_png(content: bytes) -> int:
    """The number in the chunk acTL, which stands before the pixels (w3.org/TR/png-3, 11.3.6.1)."""
    for name, at, _ in png_chunks(content):
        if name == b"acTL":
            return int.from_bytes(content[at + 8 : at + 12], "big")
        if name == b"IDAT":
            break
    return 1


def _pages(content: bytes) -> Iterator[bool]:
    """For every directory of a TIFF file whether it is a page: no thumbnail, no mask (TIFF 6.0, section 8).

    BigTIFF has 8 bytes where TIFF has 4 or 2.
    """
    order: Literal["little", "big"] = "little" if content[:1] == b"I" else "big"
    is_big = b"+" in content[2:4]
    wide, count_bytes, entry_bytes, first = (8, 8, 20, 8) if is_big else (4, 2, 12, 4)

    def number(at: int, size: int) -> int:
        return int.from_bytes(content[at : at + size], order)

    at, seen = number(first, wide), set[int]()
    while 0 < at < len(content) and at not in seen and len(seen) < _MOST_PAGES:
        seen.add(at)
        entries = at + count_bytes
        end = min(entries + entry_bytes * number(at, count_bytes), len(content))
        kind = 0
        for entry in range(entries, end, entry_bytes):
            if number(entry, 2) == _NEW_SUBFILE_TYPE:
                kind = number(entry + entry_bytes - wide, 4)
        yield not kind & _REDUCED_OR_MASK
        at = number(end, wide)
