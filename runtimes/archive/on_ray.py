"""Jobs on a Ray cluster: one task a job. Where they run, and again after a node has died, is up to Ray."""

from __future__ import annotations

import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_vss.errors import EngineError, MissingExtra, OptionError, one_line
from edge_vss.runtimes.archive.jobs import Job, with_task
from edge_vss.runtimes.archive.processes import attempt

_ANSWER_SECONDS = 5.0

Packed = dict[str, bytes]
"""The files of a bundle by name. Workers need no disk that they share with this machine."""


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray", "labelling on a cluster") from None
    return ray


class OnRay:
    """A `Runner` on the cluster at an address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.

    A task that fails with its node is done again on another one. Ray's workers go on from task to task, so
    that each loads the bundle once. Raises MissingExtra, and OptionError where nobody answers.
    """

    def __init__(self, address: str, bundle: str, cores: int = 1) -> None:
        ray = self._ray = _ray()
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(ray, address)
        files = (path for path in Path(bundle).rglob("*") if path.is_file())
        self._bundle = ray.put({path.relative_to(bundle).as_posix(): path.read_bytes() for path in files})
        self._task = ray.remote(num_cpus=cores, max_retries=-1)(_attempt)
        self._jobs: dict[Any, Job] = {}
        self._cores = cores

    @property
    def workers(self) -> int:
        """How many jobs fit into the cluster as it is now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)) // self._cores)

    def submit(self, job: Job) -> None:
        """As `Runner.submit`."""
        self._jobs[self._task.remote(job, self._bundle)] = job

    def next(self) -> tuple[Job, object]:
        """As `Runner.next`."""
        done, _ = self._ray.wait(list(self._jobs), num_returns=1)
        job = self._jobs.pop(done[0])
        try:
            return job, self._ray.get(done[0])
        except Exception as error:
            why = one_line(getattr(error, "cause", error), named=True)
            return job, EngineError(
                f"a worker of the cluster cannot do {job.recording.name} ({why}): "
                "install the same edge-vss, with its engine, on every node"
            )

    def close(self) -> None:
        """As `Runner.close`."""
        for reference in self._jobs:
            self._ray.cancel(reference, force=True)
        self._jobs = {}
        if self._connected:
            self._ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    wrong = f"no Ray cluster answers at {address}: start one with ray start --head, or give its address"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        # Ray itself tries for a minute.
        try:
            socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
        except (OSError, OverflowError):
            raise OptionError(wrong) from None
    try:
        ray.init(address=address, logging_level="error", log_to_driver=False)
    except Exception as error:
        raise OptionError(f"{wrong} ({one_line(error)})") from None


def _attempt(job: Job, packed: Packed) -> object:
    return attempt(with_task(job, replace(job.task, bundle=_unpacked(packed, job.task.identity))))


_FOLDERS: dict[str, tempfile.TemporaryDirectory[str]] = {}


def _unpacked(packed: Packed, identity: str) -> str:
    """The bundle as a folder of this worker."""
    if identity not in _FOLDERS:
        folder = tempfile.TemporaryDirectory(prefix="edge-vss-", suffix=".vss")
        for name, data in packed.items():
            place = Path(folder.name) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        _FOLDERS[identity] = folder
    return _FOLDERS[identity].name
