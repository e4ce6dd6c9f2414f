"""Which of a container's streams is the video that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import av

from edge_vss.errors import OptionError, SourceError

_DEFAULT = 0x1
_NO_VIDEO = 0x400 | 0x800
"""AV_DISPOSITION_ATTACHED_PIC and _TIMED_THUMBNAILS: a cover is no video, nor are a player's thumbnails."""


def video_streams(container: Any) -> list[av.VideoStream]:
    """The streams of moving pictures, in the container's order."""
    return [stream for stream in container.streams.video if not _disposition(stream) & _NO_VIDEO]


def packets_of(container: Any, stream: Any) -> Iterator[av.Packet[Any]]:
    """A stream's packets, and an empty one at the end. Raises FFmpegError where they cannot be read."""
    # At the end PyAV stumbles over streams that have appeared since opening: sound that begins late, as FLV
    # and MPEG-TS may have it. All packets of this stream have come by then.
    with suppress(IndexError):
        yield from container.demux(stream)


def described(stream: av.VideoStream) -> str:
    """A stream in a few words: its number in the container, its codec and its size."""
    context = stream.codec_context
    what = (
        "no decoder"
        if context is None
        else f"{context.codec.canonical_name} {context.width}x{context.height}"
    )
    return f"{stream.index}: {what}"


def video_stream(container: Any, uri: str, number: int | None = None) -> av.VideoStream:
    """The stream of this number in the container. Without one, the stream marked as default; of several such,
    or of none, the one with the largest pictures.

    Raises SourceError where there is no video that can be decoded, OptionError for a number that is none.
    """
    streams = video_streams(container)
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceError(f"{uri} has no video stream (it has {kinds}): give a file with a picture")
    there = ", ".join(map(described, streams))
    if number is not None:
        chosen = next((stream for stream in streams if stream.index == number), None)
        if chosen is None:
            raise OptionError(f"{uri} has no video stream {number}: choose of {there}")
    else:
        chosen = max(streams, key=_fitness)
    if chosen.codec_context is None:
        raise SourceError(
            f"{uri} has a video stream that this build of FFmpeg cannot decode: convert it to H.264"
        )
    return chosen


def leave_out_others(container: Any, stream: av.VideoStream) -> None:
    """Let the demuxer pass over all other streams; a stream's address would have it fetch them."""
    for other in container.streams:
        # PyAV 17 cannot say it.
        if other is not stream and hasattr(type(other), "discard"):
            other.discard = av.stream.Discard.all


def _fitness(stream: av.VideoStream) -> tuple[bool, bool, int, int]:
    context = stream.codec_context
    area = 0 if context is None else context.width * context.height
    # Of equal ones the first.
    return context is not None, bool(_disposition(stream) & _DEFAULT), area, -stream.index


def _disposition(stream: av.VideoStream) -> int:
    return int(getattr(stream, "disposition", 0))
