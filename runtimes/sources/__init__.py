"""Ways in: one file per kind of source, with the function ``open`` and a ``DESCRIPTION``.

Every source is an iterator of frames, with motion, in display order.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SourceError
from edge_vss.one_process import OneProcess
from edge_vss.plugins import Kind
from edge_vss.runtimes.motion import MOTIONS, Feed, Measure, MotionDescription
from edge_vss.runtimes.motion._parts import InParts
from edge_vss.runtimes.sources import _spelling as spelling
from edge_vss.runtimes.sources._seam import Open as Open
from edge_vss.runtimes.sources._seam import Reader as Reader
from edge_vss.runtimes.sources._seam import SourceDescription as SourceDescription
from edge_vss.runtimes.sources._seam import SourceOptions as SourceOptions
from edge_vss.runtimes.sources._spelling import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from edge_vss.runtimes.sources._spelling import natural_order as natural_order
from edge_vss.values import MOST_SECONDS, positive, whole_number
from edge_vss.video import Frame, NoPicture, StreamInfo

PREFIXES = ("gst", "encode")
"""Plugins whose sources are written with their name and a colon before them."""

PICTURES = ("all", "key", "none")
"""Which frames get a picture."""

DEFAULT_FPS = 25.0
"""Frames per second of what does not say how fast it is."""

MOST_EXTENT_PX = 32766
"""The most pixels a side of a frame. Motion vectors and OpenCV's maps count in 16 bits."""

Uri: TypeAlias = "str | Path | int | NDArray[np.uint8] | Iterable[NDArray[np.uint8]]"


SOURCES: Kind[Open, SourceDescription] = Kind("source", __name__, "open", SourceDescription)


