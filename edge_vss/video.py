"""What a source gives: frames with their pictures, motion, packets, and what is known about the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SourceError

Size = tuple[int, int]
"""Height and width, in pixels: the order of array axes, everywhere."""


@dataclass(frozen=True)
class Window:
    """A part of a frame, or what reaches beyond it, in pixels of the frame. Pixel 0 begins at 0."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class MotionField:
    """Where the content of a frame was in the frame shown before it, on a regular grid.

    Current → reference: the content at pixel position ``p`` was at ``p + displacement_px`` in the previous
    shown frame. Cell (i, j) covers the pixels [i·cell_px, (i+1)·cell_px) × [j·cell_px, (j+1)·cell_px); the
    last row and column may reach past the frame.
    """

    displacement_px: NDArray[np.float32]
    """(2, h, w), x then y, in pixels of the frame (not of the grid)."""

    known: NDArray[np.bool_]
    """(h, w): True where the motion was measured (a vector, or matched flow), False where it was filled
    in."""

    reference: NDArray[np.int8]
    """(h, w): how many shown frames the measured vector spanned, negative where it pointed ahead. It is
    divided out: ``displacement_px`` is always the motion of one frame."""

    cell_px: int
    """Side of a grid cell in pixels of the frame; 1 is one displacement per pixel."""

    provider: str = ""
    """What measured it: ``codec``, ``flow``, or both as ``codec+flow``."""

    def __post_init__(self) -> None:
        shape = self.displacement_px.shape
        if (
            len(shape) != 3
            or shape[0] != 2
            or self.known.shape != shape[1:]
            or self.reference.shape != shape[1:]
        ):
            raise OptionError(
                f"MotionField wants displacement_px (2, h, w) with known and reference (h, w); "
                f"got {shape}, {self.known.shape}, {self.reference.shape}"
            )

    @property
    def coverage(self) -> float:
        """Share of the grid whose motion was measured, 0 to 1."""
        return float(self.known.mean()) if self.known.size else 0.0


@dataclass(frozen=True)
class MotionVectors:
    """The motion vectors of one frame: n blocks, and where the content of each was taken from.

    Current → reference, like MotionField: the content of a block was at its place plus ``displacement_px`` in
    the frame that it refers to. Positions are in pixels of the frame as it is shown. Blocks that
    point one way do not overlap; a block may have a vector for each direction.

    Raises OptionError where the arrays do not have one shape.
    """

    left_px: NDArray[np.int16]
    """(n,): left edge of the block. Blocks may reach past the edges of the frame."""

    top_px: NDArray[np.int16]
    """(n,): upper edge of the block."""

    width_px: NDArray[np.int16]
    """(n,): width of the block."""

    height_px: NDArray[np.int16]
    """(n,): height of the block."""

    displacement_px: NDArray[np.float32]
    """(2, n), x then y: from the block to its content in the reference frame."""

    direction: NDArray[np.int8]
    """(n,): −1 where the reference frame is shown earlier, 1 where it is shown later."""

    reference: NDArray[np.int8] | None = None
    """(n,): how many shown frames back the reference frame is, negative where it is shown later, 0 where that
    is not known. None where it is known of no block: most decoders do not tell."""

    def __post_init__(self) -> None:
        n = len(self.left_px)
        shapes = {self.left_px.shape, self.top_px.shape, self.width_px.shape, self.height_px.shape}
        shapes |= {self.direction.shape, (n,) if self.reference is None else self.reference.shape}
        if self.displacement_px.shape != (2, n) or shapes != {(n,)}:
            raise OptionError(
                "MotionVectors wants displacement_px (2, n) and every other array (n,); "
                f"got {self.displacement_px.shape} and {sorted(shapes)}"
            )

    def __len__(self) -> int:
        return len(self.left_px)

    def only(self, where: NDArray[np.bool_]) -> MotionVectors:
        """The vectors of the blocks chosen by ``where`` (n,), in the same order."""
        return MotionVectors(
            self.left_px[where],
            self.top_px[where],
            self.width_px[where],
            self.height_px[where],
            self.displacement_px[:, where],
            self.direction[where],
            None if self.reference is None else self.reference[where],
        )


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
    which."""

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
