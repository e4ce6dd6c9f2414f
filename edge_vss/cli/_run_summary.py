"""What ``edge-vss run`` says at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_vss.report import Report

if TYPE_CHECKING:
    from edge_vss.runtimes.budget import BudgetReport
    from edge_vss.runtimes.late_keys import KeyFigures
    from edge_vss.runtimes.timeliness import Timeliness


@dataclass(frozen=True)
class RunSummary(Report):
    """What a run did. Times in seconds."""

    frames: int
    """Frames with labels."""
    skipped: int
    """Frames that passed without inference."""
    damaged_packets: int
    packet_losses: int
    keyframes: int
    key_share: float
    """Share of the frames with labels that are key frames, 0 to 1."""
    fps: float
    seconds: float
    stages_seconds: dict[str, float]
    """By stage, all frames together."""
    busy_seconds: dict[str, float]
    """How long each of the three threads worked."""
    outputs: dict[str, str]
    """Sink → place."""
    timeliness: Timeliness
    budget: BudgetReport | None
    late_keys: KeyFigures | None
    """What became of key frames that were computed meanwhile; None where none were."""

    def __str__(self) -> str:
        counts = {
            "skipped": self.skipped,
            "damaged packets": self.damaged_packets,
            "packet losses": self.packet_losses,
        }
        notes = [f"{self.frames} frames", *(f"{number} {name}" for name, number in counts.items() if number)]
        if self.late_keys is not None:
            counts = {"dropped": self.late_keys.dropped, "failed": self.late_keys.failed}
            notes += [f"{number} key frames {what}" for what, number in counts.items() if number]
        spent = self.timeliness.packet_to_label_ms
        times = f"packet to labels p50 {spent.p50:.0f}, p95 {spent.p95:.0f}, p99 {spent.p99:.0f} ms, "
        times += f"the first {self.timeliness.start_ms:.0f} ms"
        return f"{', '.join(notes)}; {self.key_share:.1%} key frames, {self.fps:.1f} fps; {times}"