class Source(OneProcess):
    """An open video: a context manager and an iterator of Frame. One thread reads it; any may close it.

    A frame stays valid after the next one is read. Raises SourceError where a live stream falls silent. A
    source that nobody refers to any more closes itself.
    """

    INSTEAD = "open the source in each process"

    def __init__(self, reader: Reader, measure: Measure, pictures: str = "all") -> None:
        self._reader = reader
        self._pictures = pictures
        self._measure = measure
        self._busy = threading.Lock()
        self._closed = threading.Event()
        self._frames = self._measured()

    def _measured(self) -> Iterator[Frame]:
        return _all_measured(self._reader, self._measure, self._pictures)

    @property
    def info(self) -> StreamInfo:
        """What is known about the stream."""
        return replace(self._reader.info, pictures=self._pictures)

    @property
    def closed(self) -> bool:
        """Whether somebody has closed it: then it gives no more frames."""
        return self._closed.is_set()

    @property
    def errors(self) -> int:
        """Damaged packets passed over so far; the frame after each of them has a ``start`` reason."""
        return self._reader.errors

    @property
    def untold_losses(self) -> int:
        """Losses of packets so far after which no frame came that could begin anew."""
        # Readers of other packages need not know of any.
        return int(getattr(self._reader, "untold_losses", 0))

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        with self._busy:
            if self._closed.is_set():
                raise StopIteration
            try:
                return next(self._frames)
            finally:
                if self._closed.is_set():
                    self._reader.close()

    def seek(self, seconds: float) -> None:
        """Go on at the first frame at or after this presentation time; its start reason is ``seek``.

        Raises OptionError for a live source, SourceError where the file cannot be moved about in.
        """
        with self._busy:
            if self._closed.is_set():
                raise OptionError(f"cannot seek in {self.info.uri}, which is closed: open it again")
            if not math.isfinite(seconds):
                raise OptionError(f"cannot seek to {seconds} s: give a time in seconds")
            if self.info.live:
                raise OptionError(
                    f"cannot seek in the live source {self.info.uri}: open a file to move about in it"
                )
            try:
                self._reader.seek(seconds)
                self._frames = self._measured()
            finally:
                if self._closed.is_set():
                    self._reader.close()

    def close(self) -> None:
        """Close it; where another thread waits for a packet, once that packet or its timeout has come."""
        self._closed.set()
        # Whoever reads may be waiting for a camera to come back.
        stop_waiting(self._reader)
        if self._busy.acquire(timeout=0.2):
            try:
                self._reader.close()
            finally:
                self._busy.release()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(
    uri: Uri,
    *,
    motion: str | Measure = "auto",
    live: bool | None = None,
    fps: float | None = None,
    timeout_seconds: float = 10.0,
    reconnect_seconds: float = 0.0,
    options: Mapping[str, str | int | float] | None = None,
    stream: int | None = None,
    pictures: str = "all",
    parts: bool = False,
) -> Source:
    """Opens a video file, a stream URL, a camera, images or arrays, and decodes the first frame.

    A camera is ``/dev/video0``, ``v4l2:///dev/video0`` or its number. ``-`` is standard input. Images are a
    folder, a glob or a numbered pattern (``f%03d.png``). Arrays are uint8 RGB: one (N, H, W, 3), or an
    iterable of (H, W, 3); each is copied when its turn comes, so its owner may fill it again. ``motion``
    names a motion provider (``auto``, ``codec``, ``hevc``, ``flow``, ``none``) or is one. A stream is not
    waited for longer than ``timeout_seconds``. Where a live stream ends, it is opened again for up to
    ``reconnect_seconds``. ``stream`` is the number in the file of the stream to read, where there are
    several; without it, the one marked as default or the largest. ``fps``
    is for images, arrays, and streams that carry no times. ``options`` go to FFmpeg as they are
    (``{"framerate": "30"}``). ``pictures`` says which frames get a picture: ``all``, ``key`` (the stream's
    I-frames alone), or ``none``. With the extra that reads its vectors, HEVC is then decoded only where a
    picture is wanted. With ``parts``, motion begins anew at an I-frame every few seconds
    (`Frame.begins_part`): labels from both sides are then those that are made of every part by itself.

    Raises SourceError where nothing can be decoded, OptionError for a value that makes no sense.
    """
    timeout_seconds = positive(
        "timeout_seconds", timeout_seconds, "leave it out for 10 seconds", most=MOST_SECONDS
    )
    if reconnect_seconds not in (0, math.inf):
        reconnect_seconds = positive(
            "reconnect_seconds", reconnect_seconds, "0 ends with the stream", most=MOST_SECONDS
        )
    if fps is not None:
        fps = positive("fps", fps, "leave it out to use the source's own", most=1000)
    if stream is not None:
        stream = whole_number("stream", stream, 0, "leave it out to read the default or largest one")
    if pictures not in PICTURES:
        raise OptionError(f"pictures must be one of {', '.join(PICTURES)}, got {pictures!r}")
    measure, described = (motion, _OWN) if not isinstance(motion, str) else _provider(motion)
    name, target = plugin_of(uri)
    plugin = SOURCES.find(name)
    wanted = SourceOptions(
        vectors=described.vectors,
        live=live if live is not None else is_live(target, plugin.description),
        fps=fps,
        timeout_seconds=timeout_seconds,
        reconnect_seconds=reconnect_seconds,
        ffmpeg={str(name): str(value) for name, value in (options or {}).items()},
        stream=stream,
        pictures="all" if described.pictures else pictures,
        pixels=pictures == "all" or described.pictures or described.pixels,
    )
    reader = plugin.call(target, wanted)
    if pictures == "key" and not reader.info.codec:
        reader.close()
        raise OptionError(f"{reader.info.uri} has no I-frames, so pictures 'key' would be none: leave it out")
    return Source(reader, InParts(measure) if parts else measure, pictures)


def stop_waiting(reader: Any) -> None:
    """Let a reader know, from any thread, that nobody waits for its frames any more."""
    # Readers of other packages need not have this.
    if (stop := getattr(reader, "stop", None)) is not None:
        stop()


