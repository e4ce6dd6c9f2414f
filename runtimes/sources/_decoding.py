"""One video stream being decoded: which frames it gives, where, and which of them begin anew."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from time import perf_counter

import av
import av.error

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources import _continuity as continuity
from edge_vss.runtimes.sources import _new_headers as new_headers
from edge_vss.runtimes.sources._coded_stream import CodedStream
from edge_vss.runtimes.sources._container import frame_rate, open_container
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, side_data
from edge_vss.runtimes.sources._seeking import Seek, has_steady_rate, landings, shown_times
from edge_vss.runtimes.sources._spelling import can_begin_again
from edge_vss.runtimes.sources._streams import video_stream
from edge_vss.video import Frame, Size, StartReason

_PICTURE_TYPES = {1: "I", 2: "P", 3: "B", 4: "S", 5: "I", 6: "P", 7: "B"}
_FAR_SECONDS = 1e9
"""Longer than any video. More would not fit into the numbers of a demuxer."""


class Decoding:
    """The decoder's half of a reader. Passive; one thread at a time.

    Like the stream that it decodes, it knows nothing of the generator that runs in it.
    """

    def __init__(self, uri: str, options: SourceOptions, vector_codecs: frozenset[str]) -> None:
        self.coded = CodedStream(uri, options, vector_codecs)
        self._uri = uri
        self._options = options
        self._converters = Converters()
        self._index = -1
        self._pts_seconds = -1 / self.coded.fps
        self._first: tuple[int | None, float] | None = None
        self._order: list[int] | None = None
        self._lost_by_seeking: bool | None = None
        self._seek: Seek | None = None

    def begin_again(self) -> None:
        """For one who makes frames of packets: count frames from the first packet that opening has read."""
        if self.coded.begin_again():
            self._index, self._pts_seconds = -1, -1 / self.coded.fps

    def seek(self, seconds: float) -> None:
        """Go to where decoding has to begin; `frames` begins with the first frame not before this."""
        if not can_begin_again(self._uri):
            raise SourceError(f"cannot seek in {self.coded.name}, which comes through a pipe: give a file")
        first_pts, first_seconds = self._first or (None, 0.0)
        seconds = min(max(seconds, first_seconds), _FAR_SECONDS)
        wanted = round(seconds / self.coded.time_base)
        if self._lost_by_seeking is None:
            lost = new_headers.are_lost_by_seeking(self.coded.container, self._uri)
            self._lost_by_seeking = lost or self.coded.times.lost_by_seeking
        from_the_start = first_pts is None or self._lost_by_seeking
        places = iter(()) if from_the_start else landings(wanted, first_pts or 0, self.coded.time_base)
        # Counted times are right only from the second key frame on: what the first needs may be cut off.
        self._seek = Seek(seconds, wanted, places, keys=2 if self.coded.times.counted else 1)
        self.coded.listening.end()
        self._land(self._seek)

    def land_again(self) -> bool:
        """After `frames`: go further back, where decoding has begun too late for the frame that is sought."""
        if self._seek is None or self._seek.settled or self.coded.patience.stopped:
            return False
        self._land(self._seek)
        return True

    def _land(self, seek: Seek) -> None:
        packet = seek.begin(self.coded.container, self.coded.stream, self.coded.headers.demuxed)
        if packet is None:
            seek.counted = True
            self._index, self._pts_seconds = -1, -1 / self.coded.fps
        self.coded.go_on_from(packet)

    def missed(self, frame: Frame) -> bool:
        """Whether this frame shows that a seek has landed too late."""
        return self._seek is not None and self._seek.missed(frame.pts_seconds)

    def is_wanted(self, frame: Frame, pts: int | None, begins: bool) -> bool:
        """Whether no seek is under way, or it is this frame that is sought; then it gets its index and
        ``start``. ``begins``: decoding can begin with it, and nothing that it needs was missing."""
        seek = self._seek
        if seek is None:
            return True
        if not seek.reached(frame.pts_seconds, begins):
            return False
        if not seek.counted:
            self._index = self._index_at(frame.pts_seconds, pts)
        frame.index, frame.start, self._seek = self._index, StartReason.SEEK, None
        return True

    def _index_at(self, pts_seconds: float, pts: int | None) -> int:
        first_pts, first_seconds = self._first or (None, 0.0)
        steady = self.coded.times.counted or has_steady_rate(self.coded.container, self.coded.stream)
        if pts is not None and first_pts is not None and not steady:
            if self._order is None:
                with open_container(self._uri, self._options) as again:
                    stream = video_stream(again, self.coded.name, self.coded.stream.index)
                    self._order = shown_times(again, stream, self._uri)
            if self._order:
                return bisect_left(self._order, pts) - bisect_left(self._order, first_pts)
        return round((pts_seconds - first_seconds) * frame_rate(self.coded.stream))

    def frames(self) -> Iterator[Frame]:
        """The frames from here on, in display order. Damaged packets are passed over and counted."""
        size: Size | None = None
        for packet in self.coded.packets():
            if packet is not None:
                self.coded.times.fed(packet)
            began = perf_counter()
            try:
                pictures = self.coded.decoder.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                late = self.coded.decoder.delayed or packet is None
                self.coded.damaged(packet.pts if packet else None, late)
                pictures = []
            self.coded.spent += perf_counter() - began
            # At its end, a decoder with threads gives many frames at once.
            spent = self.coded.spent / max(1, len(pictures))
            self.coded.spent = 0.0 if pictures else self.coded.spent
            for picture in pictures:
                if self.withholds(not picture.is_corrupt):
                    continue
                frame = self._frame(picture, size, spent)
                if self.missed(frame):
                    return
                # H.264 can begin at other pictures too, and its decoder knows which are whole.
                begins = picture.key_frame or (self.coded.codec == "h264" and not self.coded.times.counted)
                wanted = self.is_wanted(frame, picture.pts, begins and not picture.is_corrupt)
                size = frame.size if wanted else None
                if wanted:
                    yield frame
        self.finish()

    def finish(self) -> None:
        """No frame comes any more: tell of what none could tell, if decoding began where it should."""
        if self._seek is None or self._seek.settled:
            self.coded.finish()

    def withholds(self, whole: bool) -> bool:
        """Whether the next frame is not to be shown, because no whole one came yet."""
        return self.coded.marks.withhold(not whole)

    def _frame(self, picture: av.VideoFrame, size: Size | None, spent: float) -> Frame:
        # FFmpeg's MPEG-4 decoder does not store the vectors of B-frames: it exports zeros.
        kind = _PICTURE_TYPES.get(int(picture.pict_type), "?")
        told = not (self.coded.codec == "mpeg4" and kind == "B")
        size_here, cropping = (picture.height, picture.width), self.coded.cropping
        corner = (0, 0) if cropping is None else cropping.corner_of(size_here)
        orientation, vectors = side_data(picture, self.coded.exports and told, corner)
        shown = orientation.size(size_here)
        frame = Frame(
            index=0,
            pts_seconds=0.0,
            picture_type=kind,
            size=shown,
            picture=DecodedPicture(picture, orientation, self._converters),
            vectors=vectors,
            seconds={"decode": spent},
        )
        return self.placed(frame, self.coded.times.shown(picture), picture.pts, not picture.is_corrupt, size)

    def placed(
        self, frame: Frame, pts: int | None, packet_pts: int | None, whole: bool, size: Size | None
    ) -> Frame:
        """The frame that is shown next, with its index, its time, and why it begins anew.

        ``whole``: nothing that it needs was missing. ``size`` of the frame before, if there was one.
        """
        self.coded.patience.came()
        self._index += 1
        self._pts_seconds += 1 / self.coded.fps
        unit = self.coded.unit_seconds
        if pts is not None and unit:
            self._pts_seconds = float(pts * unit)
        elif self._index == 0 and unit:
            self._pts_seconds = self.coded.times.begins_seconds or 0.0
        self._first = self._first or (pts if unit else None, self._pts_seconds)
        frame.index, frame.pts_seconds, frame.pts = (
            self._index,
            self._pts_seconds,
            self.coded.times.told(pts),
        )
        frame.start = self._start(frame, packet_pts, whole, size)
        frame.arrived_seconds, frame.captured_seconds = self.coded.captures.of(packet_pts)
        return frame

    def _start(self, frame: Frame, packet_pts: int | None, whole: bool, size: Size | None) -> StartReason:
        intra = frame.picture_type == "I"
        reason = self.coded.marks.reason(self.coded.breaks.frame(packet_pts), whole, intra)
        if self._index == 0:
            if reason == continuity.LOST and not intra:
                # What was lost comes before this frame, but it is the first that is shown.
                self.coded.breaks.again(reason)
            return StartReason.FIRST_FRAME
        if reason in (continuity.LOST, continuity.JOINED):
            self.coded.log(reason, packet_pts)
        if size is not None and size != frame.size:
            return StartReason.SIZE_CHANGED
        return reason
