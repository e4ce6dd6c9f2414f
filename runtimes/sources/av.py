"""Compressed video through PyAV: files, stream URLs and V4L2 cameras, with the decoder's motion vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from edge_vss.errors import MissingExtra, SourceError
from edge_vss.orientation import Orientation
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion import Listener
from edge_vss.runtimes.sources import SourceDescription, SourceOptions
from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._decoded import DecodedPicture, why_other_colours
from edge_vss.runtimes.sources._decoding import Decoding
from edge_vss.runtimes.sources._kinds import what_it_is
from edge_vss.runtimes.sources._parsed import Parsing, what_hinders
from edge_vss.runtimes.sources._streams import described, video_streams
from edge_vss.video import Frame, StartReason, StreamInfo

_MPEG = ("mpeg1video", "mpeg2video", "mpeg4", "h263", "h263p", "flv1", "wmv1", "wmv2")
_MSMPEG = ("msmpeg4v1", "msmpeg4v2", "msmpeg4v3")
_LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtp", "rtmp", "rtmps", "udp", "srt", "tcp", "v4l2"})

DESCRIPTION = SourceDescription(
    "video files, stream URLs and cameras, through FFmpeg",
    schemes=_LIVE_SCHEMES | {"file", "http", "https", "hls"},
    live_schemes=_LIVE_SCHEMES,
    # FFmpeg's software decoders export the vectors of these. Those of HEVC, VP8, VP9 and AV1 do not.
    vector_codecs=frozenset(("h264", *_MPEG, *_MSMPEG)),
)


def open(target: str, options: SourceOptions = SourceOptions()) -> AvReader:
    """Opens a file, URL or camera and decodes its first frame. Raises SourceError where that fails."""
    return AvReader(target, options)


class AvReader:
    """Frames of one video stream, in display order. Passive; one thread at a time.

    The file or device is closed when the reader and its iterators are gone, or by `close`.
    """

    another_codec = False
    """Whether `frames` ended because what follows has another codec, or vectors that mean something else.
    Call it again, for the rest."""

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self._decoding = Decoding(uri, options, DESCRIPTION.vector_codecs)
        self._decoded = _frames(self._decoding)
        coded = self._decoding.coded
        try:
            self._first: Frame | None = next(self._decoded, None)
            if self._first is None:
                if kind := what_it_is(uri):
                    raise SourceError(f"{coded.name} is {kind}")
                raise SourceError(
                    f"no frame of {coded.name} could be decoded ({coded.codec}, "
                    f"{self.errors} damaged packets): check that the file is complete"
                )
            self.info = _describe(self._decoding, self._first, options.live)
            self._pictures = options.pictures if _need_not_decode(self._decoding, options) else "all"
            if self._pictures != "all":
                self.info = replace(self.info, exports_vectors=True, pictures=self._pictures)
        except BaseException:
            self.close()
            raise

    @property
    def errors(self) -> int:
        """Damaged packets passed over so far."""
        return self._decoding.coded.errors

    @property
    def untold_losses(self) -> int:
        """Losses so far after which no frame came that could begin anew."""
        return self._decoding.coded.untold_losses

    def listen(self, listener: Listener) -> None:
        """Hand every packet to ``listener``, beginning with the first, if no frame was taken yet."""
        self._decoding.coded.listening.begin(listener)

    def frames(self) -> Iterator[Frame]:
        """Every frame from the current position on. Damaged packets are passed over and counted."""
        self.another_codec = False
        if self._pictures != "all":
            orientation = Orientation(self.info.rotation // 90, self.info.mirrored)
            parsing = Parsing(self._decoding, orientation, self._pictures)
            yield from parsing.frames()
            if parsing.another_codec:
                self._decode_from_here()
            return
        self._decoding.coded.listening.forget_opening()
        first, self._first = self._first, None
        if first is not None:
            yield first
        for frame in self._decoded:
            before, coded = self.info, self._decoding.coded
            # A camera that comes back may be another one.
            back = self.info.live and frame.start in (StartReason.RECONNECTED, StartReason.SIZE_CHANGED)
            if back:
                self.info = _describe(self._decoding, frame, True)
            if coded.references > (self.info.references or 0):
                # A new header in the middle: two recordings in one file, or an encoder that was set anew.
                self.info = replace(self.info, references=coded.references)
            if self.info is not before and _measured_by(before) != _measured_by(self.info):
                # Who listened waits for the old stream's packets. Who comes next may not listen at all.
                coded.listening.leave()
                self._first, self.another_codec = frame, True
                return
            if back:
                coded.listening.forget_opening()
            yield frame

    def _decode_from_here(self) -> None:
        """A camera that was only read came back with another codec."""
        self._decoded, self._pictures = _frames(self._decoding), "all"
        self._first = next(self._decoded, None)
        if self._first is not None:
            self.info, self.another_codec = _describe(self._decoding, self._first, True), True

    def seek(self, seconds: float) -> None:
        """Move to the first frame at or after this time. Its index follows from the frame rate."""
        self._decoding.seek(seconds)
        self._first = None
        self._decoded = _frames(self._decoding)

    def stop(self) -> None:
        """From any thread: whoever reads waits for nothing after the packet under way."""
        self._decoding.coded.patience.stop()

    def close(self) -> None:
        """Close the file or device."""
        self._decoding.coded.close()


def _frames(decoding: Decoding) -> Iterator[Frame]:
    # No method: a reader that held a generator of its own would wait for the garbage collector.
    yield from decoding.frames()
    while decoding.land_again():
        yield from decoding.frames()


def _measured_by(stream: StreamInfo) -> tuple[object, ...]:
    """What a motion provider decides by, once for the whole stream."""
    if stream.codec == "hevc":
        # The parser may have its parameter sets from nowhere else.
        return stream.codec, stream.extradata
    return stream.codec, stream.references, stream.has_b_frames


def _need_not_decode(decoding: Decoding, options: SourceOptions) -> bool:
    """Whether frames can be had without decoding, where not all pictures are wanted."""
    if options.pictures == "all" or decoding.coded.codec != "hevc":
        return False
    try:
        why_not = what_hinders(decoding)
    except MissingExtra as error:
        why_not = str(error)
    if why_not:
        LOG.warning("%s: every picture is decoded: %s", decoding.coded.name, why_not)
    return not why_not


def _describe(decoding: Decoding, first: Frame, live: bool) -> StreamInfo:
    coded = decoding.coded
    parameters = sps.read_extradata(coded.extradata) if coded.codec == "h264" else None
    stream, container = coded.stream, coded.container
    duration = None
    # Where packets had to be counted, the header's times say nothing either.
    timed = coded.unit_seconds is not None
    if stream.duration and timed:
        duration = float(stream.duration * coded.time_base)
    elif container.duration and timed and not live:
        duration = container.duration / 1e6
    assert isinstance(first.picture, DecodedPicture)
    orientation = first.picture.orientation
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if why := why_other_colours(first.picture.colour.matrix):
        LOG.warning("%s: %s", coded.name, why)
    streams = tuple(map(described, video_streams(container)))
    if len(streams) > 1:
        LOG.warning(
            "%s: several video streams (%s); %d is read",
            coded.name,
            ", ".join(streams),
            stream.index,
        )
    return StreamInfo(
        uri=coded.name,
        codec=coded.codec,
        size=first.size,
        fps=coded.fps,
        frames=stream.frames or None,
        exports_vectors=coded.exports,
        has_b_frames=bool(stream.codec_context.has_b_frames),
        references=parameters.max_references if parameters else None,
        live=live,
        rotation=orientation.quarter_turns * 90,
        mirrored=orientation.mirrored,
        time_base=coded.unit_seconds,
        extradata=coded.extradata,
        duration_seconds=duration,
        pixel_aspect=1 / aspect if orientation.quarter_turns % 2 else aspect,
        colour=first.picture.colour,
        stream=stream.index,
        streams=streams,
    )
