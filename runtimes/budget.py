"""A bound on the time from packet to labels, kept by measuring: how long may a frame wait for a key frame?

A frame that waits has fresher labels, and has them later. So the wait is made as long as the budget allows:
where a key frame fits into it whole, frames wait for their own; else they wait for one that is nearly done,
or not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edge_vss.errors import OptionError
from edge_vss.report import Report
from edge_vss.values import MOST_SECONDS, positive

_WINDOW_FRAMES = 100
"""Frames that the p95 is told of."""
_MORE_FRAMES, _LESS_FRAMES = 20, 40
"""Frames under one wait that it is lengthened or shortened after. Of 40, two may be late without being the
p95."""
_LOW, _HIGH = 0.75, 0.92
"""Shares of the budget between which the p95 is kept."""
_FIRST_FRAMES = 30
"""So many frames say whether the budget can be kept at all. The very first wait for the network."""
_START_FRAMES = 10


@dataclass(frozen=True)
class BudgetReport(Report):
    """What was made of a budget."""

    budget_ms: float
    wait_ms: float
    """How long after its packet a frame waits for a key frame at most, at the end."""
    p95_ms: float
    """From packet to labels, of the last frames."""
    over: int
    """Frames that took longer than the budget."""
    frames: int
    key_ms: float
    """What a key frame takes in the background."""
    carried_ms: float
    """What the stages of a frame take that does not wait for a key frame: the median."""

    def __str__(self) -> str:
        if self.key_ms <= self.wait_ms:
            chosen = "every frame waits for a key frame of its own where there is time"
        elif self.wait_ms > self.carried_ms:
            chosen = f"frames wait up to {self.wait_ms:.0f} ms for a key frame that is nearly done"
        else:
            chosen = "no frame waits for a key frame"
        return (
            f"budget {self.budget_ms:g} ms: {chosen}, because one takes {self.key_ms:.0f} ms; p95 "
            f"{self.p95_ms:.0f} ms, {self.over} of {self.frames} frames over. Without a budget, a frame has "
            f"its own labels after {self.key_ms + self.carried_ms:.0f} ms"
        )


class Budget:
    """Watches one stream, and says how long a frame may wait. Not thread-safe."""

    def __init__(self, budget_ms: float) -> None:
        self.seconds = positive("budget_ms", budget_ms, "33 is one frame", most=1e3 * MOST_SECONDS) / 1e3
        self._wait = 0.5 * self.seconds
        self._last: deque[float] = deque(maxlen=_WINDOW_FRAMES)
        # Those since the wait was changed: others say nothing of it.
        self._under: deque[float] = deque(maxlen=_WINDOW_FRAMES)
        self._carried: deque[float] = deque(maxlen=_WINDOW_FRAMES)
        self._frames = self._over = 0
        self._waited = False

    def patience(self, spent: float) -> float:
        """Seconds that a frame may wait now, ``spent`` seconds after its packet."""
        self._waited = False
        return max(0.0, self._wait - spent)

    def waits(self) -> None:
        """The frame has waited."""
        self._waited = True

    def shown(self, spent: float, own: float) -> None:
        """A frame has its labels, ``spent`` seconds after its packet. ``own`` are those that its stages took.

        Raises OptionError where carrying labels alone takes longer than the budget.
        """
        self._frames += 1
        self._over += spent > self.seconds
        if self._frames <= _START_FRAMES:
            return
        self._last.append(spent)
        self._under.append(spent)
        if not self._waited:
            self._carried.append(own)
        if self._frames == _START_FRAMES + _FIRST_FRAMES and self.carried > self.seconds:
            raise OptionError(
                f"a budget of {1e3 * self.seconds:g} ms cannot be kept: carrying labels alone takes "
                f"{1e3 * self.carried:.1f} ms here, so give {1.5e3 * self.carried:.0f} or more"
            )
        self._correct()

    def _correct(self) -> None:
        if len(self._under) % _MORE_FRAMES:
            return
        p95 = _p95(self._under)
        if p95 > _HIGH * self.seconds and len(self._under) >= _LESS_FRAMES:
            self._wait *= 0.9
            self._under.clear()
        elif p95 < _LOW * self.seconds:
            self._wait = min(self._wait + 0.05 * self.seconds, 0.95 * self.seconds)
            self._under.clear()

    @property
    def p95(self) -> float:
        """Seconds from packet to labels, of the last frames."""
        return _p95(self._last)

    @property
    def carried(self) -> float:
        """Median seconds that the stages of a frame take that does not wait."""
        return float(np.median(self._carried)) if self._carried else 0.0

    def report(self, key_seconds: float) -> BudgetReport:
        """What was made of it, with what a key frame took on average."""
        ms = [round(1e3 * seconds, 3) for seconds in (self._wait, self.p95, key_seconds, self.carried)]
        return BudgetReport(1e3 * self.seconds, ms[0], ms[1], self._over, self._frames, ms[2], ms[3])


def _p95(seconds: Collection[float]) -> float:
    return float(np.percentile(list(seconds), 95)) if seconds else 0.0