def _all_measured(reader: Reader, measure: Measure, pictures: str) -> Iterator[Frame]:
    """The reader's frames with motion. A camera that comes back with another codec is measured anew, and may
    then give more pictures than are wanted."""
    while True:
        frames = measure(Feed(_not_too_large(reader.frames()), reader.info, reader.listen))
        yield from frames if pictures == reader.info.pictures else _stripped(frames, pictures)
        if not getattr(reader, "another_codec", False):
            return


def _not_too_large(frames: Iterator[Frame]) -> Iterator[Frame]:
    for frame in frames:
        if max(frame.size) > MOST_EXTENT_PX:
            size = f"{frame.size[1]}x{frame.size[0]}"
            raise SourceError(
                f"frames of {size} are not read, a side has at most {MOST_EXTENT_PX} px: make them smaller"
            )
        yield frame


def _stripped(frames: Iterator[Frame], pictures: str) -> Iterator[Frame]:
    """The frames, with the pictures that are wanted; what was measured with the others is there."""
    for frame in frames:
        if pictures == "none" or frame.picture_type != "I":
            # A new one: who measured motion may still look at this one's pixels.
            yield replace(frame, picture=NoPicture(frame.index, pictures))
        else:
            yield frame


_OWN = MotionDescription("the caller's own", vectors=True)
"""What is known of a motion provider that is given as a function."""


def _provider(name: str) -> tuple[Measure, MotionDescription]:
    """The function of a motion provider, and what it says of itself."""
    plugin = MOTIONS.find(name)
    return plugin.call, plugin.description


def plugin_of(uri: Any) -> tuple[str, Any]:
    """The name of the plugin that reads this, and what to give to it. Raises SourceError that says what it is
    instead."""
    if isinstance(uri, bool) or uri is None:
        raise SourceError(f"{uri} is no source: give a path, a URL, a camera number or arrays")
    # A command line gives a camera's number as text; a file that happens to be called 0 goes first. Python
    # makes no number of thousands of digits.
    number = isinstance(uri, str) and len(uri) < 10 and uri.isdecimal() and not os.path.exists(uri)
    if isinstance(uri, int) or number:
        return "av", f"v4l2:///dev/video{int(uri)}"
    text = os.fspath(uri) if isinstance(uri, os.PathLike) else uri
    if isinstance(text, (bytes, bytearray, memoryview, io.IOBase)):
        raise SourceError(f"{type(text).__name__} is no source: give the path of a file as text")
    if not isinstance(text, str):
        return "frames", text
    if not text:
        raise SourceError("the source's name is empty: give a path, a URL or a camera number")
    text = spelling.plain_name(text)
    for prefix in PREFIXES:
        if text.startswith(f"{prefix}:") and not os.path.exists(text):
            return prefix, text.removeprefix(f"{prefix}:")
    scheme, separator, rest = text.partition("://")
    if separator and scheme in SOURCES.names():
        return scheme, rest
    if separator and (named := _source_of_scheme(scheme.lower())):
        spelling.refuse_what_is_no_file(text)
        return named, f"{scheme.lower()}://{rest}"
    if text.startswith("/dev/video"):
        return "av", f"v4l2://{text}"
    if spelling.is_standard_input(text):
        return "av", "pipe:0"
    spelling.refuse_what_is_no_file(text)
    if not separator and spelling.names_images(text):
        return "frames", Path(text)
    return "av", text


def _source_of_scheme(scheme: str) -> str:
    found = (plugin.name for plugin in SOURCES.all() if scheme in plugin.description.schemes)
    return next(found, "")


def is_live(target: Any, description: SourceDescription) -> bool:
    """Whether a target that `plugin_of` gave is a camera or a stream."""
    scheme, separator, _ = target.partition("://") if isinstance(target, str) else ("", "", "")
    if description.live:
        return True
    session = isinstance(target, str) and target.lower().endswith(".sdp")
    return session or (bool(separator) and scheme in description.live_schemes)
