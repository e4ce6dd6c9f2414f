"""What a source gives: frames with their pictures, motion, packets, and what is known about the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.motion_field import MotionField, MotionVectors

Size = tuple[int, int]
"""Height and width, in pixels: the order of array axes, everywhere."""

MOST_H264_PX = 16384
"""The most pixels a side that H.264's encoder takes."""


@dataclass(frozen=True)
class Window:
    """A part of a frame, or what reaches beyond it, in pixels of the frame. Pixel 0 begins at 0."""

    top: float
    left: float
    height: float
    width: float


class StartReason(str, Enum):
    """Why a frame or a packet does not follow on from the one before.

    Each is equal to its text (``frame.start == "lost packets"``). The one that says that nothing happened is
    empty, so that ``if frame.start`` asks whether there is a reason.
    """

    NONE = ""
    """It follows on."""
    FIRST_FRAME = "first frame"
    """There is none before it."""
    SEEK = "seek"
    """The source was moved."""
    LOST_PACKETS = "lost packets"
    """Packets before it are missing."""
    DAMAGED_PACKET = "damaged packet"
    """A packet before it, or its own, could not be decoded as it was sent."""
    CLOCK_JUMPED = "clock jumped"
    """Two recordings were joined here: nothing is missing, and nothing follows on."""
    RECONNECTED = "reconnected"
    """The stream had ended and was opened again."""
    SIZE_CHANGED = "size changed"
    """Frames have another height or width from here on."""
    EVERY_FRAME = "every frame"
    """A tool wants no frame to follow on."""

    # As enum.StrEnum has it, which Python 3.10 lacks.
    __str__ = str.__str__

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)


@dataclass(frozen=True)
class Packet:
    """One packet of a compressed stream: the bytes of one picture, as the container holds them.

    Packets come in decoding order. A packet and the frame that comes out of it have the same ``pts``.
    """

    data: bytes
    """H.264 and HEVC: NAL units, each after its length or after a start code; `StreamInfo.extradata` says
    which. Where other headers hold than those, a key frame's packet begins with them."""

    pts: int | None
    """Presentation time in units of `StreamInfo.time_base`, or None where the stream has no times."""

    key: bool
    """True where decoding can begin at this packet."""

    start: StartReason = StartReason.NONE
    """Why this packet does not follow on from the one before."""


class Picture(Protocol):
    """A decoded picture whose pixels are fetched and converted only when asked for."""

    @property
    def device(self) -> str:
        """Where the pixels are now: ``cpu`` in this program's memory, ``cuda:0`` and the like on an
        accelerator, or empty where nothing is decoded before it is asked for."""

    @property
    def nbytes(self) -> int:
        """About how many bytes the picture holds where it is."""

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, scaled to ``size`` when it is given."""

    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness at the picture's own size; a view of the decoder's plane where that is
        possible."""


class NoPicture:
    """In the place of a picture that nobody decoded: asking for its pixels is an error."""

    device = ""
    nbytes = 0

    def __init__(self, index: int, pictures: str) -> None:
        """``index`` of the frame, and which pictures the source was opened for (`open_source`)."""
        self._why = (
            f"frame {index} has no picture: its source was opened with pictures={pictures!r}; open it with "
            "pictures='all'"
        )

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """Raises SourceError."""
        raise SourceError(self._why)

    def luma(self) -> NDArray[np.uint8]:
        """Raises SourceError."""
        raise SourceError(self._why)


