"""FLV, tag by tag (Adobe's specification, version 10.1, E.4.1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FILE_HEAD, _TAG_HEAD, _TAG_SIZE = 13, 11, 4
_SCRIPT = 18


def flv_tag(kind: int, milliseconds: int, data: bytes) -> bytes:
    """One tag, and its size."""
    time = (milliseconds & 0xFFFFFF).to_bytes(3, "big") + bytes([milliseconds >> 24])
    tag = bytes([kind]) + len(data).to_bytes(3, "big") + time + bytes(3) + data
    return tag + len(tag).to_bytes(_TAG_SIZE, "big")


def flv_tags(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Kind, milliseconds and data of each tag of a file."""
    data, place = path.read_bytes(), _FILE_HEAD
    while place + _TAG_HEAD <= len(data):
        size = int.from_bytes(data[place + 1 : place + 4], "big")
        milliseconds = int.from_bytes(data[place + 4 : place + 7], "big") | data[place + 7] << 24
        yield data[place], milliseconds, data[place + _TAG_HEAD : place + _TAG_HEAD + size]
        place += _TAG_HEAD + size + _TAG_SIZE


def continued(path: Path, first: Path, second: Path) -> Path:
    """A recording that goes on with another encoder, and with its headers: the second file's tags come behind
    the first one's."""
    tags = list(flv_tags(first))
    # From the last frame of the first, as long as a frame of 25 a second.
    later = max(milliseconds for kind, milliseconds, _ in tags if kind != _SCRIPT) + 40
    begins = min(milliseconds for kind, milliseconds, _ in flv_tags(second) if kind != _SCRIPT)
    tags += [(kind, later + at - begins, data) for kind, at, data in flv_tags(second) if kind != _SCRIPT]
    path.write_bytes(first.read_bytes()[:_FILE_HEAD] + b"".join(flv_tag(*tag) for tag in tags))
    return path
