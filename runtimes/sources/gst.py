"""Any camera that GStreamer reads: ``gst:nvarguscamerasrc ! ... ! appsink``.

An appsink of raw video gives pictures. One of H.264 (``... ! h264parse ! appsink``) gives pictures and
vectors: it is decoded here. With both, pictures come from the first, as the board's own decoder made them,
and vectors from the second.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from edge_vss.errors import SourceError
from edge_vss.orientation import UPRIGHT
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import DEFAULT_FPS, SourceDescription, SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, side_data
from edge_vss.runtimes.sources._gi import gstreamer
from edge_vss.text import without_password
from edge_vss.video import Frame, MotionVectors, StartReason, StreamInfo

DESCRIPTION = SourceDescription(
    "a GStreamer pipeline that ends in an appsink", vector_codecs=frozenset({"h264"}), live=True
)

_FORMATS = {
    "RGB": "rgb24",
    "BGR": "bgr24",
    "RGBx": "rgb0",
    "BGRx": "bgr0",
    "GRAY8": "gray",
    "I420": "yuv420p",
    "NV12": "nv12",
    "YUY2": "yuyv422",
}
"""GStreamer's names of pixel formats → FFmpeg's."""
_CODECS = {"video/x-h264": "h264", "image/jpeg": "mjpeg"}
_CAPS = (
    f"video/x-raw,format={{{','.join(_FORMATS)}}}; "
    "video/x-h264,stream-format=byte-stream,alignment=au; image/jpeg"
)
_NANOSECONDS = Fraction(1, 10**9)
_KEPT_VECTORS = 64
_LOOK_SECONDS = 0.1
"""How often a silent pipeline is asked whether it failed."""
_TYPES = {1: "I", 2: "P", 3: "B"}


@dataclass(frozen=True)
class _Coded:
    """What came out of a packet of the encoded branch."""

    picture: av.VideoFrame
    pts: int
    arrived: float
    picture_type: str
    vectors: MotionVectors | None
    seconds: float


def open(target: str, options: SourceOptions = SourceOptions()) -> GstReader:
    """Starts a pipeline, and waits for its first frame. Raises SourceError where that fails."""
    return GstReader(target, options)


class GstReader:
    """The frames of a pipeline. Passive; one thread at a time."""

    errors = 0

    def __init__(self, pipeline: str, options: SourceOptions) -> None:
        self._gst, app, self._video = gstreamer()
        self.name = without_password(f"gst:{pipeline}")
        self._options = options
        self._converters = Converters()
        self._pipeline = self._launched(pipeline)
        self._index = -1
        self._start = StartReason.FIRST_FRAME
        self._has_b_frames = False
        try:
            sinks = self._sinks(app)
            for sink in sinks:
                # Frames go out as they come; the pipeline waits where nobody takes them.
                sink.set_property("sync", False)
                sink.set_property("max-buffers", 8)
                if sink.get_property("caps") is None:
                    sink.set_property("caps", self._gst.Caps.from_string(_CAPS))
            self._pipeline.set_state(self._gst.State.PLAYING)
            first = {sink: self._pulled(sink) for sink in sinks}
            if any(sample is None for sample in first.values()):
                raise SourceError(f"{self.name} ended before its first picture: check what it reads")
            coded = [sink for sink in sinks if self._codec_of(first[sink])]
            raw = [sink for sink in sinks if sink not in coded]
            self._encoded = coded[0] if coded else None
            self._raw = raw[0] if raw else None
            self._codec = self._codec_of(first[coded[0]]) if coded else ""
            self._decoder = _decoder(self._codec, options.vectors) if coded else None
            self._continuity = continuity.Continuity(self._codec, b"", float(_NANOSECONDS))
            self._waiting: dict[Any, list[Any]] = {sink: [sample] for sink, sample in first.items()}
            self._frames = self._decoded() if self._raw is None else self._shown()
            self._first = next(self._frames, None)
            if self._first is None:
                raise SourceError(f"no frame of {self.name} could be decoded: check the camera")
            self.info = self._described(first[self._raw or self._encoded], self._first)
        except BaseException:
            self.close()
            raise

    def _launched(self, text: str) -> Any:
        try:
            return self._gst.parse_launch(text)
        except Exception as error:  # GLib.Error, which has no base class of its own
            why = without_password(getattr(error, "message", error))
            raise SourceError(
                f"{self.name} is no pipeline that can be made here ({why}): try it with gst-launch-1.0"
            ) from None

    def _sinks(self, app: Any) -> list[Any]:
        elements = self._pipeline
        found = []
        if isinstance(elements, self._gst.Bin):
            iterator = elements.iterate_sinks()
            while (step := iterator.next())[0] == self._gst.IteratorResult.OK:
                found.append(step[1])
        sinks = [sink for sink in found if isinstance(sink, app.AppSink)]
        if not 1 <= len(sinks) <= 2:
            raise SourceError(
                f"{self.name} has {len(sinks)} appsinks: let it end in ! appsink, or in two, one for "
                "pictures and one for H.264"
            )
        return sinks

    def listen(self, listener: Listener) -> None:
        """There are no packets to hand out: vectors come with the frames."""

    def seek(self, seconds: float) -> None:
        """A camera has no other place."""
        raise SourceError(f"cannot seek in {self.name}: give a file to move about in it")

    def close(self) -> None:
        """Stop the pipeline."""
        self._pipeline.set_state(self._gst.State.NULL)

    def frames(self) -> Iterator[Frame]:
        """Every frame from now on. Raises SourceError where the pipeline fails or falls silent."""
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._frames

    def _pulled(self, sink: Any) -> Any:
        """The next sample; None at the end."""
        seconds = self._options.timeout_seconds
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            sample = sink.try_pull_sample(int(1e9 * min(seconds, _LOOK_SECONDS)))
            if sample is not None:
                return sample
            message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
            if message is not None:
                why = without_password(message.parse_error()[0].message)
                raise SourceError(f"{self.name} failed ({why}): try it with gst-launch-1.0")
            if sink.is_eos():
                return None
        raise SourceError(f"{self.name} fell silent (nothing came for {seconds:g} s): check the camera")

    def _samples(self, sink: Any) -> Iterator[Any]:
        waiting = self._waiting[sink]
        while (sample := waiting.pop(0) if waiting else self._pulled(sink)) is not None:
            yield sample

    def _codec_of(self, sample: Any) -> str:
        return _CODECS.get(sample.get_caps().get_structure(0).get_name(), "")

    def _decoded(self) -> Iterator[Frame]:
        """The frames of an encoded branch alone."""
        for coded in self._of_packets():
            frame = self._frame(coded.picture, coded.pts, coded.arrived)
            frame.picture_type, frame.vectors = coded.picture_type, coded.vectors
            frame.seconds["decode"] = coded.seconds
            yield frame

    def _shown(self) -> Iterator[Frame]:
        """The frames of a raw branch, with the vectors of the encoded one where there is one."""
        coded: Iterator[_Coded] = iter(()) if self._encoded is None else self._of_packets()
        told: OrderedDict[int, _Coded] = OrderedDict()
        latest = -1
        for sample in self._samples(self._raw):
            pts, arrived = self._time_of(sample), time.time()
            while latest < pts and (other := next(coded, None)) is not None:
                told[other.pts], latest = other, other.pts
                if len(told) > _KEPT_VECTORS:
                    told.popitem(last=False)
            frame = self._frame(self._picture(sample), pts, arrived)
            if (pair := told.pop(pts, None)) is not None:
                frame.vectors, frame.picture_type = pair.vectors, pair.picture_type
                frame.seconds["decode"] = pair.seconds
            elif self._encoded is not None:
                # Without its vectors, what moved at this picture is not known.
                frame.start = frame.start or StartReason.LOST_PACKETS
            yield frame

    def _of_packets(self) -> Iterator[_Coded]:
        assert self._decoder is not None
        for sample in self._samples(self._encoded):
            buffer, arrived, began = sample.get_buffer(), time.time(), time.perf_counter()
            packet = av.Packet(_bytes_of(buffer, self._gst))
            packet.pts, packet.time_base = self._time_of(sample), _NANOSECONDS
            self._watch(packet, not buffer.has_flags(self._gst.BufferFlags.DELTA_UNIT))
            try:
                pictures = self._decoder.decode(packet)
            except av.error.FFmpegError:
                self.errors += 1
                self._start = self._start or StartReason.DAMAGED_PACKET
                continue
            for picture in pictures:
                pts = packet.pts if picture.pts is None else picture.pts
                kind = _TYPES.get(int(picture.pict_type), "?")
                self._has_b_frames |= kind == "B"
                vectors = side_data(picture, self._options.vectors)[1]
                yield _Coded(picture, pts, arrived, kind, vectors, time.perf_counter() - began)

    def _watch(self, packet: av.Packet[Any], key: bool) -> None:
        head = self._continuity.read(memoryview(packet), None, None, corrupt=False, key=key)
        lost = self._continuity.check(head, [], False)
        if lost and self._index >= 0:
            LOG.warning("%s: %s", self.name, lost.value)
            self._start = self._start or lost

    def _time_of(self, sample: Any) -> int:
        """Nanoseconds since the pipeline began. An encoder may count from elsewhere, and says so."""
        pts = sample.get_buffer().pts
        running: int = sample.get_segment().to_running_time(self._gst.Format.TIME, pts)
        return pts if running == self._gst.CLOCK_TIME_NONE else running

    def _frame(self, picture: av.VideoFrame, pts: int, arrived: float) -> Frame:
        self._index += 1
        start, self._start = self._start, StartReason.NONE
        return Frame(
            index=self._index,
            pts_seconds=float(pts * _NANOSECONDS),
            picture_type="?",
            size=(picture.height, picture.width),
            picture=DecodedPicture(picture, UPRIGHT, self._converters),
            start=start,
            pts=pts,
            seconds={"decode": 0.0},
            arrived_seconds=arrived,
        )

    def _picture(self, sample: Any) -> av.VideoFrame:
        """A raw sample as FFmpeg's picture, copied: the camera fills its buffers again."""
        info = self._video.VideoInfo.new_from_caps(sample.get_caps())
        name = _FORMATS.get(info.finfo.name, "")
        data = np.frombuffer(_bytes_of(sample.get_buffer(), self._gst), np.uint8)
        picture = av.VideoFrame(info.width, info.height, name)
        for number, plane in enumerate(picture.planes):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            stride, at = info.stride[number], info.offset[number]
            height = min(len(rows), plane.height)
            given = np.lib.stride_tricks.as_strided(
                data[at:], (height, min(stride, plane.line_size)), (stride, 1), writeable=False
            )
            rows[:height, : given.shape[1]] = given
        return picture

    def _described(self, sample: Any, first: Frame) -> StreamInfo:
        known, numerator, denominator = sample.get_caps().get_structure(0).get_fraction("framerate")
        fps = numerator / denominator if known and numerator and denominator else DEFAULT_FPS
        return StreamInfo(
            uri=self.name,
            codec=self._codec,
            size=first.size,
            fps=self._options.fps or fps,
            exports_vectors=self._options.vectors and self._codec == "h264",
            has_b_frames=self._has_b_frames,
            live=self._options.live,
            time_base=_NANOSECONDS,
        )


def _decoder(codec: str, vectors: bool) -> Any:
    made: Any = av.CodecContext.create(codec, "r")
    made.thread_type = "SLICE"
    if vectors and codec == "h264":
        made.options = {"flags2": "+export_mvs"}
    return made


def _bytes_of(buffer: Any, gst: Any) -> bytes:
    done, mapped = buffer.map(gst.MapFlags.READ)
    if not done:
        raise SourceError("GStreamer's buffer cannot be read here: put a converter before the appsink")
    try:
        return bytes(mapped.data)
    finally:
        buffer.unmap(mapped)
