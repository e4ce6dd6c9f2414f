"""A raw camera with an encoder of our own: ``encode:/dev/video0``.

Pictures without vectors go through libx264 at its lowest delay, and the vectors that it chose come with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from time import perf_counter
from typing import Any

import av
import numpy as np

from edge_vss.errors import SourceError
from edge_vss.motion_field import MotionVectors
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import (
    SOURCES,
    SourceDescription,
    SourceOptions,
    is_live,
    plugin_of,
    stop_waiting,
)
from edge_vss.runtimes.sources._decoded import side_data
from edge_vss.video import MOST_H264_PX, Frame, Size, StreamInfo

DESCRIPTION = SourceDescription(
    "a raw camera, encoded here for its vectors", vector_codecs=frozenset({"h264"})
)

_X264 = {
    "preset": "superfast",
    "tune": "zerolatency",
    "crf": "23",
    "x264-params": "ref=1:bframes=0:weightp=0:scenecut=0:keyint=250:threads=1:8x8dct=0:cabac=0",
}
"""One reference and no B-frames, so that every vector refers to the frame before."""


def open(target: str, options: SourceOptions = SourceOptions()) -> EncodeReader:
    """Opens the source inside, of whatever kind. Raises SourceError where that fails, and without libx264."""
    if "libx264" not in av.codecs_available:
        raise SourceError("encode: needs libx264, which this build of FFmpeg lacks: leave encode: out")
    name, inner = plugin_of(target)
    plugin = SOURCES.find(name)
    live = options.live or is_live(inner, plugin.description)
    # The encoder needs every picture, whichever are handed out.
    return EncodeReader(plugin.call(inner, replace(options, vectors=False, live=live, pictures="all")))


class EncodeReader:
    """The frames of another reader, with the vectors of an encoder. Passive; one thread at a time."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._coder: _Coder | None = None

    @property
    def info(self) -> StreamInfo:
        """The inner source's, but that it has vectors."""
        found: StreamInfo = self._inner.info
        return replace(
            found, codec="h264", exports_vectors=True, has_b_frames=False, references=1, extradata=b""
        )

    @property
    def errors(self) -> int:
        """Damaged packets of the inner source."""
        return int(self._inner.errors)

    @property
    def untold_losses(self) -> int:
        """Losses of the inner source after which no frame came that could begin anew."""
        # Readers of other packages need not know of any.
        return int(getattr(self._inner, "untold_losses", 0))

    def listen(self, listener: Listener) -> None:
        """There are no packets to hand out: vectors come with the frames."""

    def seek(self, seconds: float) -> None:
        """As the inner source does."""
        self._inner.seek(seconds)

    def stop(self) -> None:
        """Stop the inner source, where it knows how."""
        stop_waiting(self._inner)

    def close(self) -> None:
        """Close the inner source."""
        self._inner.close()

    def frames(self) -> Iterator[Frame]:
        """Every frame with its vectors. One that begins anew is encoded as an I-frame."""
        for frame in self._pictures():
            began = perf_counter()
            if self._coder is None or frame.start or self._coder.size != frame.size:
                self._coder = _Coder(frame.size)
            frame.vectors = self._coder(frame)
            frame.picture_type = "P" if frame.vectors is not None else "I"
            frame.seconds["encode"] = perf_counter() - began
            yield frame

    def _pictures(self) -> Iterator[Frame]:
        """The inner source's frames. Its codec may change: the vectors are those of our own."""
        while True:
            yield from self._inner.frames()
            if not getattr(self._inner, "another_codec", False):
                return


class _Coder:
    """An encoder and a decoder, one behind the other, for pictures of one size."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._count = 0
        self._fits = min(size) > 1 and max(size) <= MOST_H264_PX
        self._encoder: Any = av.CodecContext.create("libx264", "w")
        self._encoder.width, self._encoder.height = size[1] - size[1] % 2, size[0] - size[0] % 2
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.time_base = Fraction(1, 1000)
        self._encoder.framerate = Fraction(25)
        self._encoder.options = dict(_X264)
        self._decoder: Any = av.CodecContext.create("h264", "r")
        self._decoder.options = {"flags2": "+export_mvs"}
        self._decoder.thread_type = "SLICE"

    def __call__(self, frame: Frame) -> MotionVectors | None:
        if not self._fits:
            return None
        # Brightness alone: the encoder looks for motion there.
        luma = frame.luma[: self._encoder.height, : self._encoder.width]
        picture = av.VideoFrame(self._encoder.width, self._encoder.height, "yuv420p")
        for number, plane in enumerate(picture.planes):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            if number:
                rows[:] = 128
            else:
                rows[: luma.shape[0], : luma.shape[1]] = luma
        picture.pts, picture.time_base = 40 * self._count, Fraction(1, 1000)
        self._count += 1
        for packet in self._encoder.encode(picture):
            for decoded in self._decoder.decode(packet):
                return side_data(decoded, True)[1]
        return None