@dataclass
class Frame:
    """One shown frame of a source, in display order."""

    index: int
    """0 for the first frame of the source, counting every decoded frame."""

    pts_seconds: float
    """Presentation time in seconds from the start of the stream's clock."""

    picture_type: str
    """The codec's picture type: ``I``, ``P``, ``B``, or ``?`` where the source has none."""

    size: Size
    """Height and width in pixels, as shown (rotation applied)."""

    picture: Picture
    """The pixels, not yet converted."""

    start: StartReason = StartReason.NONE
    """Why the state must begin anew at this frame."""

    motion: MotionField | None = None
    """Motion towards earlier shown frames; None on a first frame and where the source gives none."""

    vectors: MotionVectors | None = None
    """The decoder's motion vectors; None on I-frames and where the decoder gives none."""

    pts: int | None = None
    """The exact presentation time, in units of `StreamInfo.time_base`; None where the source has none."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds spent on this frame so far, per stage (``decode``, ``motion``)."""

    arrived_seconds: float | None = None
    """Of a live source: when the frame's packet arrived, in seconds of Unix time."""

    captured_seconds: float | None = None
    """When the picture was taken, in seconds of Unix time by the camera's own clock; None where it does not
    tell (RTSP cameras do, by RTCP)."""

    @property
    def capture_clock(self) -> str:
        """What is known about when the picture was taken: ``rtcp`` (``captured_seconds``), ``arrival``
        (``arrived_seconds``), or empty."""
        if self.captured_seconds is not None:
            return "rtcp"
        return "" if self.arrived_seconds is None else "arrival"

    begins_part: bool = False
    """Whether a part of a recording begins here that can be labelled without what comes before."""

    @property
    def has_picture(self) -> bool:
        """Whether there are pixels: not where the source decodes key pictures only, or none."""
        return not isinstance(self.picture, NoPicture)

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, made on first use."""
        return self.picture.rgb()

    @cached_property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness."""
        return self.picture.luma()

    @property
    def nbytes(self) -> int:
        """About how many bytes the frame holds, with the image that was made of it."""
        image = vars(self).get("image")
        field = self.motion.displacement_px.nbytes if self.motion is not None else 0
        return self.picture.nbytes + (image.nbytes if image is not None else 0) + field


@dataclass(frozen=True)
class Colour:
    """How numbers stand for colours: the code points of ITU-T H.273, as video files carry them."""

    primaries: int = 2
    """What red, green and blue are; 2 is not said."""

    transfer: int = 2
    """From light to numbers; 2 is not said."""

    matrix: int = 2
    """From RGB to luma and chroma: 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020; 2 is not said."""

    full_range: bool | None = None
    """True for 0 to 255, False for 16 to 235; None where it is not said."""


UNKNOWN_COLOUR = Colour()


@dataclass(frozen=True)
class StreamInfo:
    """What is known about a source when it opens, from its headers and its first picture."""

    uri: str
    """What was opened: a path, a URL, or a short description of arrays."""

    codec: str
    """FFmpeg's name of the codec (``h264``, ``hevc``), or empty for arrays and images."""

    size: Size
    """Height and width of the first frame in pixels, as shown (rotation applied)."""

    fps: float
    """Frames per second, as the headers say; 25 where they say nothing."""

    frames: int | None = None
    """How many frames there are, where that is known without decoding them all."""

    exports_vectors: bool = False
    """True where the decoder was asked for motion vectors and this codec's decoder gives them."""

    has_b_frames: bool = False
    """True where frames are decoded in another order than they are shown."""

    references: int | None = None
    """The most reference frames an H.264 stream may use (its SPS says so); None where that is not known."""

    live: bool = False
    """True for a camera or a network stream, whose frames come however slowly they are read."""

    rotation: int = 0
    """Degrees counterclockwise (0, 90, 180, 270) by which decoded pictures are turned to be shown."""

    mirrored: bool = False
    """True where decoded pictures are mirrored left to right, before they are turned."""

    time_base: Fraction | None = None
    """Seconds per unit of ``Frame.pts`` and ``Packet.pts``; None where the source has no packets, and where
    they carry no times: ``pts`` then counts packets, so that a packet and its frame still share it."""

    pictures: str = "all"
    """Which frames have a picture: ``all``, ``key`` (the codec's I-frames), or ``none``."""

    extradata: bytes = field(default=b"", repr=False)
    """What the container holds for the decoder besides the packets (H.264 and HEVC: parameter sets)."""

    duration_seconds: float | None = None
    """Length in seconds, where the headers say it."""

    names: tuple[str, ...] = field(default=(), repr=False)
    """File names of the frames, in order, where each is a picture file of its own."""

    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, as shown (rotation applied); 1 where it is not said."""

    colour: Colour = UNKNOWN_COLOUR
    """What the first picture says of its colours. ``Frame.image`` is RGB of that kind."""

    stream: int | None = None
    """The number in the file of the stream that is read; None where the source has none."""

    streams: tuple[str, ...] = ()
    """The video streams that there are, each as ``number: codec WIDTHxHEIGHT``."""


@dataclass(frozen=True)
class FrameStamp:
    """Which frame something belongs to."""

    index: int
    """The frame's index."""

    pts_seconds: float
    """The frame's presentation time in seconds."""
