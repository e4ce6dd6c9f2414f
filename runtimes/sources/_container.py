"""Opening what FFmpeg can read, and saying why where it cannot."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import DEFAULT_FPS, SourceOptions
from edge_vss.text import without_password

_ATTACHED_PICTURE = 0x400
"""AV_DISPOSITION_ATTACHED_PIC: the cover of a piece of music is no video."""


def open_container(uri: str, options: SourceOptions) -> Any:
    """An opened PyAV container. Raises SourceError that says why not: in one line, and in time."""
    target, pixel_source = uri, None
    if uri.startswith("v4l2://"):
        target, pixel_source = uri.removeprefix("v4l2://"), "v4l2"
    elif "://" not in uri:
        _check_file(uri)
        # Without the prefix, a colon in a file's name would make FFmpeg look for a protocol.
        target = f"file:{uri}"
    remote, timeout_seconds = "://" in target, options.timeout_seconds
    ffmpeg = dict(options.ffmpeg)
    if options.live:
        ffmpeg = {"analyzeduration": "1000000", "rtsp_transport": "tcp", "overrun_nonfatal": "1", **ffmpeg}
    timeout = (timeout_seconds, timeout_seconds) if remote or options.live else None
    began = monotonic()
    try:
        container = av.open(target, "r", format=pixel_source, options=ffmpeg, timeout=timeout)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        # RTSP reports a time-out as invalid data.
        late = timeout is not None and monotonic() - began >= timeout_seconds
        late_seconds = timeout_seconds if late else None
        raise SourceError(_why_not_opened(without_password(uri), error, remote, late_seconds)) from None
    if container.format.name == "tty":
        container.close()
        raise SourceError(f"{without_password(uri)} is text, not a video: give a video file")
    return container


def video_stream(container: Any, uri: str) -> av.VideoStream:
    """The first stream of moving pictures. Raises SourceError where there is none that can be decoded."""
    streams = [
        s for s in container.streams.video if not int(getattr(s, "disposition", 0)) & _ATTACHED_PICTURE
    ]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise SourceError(f"{uri} has no video stream (it has {kinds}): give a file with a picture")
    stream: av.VideoStream = streams[0]
    if stream.codec_context is None:
        raise SourceError(
            f"{uri} has a video stream that this build of FFmpeg cannot decode: convert it to H.264"
        )
    return stream


def frame_rate(stream: av.VideoStream) -> float:
    """Frames per second as the headers say; 25 where they say nothing, or nonsense."""
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    # Streams without a rate are given their time base, 90000 per second.
    return rate if 0 < rate <= 1000 else DEFAULT_FPS


def timed_out(error: av.error.FFmpegError) -> bool:
    """Whether nothing came in time."""
    return isinstance(error, (av.error.ExitError, av.error.TimeoutError))


def _why_not_opened(uri: str, error: Exception, remote: bool, late_seconds: float | None) -> str:
    if late_seconds is not None:
        return f"{uri} gave nothing within {late_seconds:g} s: check the address and that it is sending"
    if isinstance(error, av.error.InvalidDataError):
        return f"{uri} is not a video, or is cut short: check the {'address' if remote else 'file'}"
    advice = "check the address" if remote else "check the path and its permissions"
    return f"cannot open {uri} ({getattr(error, 'strerror', None) or error}): {advice}"


def _check_file(uri: str) -> None:
    path = Path(uri)
    try:
        status = path.stat()
        if path.is_file() and status.st_size == 0:
            raise SourceError(f"{uri} is empty (0 bytes): record or copy it again")
    except FileNotFoundError:
        raise SourceError(f"no such file: {uri}: check the path") from None
    except OSError as error:
        raise SourceError(
            f"cannot read {uri} ({error.strerror}): check the path and its permissions"
        ) from None
