"""What is to be done for one frame: a value, which may wait."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edge_vss.decisions import Decision
from edge_vss.runtimes.tracing.root_map import Bytes, Trace, thumb
from edge_vss.video import Frame


@dataclass(frozen=True)
class Plan:
    """What is to be done for one frame."""

    frame: Frame
    decision: Decision
    trace: Trace
    """The way from the frame back to its key frame."""
    seconds: float
    """What deciding took."""

    @cached_property
    def thumb(self) -> Bytes | None:
        """The frame's brightness, one sample a cell; None where it has no picture. Looked at once for all
        that asks how well labels follow, so that no prediction holds the frame."""
        return thumb(self.frame) if self.frame.has_picture else None
