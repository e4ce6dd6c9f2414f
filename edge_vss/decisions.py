"""What a policy is asked, what it decides, and the result of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_vss.confidence import Confidence
from edge_vss.video import Frame


@dataclass(frozen=True)
class Measured:
    """What can be measured about the way from a frame back to its anchor."""

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
    CONTINUOUS = "continuous"
    """The last key frame is done."""
    CARRIED = "carried"
    """Nothing asks for a key frame."""


@dataclass(frozen=True)
class Track:
    """The way from the current frame back to its anchor, for a policy to decide on.

    Measuring takes time, so it is done when one of the numbers is read for the first time. It uses the
    values of this frame, however late that is.
    """

    frames_since_key: int
    """Frames since the anchor; 1 on the first frame after it."""

    measure: Callable[[], Measured] = field(repr=False, compare=False)
    """Measures the numbers. To try out a policy give your own: ``Track(3, lambda: Measured(1, 8, 4.5))``."""

    @cached_property
    def measured(self) -> Measured:
        """All numbers; measured at the first call."""
        return self.measure()

    @property
    def known(self) -> float:
        """Share of the frame whose motion, all the way back to the anchor, was measured: 0 to 1."""
        return self.measured.known

    @property
    def travel_px(self) -> float:
        """Mean length of the motion back to the anchor, in pixels of the frame."""
        return self.measured.travel_px

    @property
    def error(self) -> float:
        """Mean absolute difference between the frame's brightness and the anchor's carried here, 0 to 255, on
        a small grid."""
        return self.measured.error


@dataclass(frozen=True)
class Decision:
    """Which route a frame takes, and why."""

    route: str
    """``start``, ``key`` or ``nonkey``: a key of the manifest's ``routes``."""

    reason: str
    """In a few words, for logs and overlays: ``first frame``, ``interval 5``, ``scene cut``."""

    cause: Cause = Cause.OTHER
    """The same for programs."""


@dataclass(frozen=True)
class Staleness:
    """How far labels may be out of date, in grey levels; 0 for a key frame's own."""

    number: float
    """Of the whole frame: what the policy ``adaptive`` compares with its limit, which is 12."""

    per_cell: NDArray[np.float32]
    """(h, w) float32, the same for every cell of 8 by 8 pixels; the last row and column may reach past the
    frame."""


@dataclass
class Prediction:
    """The result of one step."""

    labels: NDArray[np.uint8]
    """(H, W) uint8 class ids at the frame's size. Of several heads, the first."""

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

    heads: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """The maps of a bundle that gives several, by name: (H, W) uint8, class ids or a matte from 0 to 255. The
    first is ``labels`` itself. Empty where that is the only map."""

    trust: Callable[[], Confidence] | None = field(default=None, repr=False, compare=False)
    """Works out ``confidence`` when that is read for the first time."""

    @cached_property
    def confidence(self) -> Confidence | None:
        """How far the labels are to be trusted. None where frames in between do not take their labels from a
        key frame (a network with a memory sees every frame)."""
        return self.trust() if self.trust is not None else None

    def __getstate__(self) -> dict[str, Any]:
        # Another process has not what this is worked out from.
        confidence = self.confidence
        return {**vars(self), "confidence": confidence, "trust": None}

    anchor_index: int = -1
    """The index of the key frame that the labels come from: the frame's own on a key frame."""

    age_seconds: float = 0.0
    """How much earlier than this frame that key frame was shown."""

    measure_staleness: Callable[[], Staleness] | None = field(default=None, repr=False, compare=False)
    """Measures the two numbers below; None where the labels are the frame's own."""

    @property
    def staleness(self) -> float:
        """How far the labels may be out of date, in grey levels: 0 on a key frame, 12 is where ``adaptive``
        asks for the next one. Measured when it is read for the first time."""
        return self.measure_staleness().number if self.measure_staleness else 0.0

    @property
    def staleness_per_cell(self) -> NDArray[np.float32]:
        """(h, w) float32: the same for every cell of 8 by 8 pixels of the frame."""
        if self.measure_staleness is not None:
            return self.measure_staleness().per_cell
        height, width = self.labels.shape
        return np.zeros((-(-height // 8), -(-width // 8)), np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        others = sum(values.nbytes for values in self.heads.values() if values is not self.labels)
        return self.labels.nbytes + others + (self.logits.nbytes if self.logits is not None else 0)


Policy = Callable[[Frame, Track], Decision]
"""Decides the route of every frame that does not have to start anew."""


@dataclass(frozen=True)
class PolicyDescription:
    """What a policy may do. Where no graph and no policy needs motion, the source need not measure it."""

    routes: frozenset[str] = frozenset({"start", "key", "nonkey"})
    """The routes that it may choose."""

    measures: bool = True
    """Whether it reads more of a Track than ``frames_since_key``."""

    pictures: bool = True
    """Whether it may choose a key frame that has no picture (`Frame.has_picture`)."""


@runtime_checkable
class DescribedPolicy(Protocol):
    """A policy that says what it may do. One that does not say may do everything."""

    @property
    def description(self) -> PolicyDescription:
        """Stays the same as long as the policy lives."""

    def __call__(self, frame: Frame, track: Track) -> Decision:
        """As any policy."""


def described(policy: Policy) -> PolicyDescription:
    """What a policy says of itself, or that it may do everything."""
    said = policy.description if isinstance(policy, DescribedPolicy) else None
    # A policy of another package may mean something else by that word.
    return said if isinstance(said, PolicyDescription) else PolicyDescription()
