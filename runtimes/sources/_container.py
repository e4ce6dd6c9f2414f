"""Opening what FFmpeg can read, and saying why where it cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from time import monotonic
from typing import Any

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import DEFAULT_FPS, SourceOptions
from edge_vss.runtimes.sources._kinds import list_of_files, what_it_is
from edge_vss.runtimes.sources._spelling import JOIN, PIPE
from edge_vss.text import without_password

_LOST_CONNECTION = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""What a system says when the other side, or the way there, is gone."""
_READ_BYTES = 2**22


def open_container(uri: str, options: SourceOptions) -> Any:
    """An opened PyAV container. Raises SourceError that says why not: in one line, and in time."""
    target, pixel_source, file = uri, None, False
    ffmpeg = dict(options.ffmpeg)
    if uri.startswith("v4l2://"):
        target, pixel_source = uri.removeprefix("v4l2://"), "v4l2"
    elif uri.startswith(PIPE):
        _check_pipe(uri)
    elif "://" not in uri:
        _check_file(uri)
        # Without the prefix, a colon in a file's name would make FFmpeg look for a protocol.
        target, file = f"file:{uri}", True
        if uri.lower().endswith(".sdp"):
            ffmpeg.setdefault("protocol_whitelist", "file,crypto,data,rtp,udp,tcp")
    remote, timeout_seconds = "://" in target, options.timeout_seconds
    if options.live:
        ffmpeg = {"analyzeduration": "1000000", "rtsp_transport": "tcp", "overrun_nonfatal": "1", **ffmpeg}
    if uri.startswith(("rtsp://", "rtsps://")):
        # Cameras say their rate in the stream's headers; measuring it would take a second each time.
        ffmpeg = {"fpsprobesize": "0", **ffmpeg}
    timeout = (timeout_seconds, timeout_seconds) if remote or options.live else None
    began = monotonic()
    try:
        container = _opened(target, pixel_source, ffmpeg, timeout)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        # RTSP reports a time-out as invalid data.
        late = timeout is not None and monotonic() - began >= timeout_seconds
        late_seconds = timeout_seconds if late else None
        raise SourceError(_why_not_opened(uri, error, file, late_seconds)) from None
    if container.format.name == "tty":
        container.close()
        kind = what_it_is(uri) if file else ""
        raise SourceError(f"{without_password(uri)} is {kind or 'text, not a video: give a video file'}")
    return container


def _opened(target: str, kind: str | None, ffmpeg: dict[str, str], timeout: Any) -> Any:
    if kind != "v4l2" or "input_format" in ffmpeg:
        return av.open(target, "r", format=kind, options=ffmpeg, timeout=timeout)
    try:
        # A camera that encodes brings vectors; without being asked, it would send raw pictures.
        return av.open(target, "r", format=kind, options={**ffmpeg, "input_format": "h264"}, timeout=timeout)
    except (FileNotFoundError, PermissionError):
        raise
    except (av.error.FFmpegError, ValueError, OSError):
        return av.open(target, "r", format=kind, options=ffmpeg, timeout=timeout)


def frame_rate(stream: av.VideoStream) -> float:
    """Frames per second as the headers say; 25 where they say nothing, or nonsense."""
    average, guessed = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    # Streams without a rate are given their clock's, 90000 or 1000 per second, where they were copied.
    clock = float(1 / stream.time_base) if stream.time_base else 0.0
    rate = guessed if guessed and average in (0.0, clock) else average
    return rate if 0 < rate <= 1000 else DEFAULT_FPS


def timed_out(error: av.error.FFmpegError) -> bool:
    """Whether nothing came in time."""
    return isinstance(error, (av.error.ExitError, av.error.TimeoutError))


def broke_off(uri: str, error: av.error.FFmpegError) -> bool:
    """Whether more would have come, and could not be read. A file that is cut short just ends."""
    if timed_out(error) or isinstance(error, av.error.HTTPError) or error.errno in _LOST_CONNECTION:
        return True
    if error.errno != errno.EIO or uri.startswith(PIPE):
        return False
    # Some demuxers say EIO where a file of their kind is cut short.
    return "://" in uri or not _is_readable(uri)


def _is_readable(path: str) -> bool:
    """Whether a file can be read up to its end; True for a pipe, which is read once."""
    if Path(path).is_fifo():
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            while file.read(_READ_BYTES):
                pass
    except OSError:
        return False
    return True


def _why_not_opened(uri: str, error: Exception, file: bool, late_seconds: float | None) -> str:
    shown, remote = without_password(uri), not file and not uri.startswith(PIPE)
    if late_seconds is not None:
        return f"{shown} gave nothing within {late_seconds:g} s: check the address and that it is sending"
    if isinstance(error, av.error.InvalidDataError):
        if file and (kind := what_it_is(uri)):
            return f"{shown} is {kind}"
        advice = "check the file"
        if remote:
            advice = "give the address of the file or stream itself, not of a page about it"
        elif not file:
            advice = "send MPEG-TS or MKV (an MP4 only with its index in front: ffmpeg -movflags +faststart)"
        return f"{shown} is not a video, or is cut short: {advice}"
    if isinstance(error, av.error.ProtocolNotFoundError):
        scheme = uri.partition("://")[0]
        return f"{shown} has a scheme that FFmpeg cannot read ({scheme}): fetch the file, and give that"
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return f"{shown} refuses the user and password: write them as {uri.partition('://')[0]}://USER:PASSWORD@..."
    advice = "check the address" if remote else "check the path and its permissions"
    return f"cannot open {shown} ({getattr(error, 'strerror', None) or error}): {advice}"


def _check_file(uri: str) -> None:
    path = Path(uri)
    try:
        status = path.stat()
        if path.is_file() and status.st_size == 0:
            raise SourceError(f"{uri} is empty (0 bytes): record or copy it again")
    except FileNotFoundError:
        raise SourceError(f"no such file: {without_password(uri)}: check the path") from None
    except OSError as error:
        raise SourceError(
            f"cannot read {uri} ({error.strerror}): check the path and its permissions"
        ) from None
    if list_of_files(uri):
        raise SourceError(f"{uri} is a list of videos (of FFmpeg's concat): {JOIN}")


def _check_pipe(uri: str) -> None:
    number = uri.removeprefix(PIPE) or "0"
    if not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise SourceError(f"{uri} names no pipe: give pipe:0 or - for standard input")
    try:
        os.fstat(int(number))
    except OSError:
        raise SourceError(f"{uri} is not open: pipe a video into it, or give a file") from None
    if os.isatty(int(number)):
        raise SourceError(f"{uri} is a terminal: pipe a video into it, or give a file")
