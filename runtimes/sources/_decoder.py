"""The decoder of one stream: as many threads, and as little work on pixels, as leave exact what is wanted.

FFmpeg decodes several H.264 frames at once, and leaves out the loop filter where it is told to. Vectors do
not depend on that, as long as every frame is whole and refers to earlier ones alone. With B-frames they
differ from run to run, and in damaged frames so do pixels. No header promises that neither will come. So the
first packet that is not certain, and the first frame that is damaged, make decoding begin again at the IDR
picture before it, slice by slice. From there on it stays so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import Any

import av
import av.error
from av.codec.context import Flags

from edge_vss.plugins import LOG
from edge_vss.processor import usable_cores
from edge_vss.runtimes.sources import SourceOptions
from edge_vss.runtimes.sources import _new_headers as new_headers
from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._container import open_container
from edge_vss.runtimes.sources._spelling import can_begin_again
from edge_vss.runtimes.sources._streams import leave_out_others, packets_of, video_stream
from edge_vss.text import without_password

_P_OR_I, _ALL_P_OR_I = (0, 2), (5, 7)
"""Types of slices (ITU-T H.264, table 7-6), and the same where all slices of a picture have that type."""

_LONG_AGO = -(2**61)
"""The first time of packets whose frames were shown before. No real one is half as early."""

_UNFILTERED = {"none": "all", "key": "nointra"}
"""What goes without the loop filter (FFmpeg's skip_loop_filter), by the pictures that are wanted. An I-frame
is made of nothing but itself."""

_MOST_AT_ONCE = 4
"""Frames that are decoded at once. More are no quicker, and each is kept in memory."""

_MOST_INSIDE = 64
"""More packets than any decoder holds. So many without a frame, and something is wrong."""

_MOST_AGAIN = 600
"""Frames that may have to be decoded again. Where IDR pictures are further apart, nothing is begun again
later."""

_BACK_SECONDS = (0, 1, 10)
"""How far before a packet is looked for it. MPEG-TS lands on any packet, some of them too late."""

_LATE_SECONDS = 1
"""So long after a packet, it is not looked for any more. Demuxers guess decoding times, and those differ."""

_DEMUX_FAILURES = 100


class Decoder:
    """Passive; one thread at a time."""

    def __init__(self, uri: str, options: SourceOptions, stream: av.VideoStream, exports: bool) -> None:
        """``exports``: whether its vectors are wanted."""
        self._uri = uri
        self._options = options
        self._stream = stream
        self._context: Any = stream.codec_context
        self._plain = {**self._context.options, **({"flags2": "+export_mvs"} if exports else {})}
        codec = getattr(self._context.codec, "canonical_name", self._context.name)
        self._extradata = bytes(self._context.extradata or b"")
        self._headers = sps.parameter_sets(self._extradata) if codec == "h264" else []
        self._length_bytes = sps.length_bytes(self._extradata)
        self._quick = exports and self._may_be_quick()
        quicker = {}
        if self._quick and not options.pixels and self._most_references() == 1:
            quicker["skip_loop_filter"] = _UNFILTERED[options.pictures]
        self._context.options = {**self._plain, **quicker}
        if self._quick:
            # As FFmpeg does it: one more than there are cores, where there are several.
            cores = usable_cores() or 1
            self._context.thread_count = min(cores + (cores > 1), _MOST_AT_ONCE)
        if codec == "hevc":
            # Without it, nothing is shown from a lost packet to the next key frame.
            self._context.flags |= Flags.output_corrupt
        # Frame threads delay a live picture.
        by_slices = options.live or (exports and not self._quick)
        self._context.thread_type = "SLICE" if by_slices else "AUTO"
        self.delayed = not by_slices
        """Whether a packet's frame may come only with later packets."""
        self.doubtful = False
        """Whether frames came that are not certain, and were left out: `begin_again`."""
        self.not_found_again = False
        """Whether `begin_again` did not find what it had to decode: frames then refer to what is missing."""
        self.restart()

    def restart(self) -> None:
        """After a seek: what comes next has nothing to do with what was."""
        if self._context.is_open:
            self._context.flush_buffers()
        self._inside: deque[av.Packet[Any]] = deque()
        self._since: av.Packet[Any] | None = None
        self._shown = 0
        self.doubtful = False

    def _may_be_quick(self) -> bool:
        again = not self._options.live and "://" not in self._uri and can_begin_again(self._uri)
        return again and not self._context.has_b_frames and self._most_references() > 0

    def _most_references(self) -> int:
        """How many frames a picture may refer to; 0 where that is not known, where pictures may be fields,
        and where some may be left out on purpose."""
        found = [sps.read_sps(unit) for unit in self._headers if unit[0] & 31 == sps.NAL_SPS]
        plain = [each for each in found if each and each.frames_only and not each.gaps_allowed]
        return max((each.max_references for each in plain), default=0) if len(plain) == len(found) else 0

    def is_certain(self, packet: av.Packet[Any]) -> bool:
        """Whether the vectors of this packet, and what is wanted of its picture, are certain. If not,
        `begin_again` before it is decoded."""
        if not self._quick:
            return True
        found_again = packet.dts is not None and packet.pos is not None and packet.pos >= 0
        near = len(self._inside) < _MOST_INSIDE and self._shown < _MOST_AGAIN
        return found_again and near and not self._has_other_headers(packet) and self._looks_back(packet)

    def _has_other_headers(self, packet: av.Packet[Any]) -> bool:
        """Whether the demuxer hands out other headers with it: FLV of an encoder that was set anew, MP4 with
        several sample descriptions."""
        headers = new_headers.beside(packet)
        return headers is not None and bytes(headers) != self._extradata

    def _looks_back(self, packet: av.Packet[Any]) -> bool:
        """Whether all slices are P or I, and the headers those of the beginning."""
        seen = False
        for unit in sps.nal_units(bytes(packet), self._length_bytes):
            kind = unit[0] & 31
            # By another header, frames may be shown in another order. Who begins again knows the first ones.
            if kind in (sps.NAL_SPS, sps.NAL_PPS) and unit not in self._headers:
                return False
            if kind in sps.NAL_PARTITIONS:
                return False
            if kind in (sps.NAL_SLICE, sps.NAL_IDR):
                slice_type, seen = sps.read_slice_type(unit), True
                if slice_type in _ALL_P_OR_I:
                    return True
                if slice_type not in _P_OR_I:
                    return False
        return seen

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        """The pictures that a packet completes; None for what is left. Raises FFmpegError."""
        if not self._quick:
            pictures: list[av.VideoFrame] = self._context.decode(packet)
            return [picture for picture in pictures if picture.pts is None or picture.pts > _LONG_AGO // 2]
        if packet is not None:
            self._since = self._since or packet
            self._inside.append(packet)
        try:
            pictures = self._context.decode(packet)
        except av.error.FFmpegError:
            self.doubtful = True
            return []
        certain = list(takewhile(self._came, pictures))
        # Several threads say nothing of a packet that makes no frame.
        self.doubtful = len(certain) < len(pictures) or (packet is None and bool(self._inside))
        return certain

    def _came(self, picture: av.VideoFrame) -> bool:
        """Whether this is the whole picture of the first packet that is inside; then it is no more."""
        if picture.is_corrupt or not self._inside or self._inside[0].pts != picture.pts:
            return False
        packet = self._inside.popleft()
        self._shown += 1
        units = sps.nal_units(bytes(packet) if packet.is_keyframe else b"", self._length_bytes)
        if any(unit[0] & 31 == sps.NAL_IDR for unit in units):
            self._since, self._shown = packet, 1
        return True

    def begin_again(self, packet: av.Packet[Any] | None, stopped: Callable[[], bool]) -> list[av.Packet[Any]]:
        """Decode all again whose frames were shown, slice by slice. ``packet`` comes next, if it is not None.

        Returns the packets before it whose frames were not shown: decode them first. Ends early once
        ``stopped`` says so. Raises SourceError where the file cannot be opened any more.
        """
        inside = list(self._inside)
        self._inside.clear()
        self._quick = self.delayed = self.doubtful = self.not_found_again = False
        following = inside[0] if inside else packet
        if not self._context.is_open:
            self._be_plain(self._context)
        elif following is None or self._since is None:
            with self._opened_again():
                pass
        else:
            name = without_password(self._uri)
            LOG.info("%s: what comes now is not certain with several threads, so it is decoded again", name)
            since, tries = self._since, (*_BACK_SECONDS, None)
            found = any(self._decode_between(since, following, back, stopped) for back in tries)
            if not found and not stopped():
                self._context.flush_buffers()
                self.not_found_again = True
        return inside

    def _be_plain(self, context: Any) -> None:
        self._context = context
        context.options = self._plain
        context.thread_type, context.thread_count = "SLICE", 0

    @contextmanager
    def _opened_again(self) -> Iterator[tuple[Any, av.VideoStream]]:
        """The file and the stream, with whose decoder it goes on."""
        with open_container(self._uri, self._options) as again:
            stream = video_stream(again, self._uri, self._stream.index)
            leave_out_others(again, stream)
            # No decoder made anew: the container may say what no header of the stream does, as how pictures
            # are turned.
            self._be_plain(stream.codec_context)
            yield again, stream

    def _decode_between(
        self,
        since: av.Packet[Any],
        following: av.Packet[Any],
        back_seconds: float | None,
        stopped: Callable[[], bool],
    ) -> bool:
        """Decode the packets from one to another, without that, which are looked for from so far before; or
        from the start of the file. False where they are not found."""
        with self._opened_again() as (container, stream):
            late, unit = None, stream.time_base
            if back_seconds is not None and unit and since.dts is not None:
                late = since.dts + round(_LATE_SECONDS / unit)
                # Some demuxers cannot go before their first packet: then it is read from there.
                with suppress(av.error.FFmpegError):
                    container.seek(since.dts - round(back_seconds / unit), stream=stream)
            for number, packet in enumerate(_from(_packets(container, stream), since, late)):
                if _same(packet, following):
                    return True
                if stopped() or number > _MOST_AGAIN + _MOST_INSIDE:
                    return False
                packet.pts = packet.dts = _LONG_AGO + number
                # What was damaged was told when it was shown.
                with suppress(av.error.FFmpegError):
                    self._context.decode(packet)
        return False


def _packets(container: Any, stream: av.VideoStream) -> Iterator[av.Packet[Any]]:
    """All that there are, past some damage."""
    for _ in range(_DEMUX_FAILURES):
        with suppress(av.error.FFmpegError):
            yield from packets_of(container, stream)
            return


def _from(
    packets: Iterator[av.Packet[Any]], first: av.Packet[Any], late: int | None
) -> Iterator[av.Packet[Any]]:
    """The packets from this one on; none where it has not come by the decoding time that is too ``late``."""
    for packet in packets:
        if _same(packet, first):
            yield packet
            break
        if late is not None and packet.dts is not None and packet.dts > late:
            return
    yield from (packet for packet in packets if packet.size)


def _same(one: av.Packet[Any], other: av.Packet[Any]) -> bool:
    """Whether these are one packet of the file. Its decoding time may be a guess, by what was read before."""
    return one.pos == other.pos and one.size == other.size and bytes(one) == bytes(other)
