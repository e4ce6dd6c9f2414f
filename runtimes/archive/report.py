"""What came of labelling many recordings, and who hears how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_vss.report import Report


@dataclass(frozen=True)
class Failure(Report):
    """A recording that has no labels."""

    file: str
    reason: str


@dataclass(frozen=True)
class LabelReport(Report):
    """What became of all recordings. Times in seconds."""

    recordings: int
    """Those that are labelled now."""
    labelled_before: int
    """Those of them that an earlier run had finished."""
    frames: int
    """Frames that this run labelled."""
    keyframes: int
    key_frames_twice: int
    """Key frames at joints, which two shards labelled. They count once in ``keyframes``."""
    in_one_piece: int
    """Recordings that could not be cut as their packets promised."""
    seconds: float
    fps: float
    video_hours_per_hour: float
    workers: dict[str, float]
    """Worker → frames per second while it worked."""
    failed: list[Failure]

    def __str__(self) -> str:
        before = f" ({self.labelled_before} before)" if self.labelled_before else ""
        failed = f", {len(self.failed)} could not be read" if self.failed else ""
        whole = f", {self.in_one_piece} in one piece" if self.in_one_piece else ""
        return (
            f"{self.recordings} recordings{before}{whole}{failed}; {self.frames} frames, {self.fps:.1f} fps, "
            f"{self.video_hours_per_hour:.1f} hours of video per hour"
        )


class OnProgress(Protocol):
    """Hears how far the work is."""

    def __call__(self, frames: int, planned: int, seconds: float, fps_by_worker: dict[str, float]) -> None:
        """Frames done, frames known of, seconds of video done."""
