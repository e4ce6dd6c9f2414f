"""Pictures into a video file that plays whatever happens to the program that writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from edge_vss.errors import OptionError
from edge_vss.files import check_writable
from edge_vss.plugins import LOG
from edge_vss.runtimes.drawing.sound import Sound
from edge_vss.runtimes.sinks import writing
from edge_vss.video import MOST_H264_PX, UNKNOWN_COLOUR, Colour, Size

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".m4v": "mp4", ".ts": "mpegts"}

_TIME_BASE = Fraction(1, 90_000)
_KEY_FRAME_SECONDS = 2.0
_LONGEST_IN_MP4 = 5 * 3600 * 90_000
"""The longest pause between two pictures, 5 hours in units of time. From 6.6 hours on, FFmpeg's writer loses
all times."""

_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""H.273's code point → swscale's own number (SWS_CS_*), of the matrices that swscale knows."""
_BT601 = 5
_LIMITED, _FULL = 1, 2


class VideoFile:
    """RGB pictures with their own times, as H.264 (or MPEG-4 where this FFmpeg has no libx264).

    The file is made, and what was in it lost, with the first picture. After a kill, everything but the last
    picture plays, at any rate of pictures: MP4 is written in fragments of one picture, each with its own
    index, and made an ordinary MP4 by close(); MKV in clusters of one picture. After a power cut that holds
    for what the system had put on the disk by then. Odd sizes get one more row or column; pictures of another
    size are scaled to the first. The file carries ``pixel_aspect`` and ``colour``, and holds its pixels in
    that way. ``sound`` is copied as long as there are pictures, timed like the source. Raises OptionError for
    an unknown type of file, SinkError where it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        size: Size,
        fps: float,
        *,
        pixel_aspect: Fraction = Fraction(1),
        colour: Colour = UNKNOWN_COLOUR,
        sound: Sound | None = None,
    ) -> None:
        self._path = Path(path)
        self._size = size
        self._fps = fps
        self._pixel_aspect = pixel_aspect
        self._colour = colour
        self._sound = sound
        self._reformatter = VideoReformatter()
        self._first_seconds: float | None = None
        self._last_seconds = 0.0
        self._last_pts = -1
        kind = CONTAINERS.get(self._path.suffix.lower())
        if kind is None:
            kinds = ", ".join(suffix[1:] for suffix in CONTAINERS)
            raise OptionError(
                f"{path} has no video type that can be written: let its name end in one of {kinds}"
            )
        # A fragment is in the file when the next one begins, so the shortest ones lose least: two seconds of
        # video are ten in a row that is written at a fifth of its rate. They cost 114 bytes a picture.
        options = {"flush_packets": "1"}
        if kind in ("mp4", "mov"):
            options["movflags"] = "+hybrid_fragmented"
            if sound is None:
                options["movflags"] += "+frag_every_frame"
            else:
                # Cut at each packet of either kind, FFmpeg's writer would time sound a packet late.
                options["frag_duration"] = "1"
        elif kind == "matroska":
            options["cluster_time_limit"] = "0"
        if max(size) > MOST_H264_PX:
            raise OptionError(
                f"{path} cannot hold pictures of {size[1]}x{size[0]}: H.264 has at most {MOST_H264_PX} "
                "pixels a side, so leave the video out"
            )
        self._longest = _LONGEST_IN_MP4 if kind in ("mp4", "mov") else None
        with _muxing(self._path):
            check_writable(self._path)
            # This makes no file yet: the header comes with the first packet. FFmpeg crashes on closing
            # a fragmented MP4 that has a header and no packets. Without the prefix, a colon in the name would
            # make it look for a protocol.
            self._container: Any = av.open(f"file:{self._path}", "w", format=kind, options=options)
            self._stream = self._add_stream()
            if sound is not None:
                sound.add_to(self._container, path)

    def _add_stream(self) -> Any:
        height, width = self._size
        rate = Fraction(self._fps).limit_denominator(1001)
        encoder = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = self._container.add_stream(encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.time_base = _TIME_BASE
        context.gop_size = max(1, round(_KEY_FRAME_SECONDS * self._fps))
        context.sample_aspect_ratio = self._pixel_aspect
        self._tag(context)
        if encoder == "libx264":
            # Without look-ahead and B-frames a picture is in the file a frame later, so a kill loses little.
            context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "21"}
        else:
            context.bit_rate = max(1_000_000, round(width * height * self._fps * 0.2))
        return stream

    def _tag(self, context: Any) -> None:
        colour = self._colour
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        if colour.matrix in _SWSCALE_MATRIX:
            context.colorspace = colour.matrix
        if colour.full_range is not None:
            context.color_range = _FULL if colour.full_range else _LIMITED

    def _coded(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The RGB picture as luma and chroma, by the matrix and range that the file says."""
        return self._reformatter.reformat(
            picture,
            self._stream.width,
            self._stream.height,
            self._stream.pix_fmt,
            dst_colorspace=_SWSCALE_MATRIX.get(self._colour.matrix, _BT601),
            dst_color_range=_FULL if self._colour.full_range else _LIMITED,
        )

    def _mux_sound(self, end_seconds: float, container: Any = None) -> None:
        if self._sound is not None and self._first_seconds is not None:
            for packet in self._sound.between(self._first_seconds, end_seconds):
                (container or self._container).mux(packet)

    def write(self, image: NDArray[np.uint8], pts_seconds: float) -> None:
        """Encode one picture, (H, W, 3) uint8 RGB, shown at ``pts_seconds``."""
        if image.shape[:2] != self._size:
            image = cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA).astype(
                np.uint8, copy=False
            )
        height, width = self._size
        if height % 2 or width % 2:
            even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            image = np.asarray(even, np.uint8)
        picture = self._coded(av.VideoFrame.from_ndarray(image, "rgb24"))
        picture.pts = self._pts(pts_seconds)
        picture.time_base = _TIME_BASE
        with _muxing(self._path):
            self._mux_sound(pts_seconds)
            for packet in self._stream.encode(picture):
                self._container.mux(packet)

    def close(self) -> None:
        """Write what the encoder still holds, and the index."""
        if self._container is None:
            return
        container, self._container = self._container, None
        with _muxing(self._path):
            try:
                for packet in self._stream.encode(None):
                    container.mux(packet)
                self._mux_sound(self._last_seconds + 1 / self._fps, container)
            finally:
                container.close()
                if self._sound is not None:
                    self._sound.close()

    def _pts(self, seconds: float) -> int:
        if self._first_seconds is None:
            self._first_seconds = seconds
        self._last_seconds = seconds
        pts = round((seconds - self._first_seconds) / _TIME_BASE)
        # A clock that stands still or goes back (a camera that came again) would be refused by the container.
        if pts <= self._last_pts:
            pts = self._last_pts + max(1, round(1 / self._fps / _TIME_BASE))
        elif self._longest is not None and self._last_pts >= 0 and pts - self._last_pts > self._longest:
            LOG.warning(
                "%s: a pause of %.1f hours is written as 5: MP4 cannot say it, let the name end in mkv",
                self._path,
                float((pts - self._last_pts) * _TIME_BASE) / 3600,
            )
            self._first_seconds += float((pts - self._last_pts - self._longest) * _TIME_BASE)
            pts = self._last_pts + self._longest
        self._last_pts = pts
        return pts


@contextmanager
def _muxing(path: Path) -> Iterator[None]:
    with writing(path):
        try:
            yield
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from None
