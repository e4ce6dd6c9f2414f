"""Label maps as one lossless file: grey FFV1 in Matroska, in which every picture stands alone."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.video import Size

_MILLISECOND = Fraction(1, 1000)
"""What Matroska counts time in."""
# Without it, FFmpeg writes its version and a random number into the file: two runs should give the same.
_MUXER = {"fflags": "+bitexact"}


class LabelVideoWriter:
    """Writes maps of class ids, or of greys, to one file. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: Any = av.open(str(path), "w", format="matroska", options=_MUXER)
        self._stream: Any = None
        self._last = -1

    def write(self, values: NDArray[np.uint8], pts_seconds: float) -> None:
        """Write the next map, uint8 (H, W). Raises SourceError where it has another size than the first."""
        if self._stream is None:
            self._begin(values.shape)
        if values.shape != (self._stream.height, self._stream.width):
            first, other = (f"{h}x{w}" for h, w in ((self._stream.height, self._stream.width), values.shape))
            raise SourceError(
                f"frames change their size from {first} to {other}, and one file has one size: write png"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), "gray")
        self._last = max(self._last + 1, round(pts_seconds / _MILLISECOND))
        frame.pts, frame.time_base = self._last, _MILLISECOND
        try:
            packets = self._stream.encode(frame)
        except av.error.FFmpegError:
            height, width = values.shape
            self._stream = None
            raise SourceError(f"FFmpeg cannot write maps of {width}x{height} as video: write png") from None
        self._container.mux(packets)

    def _begin(self, size: Size) -> None:
        self._stream = self._container.add_stream("ffv1", rate=25)
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "gray"
        context = self._stream.codec_context
        context.time_base, context.gop_size, context.thread_count = _MILLISECOND, 1, 1
        context.flags |= Flags.bitexact
        self._stream.options = {"level": "3", "slicecrc": "1"}

    def __enter__(self) -> LabelVideoWriter:
        return self

    def close(self) -> None:
        """Finish the file. It may come twice."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._container.mux(stream.encode(None))
        self._container.close()

    def __exit__(self, *of_error: object) -> None:
        self.close()


def joined(parts: Iterable[Path], path: Path) -> None:
    """Write one file with the maps of several, in order. Raises SourceError where their sizes differ."""
    stream: Any = None
    last = -1
    with av.open(str(path), "w", format="matroska", options=_MUXER) as container:
        for part in parts:
            with av.open(str(part)) as source:
                given = source.streams.video[0]
                if stream is None:
                    stream = container.add_stream_from_template(given)
                    size = (given.height, given.width)
                if (given.height, given.width) != size:
                    raise SourceError(
                        f"frames change their size from {size[0]}x{size[1]} to {given.height}x{given.width}, "
                        "and one file has one size: write png"
                    )
                for packet in source.demux(given):
                    if packet.size:
                        last = packet.pts = packet.dts = max(last + 1, packet.pts or 0)
                        packet.stream = stream
                        container.mux(packet)


class LabelVideo:
    """The maps in such a file, by number: ``video[i]`` is uint8 (H, W). Not thread-safe.

    Raises SourceError for a file that is none, and for pictures of another kind than 8-bit grey.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container: Any = av.open(str(path))
            self._stream = self._container.streams.video[0]
            packets = self._container.demux(self._stream)
            self._times = sorted(packet.pts for packet in packets if packet.size and packet.pts is not None)
        except (av.error.FFmpegError, IndexError, OSError) as error:
            raise SourceError(
                f"{path} is no video of label maps ({error}): give the file that label wrote"
            ) from None
        if self._stream.codec_context.pix_fmt not in ("gray", "gray8"):
            raise SourceError(
                f"{path} is {self._stream.codec_context.pix_fmt}, no video of label maps: class ids are read "
                "from 8-bit grey, such as FFV1"
            )
        self.size: Size = (self._stream.height, self._stream.width)
        self._pictures: Any = None
        self._next = -1

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self._path} holds {len(self)} label maps, and there is no {index}")
        index %= len(self)
        try:
            if index != self._next:
                self._container.seek(self._times[index], stream=self._stream)
                self._pictures = self._container.decode(self._stream)
            for picture in self._pictures:
                if bisect_left(self._times, picture.pts) == index:
                    self._next = index + 1
                    return np.asarray(picture.to_ndarray(format="gray"), np.uint8)
        except av.error.FFmpegError as error:
            raise SourceError(f"{self._path} is damaged at map {index} ({error}): label again") from None
        raise SourceError(f"{self._path} is damaged at map {index}: label again")
