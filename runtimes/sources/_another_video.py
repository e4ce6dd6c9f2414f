"""Two recordings in one file, one after the other, of which FFmpeg reads the first alone.

MP4 and FLV say where a file begins, and what comes after its end is passed over. In MPEG-TS the second
recording may have streams of its own. FFmpeg's demuxer adds them, and PyAV does not see them. Matroska, AVI,
MPEG-PS and the rest of MPEG-TS go on: there, both recordings are read.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources._bytes import looked_through
from edge_vss.runtimes.sources._container import open_container
from edge_vss.runtimes.sources._streams import video_streams

_LEAST_SHARE = 0.02
"""Less than this of a file, after its last picture, is no other recording."""
_FLV_HEADERS = (b"FLV\x01\x05\x00\x00\x00\x09", b"FLV\x01\x01\x00\x00\x00\x09")
"""With sound and without (Adobe's specification, version 10.1, E.2)."""
_BOX_HEAD_BYTES, _LONG_BOX_HEAD_BYTES = 8, 16


def tell_of_another_video(uri: str, options: SourceOptions, container: Any, last_byte: int) -> None:
    """Warn where another recording begins after this byte of a file that was read to its end."""
    if "://" in uri or not os.path.isfile(uri):
        return
    size = os.path.getsize(uri)
    if size - last_byte < _LEAST_SHARE * size:
        return
    if container.format.name == "mpegts":
        begins = last_byte if _has_other_video(uri, options, container, last_byte) else None
    else:
        find = _FIND.get(container.format.name)
        begins = None if find is None else looked_through(uri, lambda data: find(data, last_byte))
    if begins is not None:
        LOG.warning(
            "%s: another recording begins at byte %d, and is not read: cut the file there, and give each "
            "part by itself",
            uri,
            begins,
        )


def _has_other_video(uri: str, options: SourceOptions, container: Any, last_byte: int) -> bool:
    later = {**options.ffmpeg, "skip_initial_bytes": str(last_byte + 1)}
    known = {stream.id for stream in container.streams}
    try:
        with open_container(uri, replace(options, ffmpeg=later)) as rest:
            return any(stream.id not in known for stream in video_streams(rest))
    except SourceError:
        return False


def _flv_header(data: mmap.mmap, last_byte: int) -> int | None:
    found = [place for head in _FLV_HEADERS if (place := data.find(head, last_byte)) >= 0]
    return min(found, default=None)


def _file_type_box(data: mmap.mmap, last_byte: int) -> int | None:
    """The first ``ftyp`` box after a byte (ISO/IEC 14496-12, 4.2 and 4.3), box by box from the beginning."""
    place = 0
    while place + _BOX_HEAD_BYTES <= len(data):
        if place > last_byte and data[place + 4 : place + 8] == b"ftyp":
            return place
        size, head = int.from_bytes(data[place : place + 4], "big"), _BOX_HEAD_BYTES
        if size == 1:
            size, head = int.from_bytes(data[place + 8 : place + 16], "big"), _LONG_BOX_HEAD_BYTES
        if size < head:
            return None  # to the end of the file, or damaged
        place += size
    return None


_FIND: dict[str, Callable[[mmap.mmap, int], int | None]] = {
    "flv": _flv_header,
    "mov,mp4,m4a,3gp,3g2,mj2": _file_type_box,
}
