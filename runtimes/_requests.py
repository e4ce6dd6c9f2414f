"""A key frame that was asked for, and what is wanted of whoever computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_vss.decisions import Decision
from edge_vss.runtimes.engines import Tensor
from edge_vss.runtimes.tracing.root_map import Trace
from edge_vss.video import FrameStamp, Size


@dataclass(frozen=True)
class Computed:
    """What the graphs of a key frame gave."""

    made: Mapping[str, Tensor]
    given: Mapping[str, Tensor]
    """What went in, with the state."""
    seconds: dict[str, float]
    """By stage."""


Job = Callable[[], Computed]


@dataclass
class Request:
    """A key frame that was asked for. ``job`` and what follows belong to the worker until ``done``."""

    stamp: FrameStamp
    size: Size
    decision: Decision
    trace: Trace
    """From the frame shown last back to the frame that was asked for."""
    job: Job
    doubt: Callable[[], float] = lambda: 0.0
    """How much the labels that are shown meanwhile are in doubt, measured when it is called."""
    age_seconds: float = 0.0
    """The age of the labels shown when this was asked for."""
    started: bool = False
    began: float = 0.0
    """When, by ``perf_counter``."""
    done: bool = False
    computed: Computed | None = None
    error: BaseException | None = None

    def carry_out(self) -> None:
        """Run the job and keep what comes of it."""
        try:
            self.computed = self.job()
        except BaseException as error:
            self.error = error


class Workplace(Protocol):
    """Takes one session's requests, one at a time. Of those that wait, the newest counts."""

    def tick(self) -> None:
        """One more frame is shown."""

    def offer(self, request: Request) -> None:
        """Take the request as soon as there is nothing else to do, instead of one that waits."""

    def withdraw(self) -> None:
        """What waits is not wanted any more. What is under way goes on, and nobody asks for it."""

    def settle(self, request: Request) -> None:
        """Wait for a request that takes no time, so that its labels are there at once."""

    def wait(self, request: Request, seconds: float) -> bool:
        """Wait so long for a request that is likely to be done by then. False where it is not, or was not."""

    def now(self, job: Job) -> Computed:
        """Carry out a job before all that waits, and wait for it."""

    def close(self) -> None:
        """Take nothing more."""
