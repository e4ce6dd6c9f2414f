"""Jobs on the cores of this machine: a process for each group of cores."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import threading
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Protocol

from edge_vss.errors import EngineError, SourceError, one_line
from edge_vss.runtimes.archive.jobs import Job

MOST_DEATHS = 3
"""How often a job may cost its worker its life: it may have been the memory of another one."""


_END_SECONDS = 5.0


class Runner(Protocol):
    """Whoever does jobs. Not thread-safe."""

    @property
    def workers(self) -> int:
        """About how many jobs are done at once."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def next(self) -> tuple[Job, object]:
        """Wait for any job that is done: what it gave, or the exception that it raised."""

    def close(self) -> None:
        """Stop, at once."""


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None


class Processes:
    """A `Runner` with processes of its own. They end with this one, however that ends."""

    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._count = workers
        self._workers: list[_Worker] = []
        self._waiting: deque[Job] = deque()
        self._deaths: dict[Job, int] = {}

    @property
    def workers(self) -> int:
        """How many processes there are."""
        return self._count

    def submit(self, job: Job) -> None:
        """As `Runner.submit`."""
        self._waiting.append(job)
        self._give_out()

    def _give_out(self) -> None:
        while self._waiting:
            free = next((worker for worker in self._workers if worker.job is None), None)
            if free is None:
                if len(self._workers) >= self._count:
                    return
                free = self._start()
                self._workers.append(free)
            job = self._waiting.popleft()
            try:
                free.pipe.send(job)
                free.job = job
            except (BrokenPipeError, ConnectionError):  # killed while it waited
                self._workers.remove(free)
                self._waiting.appendleft(job)

    def _start(self) -> _Worker:
        mine, its = self._context.Pipe()
        process = self._context.Process(target=_work, args=(its,), daemon=True, name="edge-vss label")
        process.start()
        its.close()
        return _Worker(process, mine)

    def next(self) -> tuple[Job, object]:
        """As `Runner.next`. A job whose worker dies is done again, and gives SourceError the third time."""
        while True:
            self._give_out()
            busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                job = worker.job
                assert job is not None
                try:
                    found = worker.pipe.recv()
                    worker.job = None
                    self._give_out()
                    return job, found
                except (EOFError, ConnectionError):
                    self._workers.remove(worker)
                    worker.process.join()
                    self._deaths[job] = self._deaths.get(job, 0) + 1
                    if self._deaths[job] >= MOST_DEATHS:
                        return job, SourceError(
                            f"{job.recording.source} ended its worker {MOST_DEATHS} times (the last time by "
                            f"{_how(worker.process.exitcode)}): give fewer --workers, or look at the file"
                        )
                    self._waiting.appendleft(job)

    def close(self) -> None:
        """As `Runner.close`. A worker that has nothing to do ends by itself, and tidies up."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.job is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_END_SECONDS)
            worker.process.kill()
            worker.process.join()
        self._workers = []


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    return f"the signal {signal.Signals(-code).name}"


def _work(pipe: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    # A worker that went on after its driver was killed would write beside the next one.
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(job))


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def attempt(job: Job) -> object:
    """What a job gives, or the exception that it raises."""
    try:
        return job()
    except Exception as error:
        return _sendable(error)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        # Some are made of more than their text.
        return EngineError(f"{socket.gethostname()}: {one_line(error)}")
    return error
