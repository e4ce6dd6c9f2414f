"""Image files that are made of chunks: PNG and RIFF, which WebP is."""

from __future__ import annotations

from collections.abc import Iterator


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The whole chunks of a PNG file: name, where it begins, bytes of content (w3.org/TR/png-3, 5.3).

    A chunk is 12 bytes longer than its content, which begins after the first 8.
    """
    at = 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, size
        at += 12 + size


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a RIFF file: name and content (RFC 9649, 2.3)."""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
