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
    desk: int
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
    count: int = 1
    waiting: dict[int, Request] = field(default_factory=dict)
    urgent: list[_Urgent] = field(default_factory=list)
    threads: dict[threading.Thread, int | None] = field(default_factory=dict)
    """Thread → the desk that it works for now."""
    idle: int = 0
    closed: bool = False

    def stop(self) -> None:
        """End the threads, each after what it has under way."""
        with self.changed:
            self.closed = True
            self.waiting.clear()
            self.urgent.clear()
            self.changed.notify_all()
        for thread in list(self.threads):
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)

    def begin(self) -> None:
        """Start a thread where one more has something to do. Called with ``changed`` held."""
        if len(self.threads) < self.count and not self.idle:
            name = f"edge-vss key {len(self.threads)}"
            thread = threading.Thread(target=self.work, name=name, daemon=True)
            self.threads[thread] = None
            thread.start()

    def abandon(self, desk: int) -> None:
        """Take no more of a desk's work, and give its thread up, which may hang: another takes its place."""
        with self.changed:
            self.waiting.pop(desk, None)
            self.urgent = [urgent for urgent in self.urgent if urgent.desk != desk]
            self.threads = {thread: at for thread, at in self.threads.items() if at != desk}
            if self.waiting or self.urgent:
                self.begin()
            self.changed.notify_all()

    def next(self) -> Request | _Urgent | None:
        """Waits for work; None at the end."""
        me = threading.current_thread()
        with self.changed:
            while not self.closed and me in self.threads:
                self.threads[me] = None
                if self.urgent:
                    urgent = self.urgent.pop(0)
                    self.threads[me] = urgent.desk
                    return urgent
                busy = self.threads.values()
                free = {desk: request for desk, request in self.waiting.items() if desk not in busy}
                if free:
                    desk = self.choose(free) if len(free) > 1 else next(iter(free))
                    request = self.waiting.pop(desk)
                    request.started, request.began = True, perf_counter()
                    self.threads[me] = desk
                    return request
                self.idle += 1
                self.changed.wait()
                self.idle -= 1
        return None

    def work(self) -> None:
        """The threads' own loop."""
        while (request := self.next()) is not None:
            if isinstance(request, _Urgent):
                try:
                    request.computed = request.job()
                except BaseException as error:
                    request.error = error
            else:
                request.carry_out()
            with self.changed:
                request.done = True
                self.changed.notify_all()
            del request  # an idle worker holds no frame


class KeyWorkers:
    """Threads that compute key frames, for one stream or several."""

    def __init__(self, count: int = 1, choose: Choose = lambda waiting: next(iter(waiting))) -> None:
        self._desks = 0
        self._shared = _Shared(choose, count=count)
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
            shared.begin()

    def close(self) -> None:
        """End the threads, each after what it has under way."""
        self._stop()


class Desk:
    """One session's place at the workers."""

    def __init__(self, workers: KeyWorkers, shared: _Shared, number: int, patient: bool) -> None:
        self._workers, self._shared, self.number = workers, shared, number
        self._patient = patient
        self._given_up = False
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
            if not self._given_up:
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
        urgent, shared = _Urgent(self.number, self._timed(job)), self._shared
        with shared.changed:
            if not self._given_up:
                shared.urgent.append(urgent)
                shared.changed.notify_all()
            try:
                shared.changed.wait_for(lambda: urgent.done or shared.closed or self._given_up)
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

    def give_up(self) -> None:
        """End the session's work, from any thread, where what is under way hangs. Nobody waits for it any
        more, and another thread takes the place of the one that is lost."""
        with self._shared.changed:
            self._given_up = True
        self._shared.abandon(self.number)
