"""A network that takes exactly so many frames, for figures and tests."""

from __future__ import annotations

from edge_vss.runtimes._requests import Computed, Job, Request


class Delay:
    """A network that takes exactly so many frames: the same on every run. It runs in the caller's thread."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._left = 0
        self._running: Request | None = None
        self._waiting: Request | None = None

    def tick(self) -> None:
        if self._running is None:
            return
        self._left -= 1
        if self._left <= 0:
            self._running.done, self._running = True, None
            if self._waiting is not None:
                waiting, self._waiting = self._waiting, None
                self._start(waiting)

    def offer(self, request: Request) -> None:
        if self._running is None:
            self._start(request)
        else:
            self._waiting = request

    def _start(self, request: Request) -> None:
        request.started = True
        request.carry_out()
        request.done = not self._frames
        self._running, self._left = (None if request.done else request), self._frames

    def withdraw(self) -> None:
        self._waiting = None

    def settle(self, request: Request) -> None:
        pass

    def wait(self, request: Request, seconds: float) -> bool:
        return False

    def now(self, job: Job) -> Computed:
        return job()

    def close(self) -> None:
        self._running = self._waiting = None
