"""What a file is that FFmpeg cannot read as a video, by its first bytes, and what to do with it."""

from __future__ import annotations

import re
from pathlib import Path

from edge_vss.files import open_plain
from edge_vss.runtimes.sources._spelling import IMAGE_SUFFIXES, JOIN, VIDEO_SUFFIXES

_HEAD_BYTES = 4096

_UNPACK = "unpack it, and give what is inside"
_EXPORT = "export its pictures or its video, and give those"
_MAGIC = (
    (0, b"PK\x03\x04", f"a ZIP archive: {_UNPACK}"),
    (0, b"\x1f\x8b", f"packed with gzip: {_UNPACK}"),
    (0, b"BZh", f"packed with bzip2: {_UNPACK}"),
    (0, b"\xfd7zXZ\0", f"packed with xz: {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"packed with zstd: {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    (0, b"Rar!\x1a\x07", f"a RAR archive: {_UNPACK}"),
    (257, b"ustar", f"a tar archive: {_UNPACK}"),
    (
        0,
        b"\x93NUMPY",
        "a NumPy array: give what numpy.load makes of it to open_source, (N, H, W, 3) uint8 RGB",
    ),
    (0, b"#ROSBAG", f"a ROS bag: {_EXPORT}"),
    (0, b"\x89MCAP0\r\n", f"an MCAP file: {_EXPORT}"),
    (0, b"SQLite format 3\0", f"a database, as ROS 2 bags are: {_EXPORT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file: {_EXPORT}"),
    (0, b"%PDF-", "a PDF: give a video file"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
)


def list_of_files(path: str) -> bool:
    """Whether a file is a list of files for FFmpeg's concat demuxer."""
    head = _head(path)
    return (
        head.startswith(b"ffconcat version") or re.match(rb"\s*(?:#[^\n]*\n\s*)*file\s+\S", head) is not None
    )


def what_it_is(path: str) -> str:
    """What a file is and what to do with it, to come after "X is "; empty where its bytes do not tell."""
    head = _head(path)
    for place, magic, said in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return said
    try:
        text = head.decode("utf-8-sig", "strict" if len(head) < _HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return ""
    if not text or any(ord(c) < 32 and c not in "\t\r\n\f\x1b" for c in text):
        return ""
    return _what_text_is(text)


def _what_text_is(text: str) -> str:
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype html", "<html")):
        return "a web page, not a video: save the video itself, and give that"
    if start.startswith("#extm3u"):
        return "a playlist, none of whose parts could be read: check that they lie where it says"
    if start.startswith("v=0"):
        return "a session description (SDP): let its name end in .sdp"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if all(Path(line).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES for line in lines[:5]):
        return f"a list of files: {JOIN}, or give a folder or a pattern of images"
    return "text, not a video: give a video file"


def _head(path: str) -> bytes:
    try:
        with open_plain(Path(path)) as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
