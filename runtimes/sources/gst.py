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
from typing import Any

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.motion_field import MotionVectors
from edge_vss.orientation import UPRIGHT
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import DEFAULT_FPS, SourceDescription, SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources._again import Patience
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, side_data
from edge_vss.runtimes.sources._pipeline import NANOSECONDS, BrokenError, Pipeline
from edge_vss.text import without_password
from edge_vss.video import Frame, StartReason, StreamInfo

DESCRIPTION = SourceDescription(
    "a GStreamer pipeline that ends in an appsink", vector_codecs=frozenset({"h264"}), live=True
)

_KEPT_VECTORS = 64
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
    """The frames of a pipeline. Passive; one thread at a time.

    A pipeline that fails, ends or falls silent is made again, as long as `SourceOptions` says.
    """

    another_codec = False
    """Whether `frames` ended because the camera came back with another codec: call it again, for the rest."""

    def __init__(self, pipeline: str, options: SourceOptions) -> None:
        self.name = without_password(f"gst:{pipeline}")
        self.errors = 0
        self._text = pipeline
        self._options = options
        self._converters = Converters()
        self._pipeline: Pipeline | None = None
        self._patience = Patience(self.name, options.reconnect_seconds)
        self._index = -1
        self._start = StartReason.FIRST_FRAME
        self._connect()

    def _connect(self) -> None:
        """Make the pipeline, up to its first frame."""
        self._pipeline = made = Pipeline(self._text, self.name, self._options.timeout_seconds, self._patience)
        try:
            self._has_b_frames = False
            self._decoder = _decoder(made.codec, self._options.vectors) if made.codec else None
            self._continuity = continuity.Continuity(made.codec, b"", float(NANOSECONDS))
            self._frames = self._decoded(made) if made.raw is None else self._shown(made)
            self._first: Frame | None = next(self._frames, None)
            if self._first is None:
                raise SourceError(f"no frame of {self.name} could be decoded: check the camera")
            self.info = self._described(made, self._first)
        except BaseException:
            made.close()
            raise

    def listen(self, listener: Listener) -> None:
        """There are no packets to hand out: vectors come with the frames."""

    def seek(self, seconds: float) -> None:
        """A camera has no other place."""
        raise SourceError(f"cannot seek in {self.name}: give a file to move about in it")

    def stop(self) -> None:
        """From any thread: whoever reads waits for nothing any more."""
        self._patience.stop()

    def close(self) -> None:
        """Stop the pipeline."""
        self._patience.stop()
        if self._pipeline is not None:
            self._pipeline.close()

    def frames(self) -> Iterator[Frame]:
        """Every frame from now on. Raises SourceError where the pipeline fails or falls silent, and does not
        come back in time."""
        self.another_codec = False
        while True:
            first, self._first = self._first, None
            if first is not None:
                yield first
            again = self._options.live and self._options.reconnect_seconds > 0
            try:
                yield from self._frames
                reason = "the pipeline ended"
            except BrokenError as error:
                if not again:
                    raise
                reason = error.reason
            if not again or self._patience.stopped:
                return
            codec = self.info.codec
            if not self._reconnect(reason):
                return
            if self.info.codec != codec:
                self.another_codec = True
                return

    def _reconnect(self, reason: str) -> bool:
        assert self._pipeline is not None
        self._pipeline.close()

        def connect() -> None:
            self._start = StartReason.RECONNECTED
            self._connect()

        back = self._patience.open_again(reason, connect)
        if back:
            # A pipeline is made up to its first frame.
            self._patience.came()
        return back

    def _decoded(self, pipeline: Pipeline) -> Iterator[Frame]:
        """The frames of an encoded branch alone."""
        for coded in self._of_packets(pipeline):
            frame = self._frame(coded.picture, coded.pts, coded.arrived)
            frame.picture_type, frame.vectors = coded.picture_type, coded.vectors
            frame.seconds["decode"] = coded.seconds
            yield frame

    def _shown(self, pipeline: Pipeline) -> Iterator[Frame]:
        """The frames of a raw branch, with the vectors of the encoded one where there is one."""
        both = pipeline.encoded is not None
        coded: Iterator[_Coded] = self._of_packets(pipeline) if both else iter(())
        told: OrderedDict[int, _Coded] = OrderedDict()
        latest = -1
        for sample in pipeline.samples(pipeline.raw):
            pts, arrived = pipeline.time_of(sample), time.time()
            while latest < pts and (other := next(coded, None)) is not None:
                told[other.pts], latest = other, other.pts
                if len(told) > _KEPT_VECTORS:
                    told.popitem(last=False)
            frame = self._frame(pipeline.picture(sample), pts, arrived)
            skipped = [at for at in told if at < pts]
            for at in skipped:
                del told[at]
            if (pair := told.pop(pts, None)) is not None:
                # A pipeline may drop pictures of one branch alone, as a leaky queue does. Vectors then refer
                # to a picture that was never shown. Nothing else is lost, so the frame need not begin anew.
                frame.vectors = None if skipped else pair.vectors
                frame.picture_type = pair.picture_type
                frame.seconds["decode"] = pair.seconds
            elif both:
                # Without its vectors, what moved at this picture is not known.
                frame.start = frame.start or StartReason.LOST_PACKETS
            yield frame

    def _of_packets(self, pipeline: Pipeline) -> Iterator[_Coded]:
        assert self._decoder is not None
        for sample in pipeline.samples(pipeline.encoded):
            arrived, began = time.time(), time.perf_counter()
            packet, given, key = pipeline.packet(sample)
            self._watch(packet, key)
            try:
                pictures = self._decoder.decode(packet)
            except av.error.FFmpegError:
                self.errors += 1
                self._start = self._start or StartReason.DAMAGED_PACKET
                continue
            for picture in pictures:
                pts = given if picture.pts is None else picture.pts
                kind = _TYPES.get(int(picture.pict_type), "?")
                self._has_b_frames |= kind == "B"
                vectors = side_data(picture, self._options.vectors)[1]
                yield _Coded(picture, pts, arrived, kind, vectors, time.perf_counter() - began)

    def _watch(self, packet: av.Packet[Any], key: bool) -> None:
        head = self._continuity.read(memoryview(packet), None, None, corrupt=False, key=key)
        lost = self._continuity.check(head, [], False)
        # Where the next frame begins anew anyhow, that is no news.
        if lost and not self._start:
            LOG.warning("%s: %s", self.name, lost.value)
            self._start = lost

    def _frame(self, picture: av.VideoFrame, pts: int, arrived: float) -> Frame:
        self._index += 1
        start, self._start = self._start, StartReason.NONE
        return Frame(
            index=self._index,
            pts_seconds=float(pts * NANOSECONDS),
            picture_type="?",
            size=(picture.height, picture.width),
            picture=DecodedPicture(picture, UPRIGHT, self._converters),
            start=start,
            pts=pts,
            seconds={"decode": 0.0},
            arrived_seconds=arrived,
        )

    def _described(self, pipeline: Pipeline, first: Frame) -> StreamInfo:
        return StreamInfo(
            uri=self.name,
            codec=pipeline.codec,
            size=first.size,
            fps=self._options.fps or pipeline.fps or DEFAULT_FPS,
            exports_vectors=self._options.vectors and pipeline.codec == "h264",
            has_b_frames=self._has_b_frames,
            live=self._options.live,
            time_base=NANOSECONDS,
        )


def _decoder(codec: str, vectors: bool) -> Any:
    made: Any = av.CodecContext.create(codec, "r")
    made.thread_type = "SLICE"
    if vectors and codec == "h264":
        made.options = {"flags2": "+export_mvs"}
    return made
