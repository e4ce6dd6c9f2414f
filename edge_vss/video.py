"""The values that travel through a session: frames, motion, decisions and predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError

Size = tuple[int, int]
"""Height and width, in pixels: the order of array axes, everywhere."""


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


class Picture(Protocol):
    """A decoded picture whose pixels are converted only when asked for."""

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, scaled to ``size`` when it is given."""

    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness at the picture's own size; a view of the decoder's plane where that is
        possible."""


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

    start: str = ""
    """Why the state must begin anew at this frame (``first frame``, ``lost packets``, ``size changed``), or
    empty."""

    motion: MotionField | None = None
    """Motion towards earlier shown frames; None on a first frame and where the source gives none."""

    vectors: NDArray[Any] | None = None
    """The decoder's motion vectors as PyAV gives them (structured array), or None."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds spent on this frame so far, per stage (``decode``, ``motion``)."""

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, made on first use."""
        return self.picture.rgb()

    @cached_property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 brightness."""
        return self.picture.luma()


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
    """True for a camera or a network stream, which does not wait."""

    rotation: int = 0
    """Degrees counterclockwise (0, 90, 180, 270) by which decoded pictures were turned to be shown."""

    duration_seconds: float | None = None
    """Length in seconds, where the headers say it."""


@dataclass(frozen=True)
class Track:
    """What is known about the way from the current frame back to its anchor, for a policy to decide on.

    A policy that has an attribute ``looks`` and sets it to False gets ``frames_since_key`` alone, and NaN for
    the rest.
    """

    frames_since_key: int
    """Frames since the anchor; 1 on the first frame after it."""

    known: float
    """Share of the frame whose motion, all the way back to the anchor, was measured: 0 to 1."""

    travel_px: float
    """Mean length of the motion back to the anchor, in pixels of the frame."""

    error: float
    """Mean absolute difference between the frame's brightness and the anchor's carried here, 0 to 255, on a
    small grid."""


class Cause(Enum):
    """What made a policy decide as it did, for programs to tell apart."""

    OTHER = "other"
    """What ``Decision.reason`` says."""
    INTERVAL = "interval"
    """As many frames have passed as the policy wants from one key frame to the next."""
    I_FRAME = "I-frame"
    """The codec's picture is an I-frame."""
    NO_I_FRAME = "no I-frame"
    """No I-frame came for as long as the policy waits."""
    STALENESS = "staleness"
    """What was carried no longer fits the picture."""
    LONGEST = "longest"
    """What was carried still fits, for as long as the policy trusts that."""
    CARRIED = "carried"
    """Nothing asks for a key frame."""


@dataclass(frozen=True)
class Decision:
    """Which route a frame takes, and why."""

    route: str
    """``start``, ``key`` or ``nonkey``: a key of the manifest's ``routes``."""

    reason: str
    """In a few words, for logs and overlays: ``first frame``, ``interval 5``, ``scene cut``."""

    cause: Cause = Cause.OTHER
    """The same for programs."""


@dataclass
class Prediction:
    """The result of one step."""

    labels: NDArray[np.uint8]
    """(H, W) uint8 class ids at the frame's size."""

    decision: Decision
    """The route taken and the reason."""

    frames_since_key: int
    """Frames since the anchor: 0 on a key frame."""

    index: int
    """The frame's index."""

    pts_seconds: float
    """The frame's presentation time in seconds."""

    logits: NDArray[np.float32] | None = None
    """(C, h, w) scores at the network's own resolution, when the session was asked for them."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds per stage: ``decode``, ``motion``, ``key``, ``state``, ``nonkey``, ``post``."""


Policy = Callable[[Frame, Track], Decision]
"""Decides the route of every frame that does not have to start anew."""
