"""Threads that compute key frames while the stream goes on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from edge_vss.errors import OptionError
from edge_vss.runtimes._requests import Computed, Job, Request

INSTANT_SECONDS = 0.005
"""Graphs that take no longer are waited for: their labels are as early as they would be without workers."""

_PATIENCE_SECONDS = 0.05
"""The longest wait for such a graph."""
_FIRST_RUNS = 3
"""So many runs of a graph are waited for a little, because the first ones may take longer."""
_JOIN_SECONDS = 5.0


@dataclass
class _Urgent:
    job: Job
    done: bool = False
    computed: Computed | None = None
    error: BaseException | None = None


Choose = Callable[[Mapping[int, Request]], int]
"""Which of the desks with a request that waits is next."""


@dataclass
class _Shared:
    """What the threads know. They must not know `KeyWorkers`: they would keep it alive."""

    choose: Choose
    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: dict[int, Request] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    urgent: list[_Urgent] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    idle: int = 0
    closed: bool = False

    def stop(self) -> None:
        """End the threads, each after what it has under way."""
        with self.changed:
            self.closed = True
            self.waiting.clear()
            self.urgent.clear()
            self.changed.notify_all()
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)

    def next(self) -> tuple[int, Request | _Urgent] | None:
        """Waits for work; None at the end."""
        with self.changed:
            while True:
                if self.closed:
                    return None
                if self.urgent:
                    return -1, self.urgent.pop(0)
                free = {desk: request for desk, request in self.waiting.items() if desk not in self.running}
                if free:
                    desk = self.choose(free) if len(free) > 1 else next(iter(free))
                    request = self.waiting.pop(desk)
                    request.started, request.began = True, perf_counter()
                    self.running.add(desk)
                    return desk, request
                self.idle += 1
                self.changed.wait()
                self.idle -= 1

    def work(self) -> None:
        """The threads' own loop."""
        while (found := self.next()) is not None:
            desk, request = found
            if isinstance(request, _Urgent):
                try:
                    request.computed = request.job()
                except BaseException as error:
                    request.error = error
            else:
                request.carry_out()
            with self.changed:
                request.done = True
                self.running.discard(desk)
                self.changed.notify_all()
            del found, request  # an idle worker holds no frame


class KeyWorkers:
    """Threads that compute key frames, for one stream or several."""

    def __init__(self, count: int = 1, choose: Choose = lambda waiting: next(iter(waiting))) -> None:
        self._count = count
        self._desks = 0
        self._shared = _Shared(choose)
        # Also where nobody closes it, and at the end of the program.
        self._stop = weakref.finalize(self, self._shared.stop)

    def desk(self, patient: bool = True) -> Desk:
        """A workplace for one more session. One that is not ``patient`` waits for no request."""
        self._desks += 1
        return Desk(self, self._shared, self._desks - 1, patient)

    def begin(self) -> None:
        """Start a thread where one more has something to do."""
        shared = self._shared
        with shared.changed:
            if shared.closed:
                raise OptionError("the session is closed: make a new one")
            if len(shared.threads) < self._count and not shared.idle:
                name = f"edge-vss key {len(shared.threads)}"
                thread = threading.Thread(target=shared.work, name=name, daemon=True)
                shared.threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End the threads, each after what it has under way."""
        self._stop()


class Desk:
    """One session's place at the workers."""

    def __init__(self, workers: KeyWorkers, shared: _Shared, number: int, patient: bool) -> None:
        self._workers, self._shared, self.number = workers, shared, number
        self._patient = patient
        self._best = float("inf")
        self._runs = 0
        self._usual = 0.0

    def tick(self) -> None:
        pass

    def offer(self, request: Request) -> None:
        shared = self._shared
        request.job = self._timed(request.job)
        self._workers.begin()
        with shared.changed:
            shared.waiting[self.number] = request
            shared.changed.notify_all()

    def _timed(self, job: Job) -> Job:
        def timed() -> Computed:
            began = perf_counter()
            computed = job()
            took = perf_counter() - began
            self._best = min(self._best, took)
            # The first run compiles, and counts for little.
            self._usual += (0.2 if self._runs > 1 else 1.0) * (took - self._usual)
            self._runs += 1
            return computed

        return timed

    def withdraw(self) -> None:
        with self._shared.changed:
            self._shared.waiting.pop(self.number, None)

    def settle(self, request: Request) -> None:
        if self._best <= INSTANT_SECONDS:
            patience = _PATIENCE_SECONDS
        else:
            patience = INSTANT_SECONDS if self._runs < _FIRST_RUNS else 0.0
        if patience and self._patient:
            with self._shared.changed:
                self._shared.changed.wait_for(lambda: request.done or self._shared.closed, patience)

    def wait(self, request: Request, seconds: float) -> bool:
        with self._shared.changed:
            began = request.began if request.started else perf_counter()
            left = began + self._usual - perf_counter()
            if request.done or left > seconds:
                return request.done
            self._shared.changed.wait_for(lambda: request.done or self._shared.closed, seconds)
            return request.done

    def now(self, job: Job) -> Computed:
        self._workers.begin()
        urgent, shared = _Urgent(self._timed(job)), self._shared
        with shared.changed:
            shared.urgent.append(urgent)
            shared.changed.notify_all()
            try:
                shared.changed.wait_for(lambda: urgent.done or shared.closed)
            except BaseException:
                if urgent in shared.urgent:
                    shared.urgent.remove(urgent)
                raise
        if urgent.error is not None:
            raise urgent.error
        if urgent.computed is None:
            raise OptionError(
                "the session was closed while its first key frame was under way: make a new one"
            )
        return urgent.computed

    def close(self) -> None:
        self.withdraw()
