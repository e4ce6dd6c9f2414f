"""One build of a GStreamer pipeline: started, waited for, and asked for its samples."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources._again import Patience
from edge_vss.runtimes.sources._gi import gstreamer
from edge_vss.text import without_password

NANOSECONDS = Fraction(1, 10**9)
"""Seconds per unit of GStreamer's times."""
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
_LOOK_SECONDS = 0.1
"""How often a silent pipeline is asked whether it failed."""


class BrokenError(SourceError):
    """A pipeline that was made has failed or fallen silent."""

    def __init__(self, told: str, reason: str) -> None:
        """``reason`` is what happened, in a few words."""
        super().__init__(told)
        self.reason = reason


class Pipeline:
    """Passive; one thread at a time. Making one waits for its first samples, up to ``timeout_seconds``, and
    raises SourceError where none come."""

    def __init__(self, text: str, name: str, timeout_seconds: float, patience: Patience) -> None:
        self._gst, app, self._video = gstreamer()
        self._name = name
        self._seconds = timeout_seconds
        self._patience = patience
        self._pipeline = self._launched(text)
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
                raise SourceError(f"{name} ended before its first picture: check what it reads")
            coded = [sink for sink in sinks if _codec_of(first[sink])]
            raw = [sink for sink in sinks if sink not in coded]
            self.encoded = coded[0] if coded else None
            """The appsink of encoded video; None where there is none."""
            self.raw = raw[0] if raw else None
            """The appsink of pictures; None where there is none."""
            self.codec = _codec_of(first[coded[0]]) if coded else ""
            self.fps = _rate_of(first[raw[0] if raw else coded[0]])
            """As the caps tell; None where they do not."""
            self._waiting = {sink: [sample] for sink, sample in first.items()}
        except BaseException:
            self.close()
            raise

    def _launched(self, text: str) -> Any:
        try:
            return self._gst.parse_launch(text)
        except Exception as error:  # GLib.Error, which has no base class of its own
            why = without_password(getattr(error, "message", error))
            raise SourceError(
                f"{self._name} is no pipeline that can be made here ({why}): try it with gst-launch-1.0"
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
                f"{self._name} has {len(sinks)} appsinks: let it end in ! appsink, or in two, one for "
                "pictures and one for H.264"
            )
        return sinks

    def close(self) -> None:
        """Stop it."""
        self._pipeline.set_state(self._gst.State.NULL)

    def samples(self, sink: Any) -> Iterator[Any]:
        """What comes out of an appsink, up to its end. Raises BrokenError."""
        waiting = self._waiting[sink]
        while (sample := waiting.pop(0) if waiting else self._pulled(sink)) is not None:
            yield sample

    def _pulled(self, sink: Any) -> Any:
        """The next sample; None at the end, or where nobody waits any more."""
        seconds = self._seconds
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._patience.stopped:
                return None
            sample = sink.try_pull_sample(int(1e9 * min(seconds, _LOOK_SECONDS)))
            if sample is not None:
                return sample
            message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
            if message is not None:
                why = without_password(message.parse_error()[0].message)
                raise BrokenError(f"{self._name} failed ({why}): try it with gst-launch-1.0", why)
            if sink.is_eos():
                return None
        why = f"nothing came for {seconds:g} s"
        raise BrokenError(f"{self._name} fell silent ({why}): check the camera", why)

    def time_of(self, sample: Any) -> int:
        """Nanoseconds since the pipeline began. An encoder may count from elsewhere, and says so."""
        pts = sample.get_buffer().pts
        running: int = sample.get_segment().to_running_time(self._gst.Format.TIME, pts)
        return pts if running == self._gst.CLOCK_TIME_NONE else running

    def packet(self, sample: Any) -> tuple[av.Packet[Any], int, bool]:
        """A sample of the encoded branch, its time, and whether it can be decoded by itself."""
        buffer = sample.get_buffer()
        packet = av.Packet(self._bytes_of(buffer))
        pts = self.time_of(sample)
        packet.pts, packet.time_base = pts, NANOSECONDS
        return packet, pts, not buffer.has_flags(self._gst.BufferFlags.DELTA_UNIT)

    def picture(self, sample: Any) -> av.VideoFrame:
        """A sample of the raw branch, copied: the camera fills its buffers again."""
        info = self._video.VideoInfo.new_from_caps(sample.get_caps())
        name = _FORMATS.get(info.finfo.name, "")
        data = np.frombuffer(self._bytes_of(sample.get_buffer()), np.uint8)
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

    def _bytes_of(self, buffer: Any) -> bytes:
        done, mapped = buffer.map(self._gst.MapFlags.READ)
        if not done:
            raise SourceError("GStreamer's buffer cannot be read here: put a converter before the appsink")
        try:
            return bytes(mapped.data)
        finally:
            buffer.unmap(mapped)


def _codec_of(sample: Any) -> str:
    return _CODECS.get(sample.get_caps().get_structure(0).get_name(), "")


def _rate_of(sample: Any) -> float | None:
    known, numerator, denominator = sample.get_caps().get_structure(0).get_fraction("framerate")
    return numerator / denominator if known and numerator and denominator else None
