"""Two recordings in one MPEG-TS file, of which the second has streams of its own.

A decoder goes on with the stream that it was given, which ends where the first recording does. FFmpeg's
demuxer adds the second one's streams, and PyAV does not see them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources._container import open_container
from edge_vss.runtimes.sources._streams import described, video_streams

_FORMAT = "mpegts"
_LEAST_SHARE = 0.02
"""Less than this of a file, after its last picture, is no other recording."""


def tell_of_another_video(uri: str, options: SourceOptions, container: Any, last_byte: int) -> None:
    """Warn where video of another stream begins after this byte of a file that was read to its end."""
    if container.format.name != _FORMAT or "://" in uri or not os.path.isfile(uri):
        return
    size = os.path.getsize(uri)
    if size - last_byte < _LEAST_SHARE * size:
        return
    later = {**options.ffmpeg, "skip_initial_bytes": str(last_byte + 1)}
    known = {stream.id for stream in container.streams}
    try:
        with open_container(uri, replace(options, ffmpeg=later)) as rest:
            found = [described(stream) for stream in video_streams(rest) if stream.id not in known]
    except SourceError:
        return
    if found:
        LOG.warning(
            "%s: another recording begins at byte %d, with a video of its own (%s), which is not read: "
            "cut the file there, and give each part by itself",
            uri,
            last_byte,
            ", ".join(found),
        )
