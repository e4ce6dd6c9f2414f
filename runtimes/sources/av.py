"""Compressed video through PyAV: files, stream URLs and V4L2 cameras, with the decoder's motion vectors."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from time import monotonic, perf_counter, sleep
from typing import Any

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import SourceDescription, SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._container import frame_rate, open_container, timed_out, video_stream
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, motion_vectors, quarter_turns
from edge_vss.video import Frame, Size, StreamInfo

_MPEG = ("mpeg1video", "mpeg2video", "mpeg4", "h263", "h263p", "flv1", "wmv1", "wmv2")
_MSMPEG = ("msmpeg4v1", "msmpeg4v2", "msmpeg4v3")
EXPORTING_CODECS = frozenset(("h264", *_MPEG, *_MSMPEG))
"""Codecs whose software decoders in FFmpeg export motion vectors. HEVC, VP8, VP9 and AV1 do not."""

_LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtp", "rtmp", "rtmps", "udp", "srt", "tcp", "v4l2"})

_PICTURE_TYPES = {1: "I", 2: "P", 3: "B", 4: "S", 5: "I", 6: "P", 7: "B"}
_DEMUX_FAILURES = 100
_RETRY_SECONDS = 0.5


DESCRIPTION = SourceDescription(
    "video files, stream URLs and cameras, through FFmpeg",
    schemes=_LIVE_SCHEMES | {"file", "http", "https", "hls"},
    live_schemes=_LIVE_SCHEMES,
    vector_codecs=EXPORTING_CODECS,
)


def open(target: str, options: SourceOptions = SourceOptions()) -> AvReader:
    """Opens a file, URL or camera and decodes its first frame. Raises SourceError where that fails."""
    return AvReader(target, options)


class AvReader:
    """Frames of one video stream, in display order. Passive; one thread at a time."""

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self.errors = 0
        self._uri = uri
        self._options = options
        self._closed = False
        self._converters = Converters()
        self._break = ""
        self._break_pts: int | None = None
        self._spent = 0.0
        self._connect()
        self._fps = options.fps or frame_rate(self._stream)
        self._index = -1
        self._pts_seconds = -1 / self._fps
        self._skip_before: float | None = None
        self._decoded = self._decode()
        try:
            self._first: Frame | None = next(self._decoded, None)
            if self._first is None:
                raise SourceError(
                    f"no frame of {uri} could be decoded ({self._stream.codec_context.name}, "
                    f"{self.errors} damaged packets): check that the file is complete"
                )
            self.info = self._describe(self._first)
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[Frame]:
        """Every frame from the current position on. Damaged packets are passed over and counted."""
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._decoded

    def seek(self, seconds: float) -> None:
        """Move to the first frame at or after this time. Its index is estimated from the frame rate."""
        try:
            self._container.seek(round(seconds / self._time_base), stream=self._stream)
        except av.error.FFmpegError as error:
            raise SourceError(
                f"cannot seek to {seconds} s in {self._uri} ({error.strerror}): read it from the start"
            ) from None
        self._continuity.restart()
        self._first = None
        self._break, self._break_pts = "seek", None
        self._skip_before = seconds
        self._decoded = self._decode()

    def close(self) -> None:
        """Close the file or device."""
        self._closed = True
        self._container.close()

    def _connect(self) -> None:
        self._container = open_container(self._uri, self._options)
        try:
            self._stream = video_stream(self._container, self._uri)
            self._time_base = self._stream.time_base or Fraction(1, 90_000)
            context = self._stream.codec_context
            self._codec = getattr(context.codec, "canonical_name", context.name)
            self._exports = self._options.vectors and self._codec in EXPORTING_CODECS
            if self._exports:
                context.options = {**context.options, "flags2": "+export_mvs"}
            # With B-frames, frame threads give other vectors from run to run; they also delay a live picture.
            context.thread_type = "SLICE" if self._exports or self._options.live else "AUTO"
            self._extradata = bytes(context.extradata or b"")
            self._continuity = continuity.Continuity(self._codec, self._extradata)
        except BaseException:
            self._container.close()
            raise

    def _describe(self, first: Frame) -> StreamInfo:
        parameters = sps.read_extradata(self._extradata) if self._codec == "h264" else None
        stream, container = self._stream, self._container
        duration = None
        if stream.duration:
            duration = float(stream.duration * self._time_base)
        elif container.duration and not self._options.live:
            duration = container.duration / 1e6
        assert isinstance(first.picture, DecodedPicture)
        return StreamInfo(
            uri=self._uri,
            codec=self._codec,
            size=first.size,
            fps=self._fps,
            frames=stream.frames or None,
            exports_vectors=self._exports,
            has_b_frames=bool(stream.codec_context.has_b_frames),
            references=parameters.max_references if parameters else None,
            live=self._options.live,
            rotation=first.picture.quarter_turns * 90,
            duration_seconds=duration,
        )

    def _decode(self) -> Iterator[Frame]:
        size: Size | None = None
        for packet in self._packets():
            began = perf_counter()
            try:
                pictures = self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._damaged(packet)
                pictures = []
            self._spent += perf_counter() - began
            # At its end, a decoder with threads gives many frames at once.
            spent, self._spent = self._spent / max(1, len(pictures)), 0.0 if pictures else self._spent
            for picture in pictures:
                frame = self._frame(picture, size, spent)
                size = frame.size
                if self._skip_before is not None:
                    if frame.pts_seconds < self._skip_before - 1e-6:
                        self._break = self._break or frame.start
                        size = None
                        continue
                    self._skip_before = None
                    self._index = max(0, round(frame.pts_seconds * self._fps))
                    frame.index = self._index
                yield frame

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        """The stream's packets, and None at the end, so that the decoder gives out what it still holds."""
        failures = 0
        while True:
            try:
                began = perf_counter()
                for packet in self._container.demux(self._stream):
                    if not self._options.live:
                        self._spent += perf_counter() - began
                    if packet.size:
                        failures = 0
                        self._watch(packet)
                        yield packet
                    began = perf_counter()
                reason = "the stream ended"
            except av.error.InvalidDataError:
                failures += 1
                self._damaged(None)
                if failures < _DEMUX_FAILURES:
                    continue
                reason = "it holds nothing but damaged packets from here on"
            except av.error.FFmpegError as error:
                self.errors += 1
                reason = (
                    f"nothing came for {self._options.timeout_seconds:g} s"
                    if timed_out(error)
                    else str(error.strerror)
                )
            yield None
            if not self._options.live or self._closed:
                return
            if not self._options.reconnect_seconds:
                if reason == "the stream ended":
                    return
                raise SourceError(f"{self._uri} fell silent ({reason}): check the camera and the network")
            self._reconnect(reason)

    def _watch(self, packet: av.Packet[Any]) -> None:
        head = continuity.PacketHead(
            continuity.head_bytes(memoryview(packet)), packet.dts, packet.duration or None, packet.is_corrupt
        )
        reason = self._continuity.check(head)
        if reason:
            self._break, self._break_pts = self._break or reason, packet.pts
        elif self._break and self._break_pts is not None and packet.pts is not None:
            # B-frames decoded after the gap but shown before it may refer to what is missing.
            self._break_pts = min(self._break_pts, packet.pts)

    def _damaged(self, packet: av.Packet[Any] | None) -> None:
        self.errors += 1
        self._break = self._break or continuity.DAMAGED
        self._break_pts = packet.pts if packet is not None else None

    def _reconnect(self, reason: str) -> None:
        self._container.close()
        deadline = monotonic() + self._options.reconnect_seconds
        while not self._closed and not self._connected():
            if monotonic() > deadline:
                raise SourceError(
                    f"{self._uri} did not come back within {self._options.reconnect_seconds:g} s ({reason}): "
                    "check the camera and the network"
                )
            sleep(_RETRY_SECONDS)
        self._break, self._break_pts = "reconnected", None

    def _connected(self) -> bool:
        try:
            self._connect()
        except SourceError:
            return False
        return True

    def _frame(self, picture: av.VideoFrame, size: Size | None, spent: float) -> Frame:
        turns = quarter_turns(picture)
        shown = (picture.height, picture.width) if turns % 2 == 0 else (picture.width, picture.height)
        self._index += 1
        self._pts_seconds += 1 / self._fps
        if picture.pts is not None:
            self._pts_seconds = float(picture.pts * (picture.time_base or self._time_base))
        return Frame(
            index=self._index,
            pts_seconds=self._pts_seconds,
            picture_type=_PICTURE_TYPES.get(int(picture.pict_type), "?"),
            size=shown,
            picture=DecodedPicture(picture, turns, self._converters),
            start=self._start(picture, size, shown),
            vectors=motion_vectors(picture, turns) if self._exports else None,
            seconds={"decode": spent},
        )

    def _start(self, picture: av.VideoFrame, size: Size | None, shown: Size) -> str:
        reason = ""
        if self._break and (picture.pts is None or self._break_pts is None or picture.pts >= self._break_pts):
            reason, self._break = self._break, ""
        if self._index == 0:
            return "first frame"
        if size is not None and size != shown:
            return "size changed"
        return reason or (continuity.DAMAGED if picture.is_corrupt else "")
