"""When a frame goes the long way: policies that choose key frames.

A policy is any callable ``(frame, track) -> Decision`` with route ``key`` or ``nonkey`` (or ``start``). It is
asked about every frame but those that must start anew, and also about frames that pass without inference.
A ``description`` (edge_vss.decisions.PolicyDescription) is welcome: it can save measuring motion. The
policies here keep no state, so that one can serve many sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edge_vss.decisions import Cause, Decision, Policy, PolicyDescription, Track
from edge_vss.errors import BundleError, OptionError
from edge_vss.runtimes.staleness import staleness as staleness
from edge_vss.values import positive, whole_number
from edge_vss.video import Frame


@dataclass(frozen=True)
class Interval:
    """A key frame every ``frames`` frames; 1 makes every frame a key frame."""

    frames: int = 5

    def __post_init__(self) -> None:
        _at_least_one("interval", self.frames)

    def __call__(self, frame: Frame, track: Track) -> Decision:
        if track.frames_since_key >= self.frames:
            return Decision("key", f"interval {self.frames}", Cause.INTERVAL)
        return Decision("nonkey", f"carried {track.frames_since_key}", Cause.CARRIED)

    @property
    def description(self) -> PolicyDescription:
        """It needs no motion itself."""
        return _counts_frames(self.frames)

    def __str__(self) -> str:
        return f"interval:{self.frames}"


@dataclass(frozen=True)
class Gop:
    """A key frame at every I-frame of the stream, and at the latest after ``longest`` frames.

    Where only I-frames have a picture, no other frame becomes a key frame, however long that takes.
    """

    longest: int = 30

    def __post_init__(self) -> None:
        _at_least_one("gop", self.longest)

    def __call__(self, frame: Frame, track: Track) -> Decision:
        if frame.picture_type == "I" and frame.has_picture:
            return Decision("key", "I-frame", Cause.I_FRAME)
        if track.frames_since_key >= self.longest and frame.has_picture:
            return Decision("key", f"no I-frame for {self.longest}", Cause.NO_I_FRAME)
        return Decision("nonkey", f"carried {track.frames_since_key}", Cause.CARRIED)

    @property
    def description(self) -> PolicyDescription:
        """It needs no motion itself."""
        return replace(_counts_frames(self.longest), pictures=self.longest == 1)

    def __str__(self) -> str:
        return f"gop:{self.longest}"


@dataclass(frozen=True)
class Adaptive:
    """A key frame when what was carried no longer fits the picture.

    ``limit`` is the ``staleness`` that makes a key frame: 8 makes many (every fourth frame of a drive
    at 15 Hz), 20 few (every tenth). How many that is depends on the video, which is the point; ``profile``
    tells the share.
    """

    limit: float = 12.0
    longest: int = 30

    def __post_init__(self) -> None:
        _at_least_one("adaptive", self.longest)
        positive("the limit of adaptive", self.limit, "8 makes many key frames, 20 few")

    def __call__(self, frame: Frame, track: Track) -> Decision:
        if track.frames_since_key >= self.longest:
            return Decision("key", f"longest {self.longest}", Cause.LONGEST)
        stale = staleness(track)
        if stale >= self.limit:
            return Decision("key", f"staleness {stale:.1f}", Cause.STALENESS)
        return Decision("nonkey", f"carried {track.frames_since_key}", Cause.CARRIED)

    @property
    def description(self) -> PolicyDescription:
        """It measures how far the picture has changed."""
        return PolicyDescription(frozenset({"key", "nonkey"}))

    def __str__(self) -> str:
        return f"adaptive:{self.limit:g}:{self.longest}"


@dataclass(frozen=True)
class Continuous:
    """A key frame as soon as the last one is done. It keeps the network busy all the time.

    In a session that waits for its key frames, that is every frame.
    """

    def __call__(self, frame: Frame, track: Track) -> Decision:
        return Decision("key", "continuous", Cause.CONTINUOUS)

    @property
    def description(self) -> PolicyDescription:
        """It needs no motion itself. Frames shown before a key frame is done are none."""
        return PolicyDescription(frozenset({"key", "nonkey"}), measures=False)

    def __str__(self) -> str:
        return "continuous"


def parse(text: str) -> Policy:
    """A policy from its spelling: ``interval:N``, ``gop``, ``gop:LONGEST``, ``adaptive``,
    ``adaptive:LIMIT[:LONGEST]``, ``continuous``.

    Raises OptionError for any other.
    """
    name, *values = text.strip().split(":")
    try:
        if name == "interval" and len(values) <= 1:
            return Interval(*(int(value) for value in values))
        if name == "gop" and len(values) <= 1:
            return Gop(*(int(value) for value in values))
        if name == "adaptive" and len(values) <= 2:
            return Adaptive(*(kind(value) for kind, value in zip((float, int), values, strict=False)))
        if name == "continuous" and not values:
            return Continuous()
    except ValueError:
        pass
    raise OptionError(
        f"no policy is spelled {text!r}: use interval:5, gop, gop:30, adaptive, adaptive:12 or continuous"
    )


def default(text: str, bundle: str | Path) -> Policy:
    """A bundle's default policy, from its spelling in the manifest. Raises BundleError."""
    try:
        return parse(text)
    except OptionError as error:
        raise BundleError(
            f'{bundle}: "policy" in its manifest: {error}; convert the model again, or upgrade edge-vss'
        ) from None


def _counts_frames(longest: int) -> PolicyDescription:
    routes = frozenset({"key"}) if longest == 1 else frozenset({"key", "nonkey"})
    return PolicyDescription(routes, measures=False)


def _at_least_one(policy: str, frames: int) -> None:
    whole_number(f"the frames of {policy}", frames, 1, f"{policy}:5 is a good start")
