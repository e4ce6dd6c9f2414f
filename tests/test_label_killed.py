"""`label` killed at random moments, and started again: the result is that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.helpers.archive import footage, same

pytest.importorskip("pyarrow", reason="the extra label is not installed")

if sys.platform == "win32":
    pytest.skip("nothing is killed so on Windows", allow_module_level=True)

KINDS = ("everything", "driver", "worker")
MOMENTS = 50 if os.environ.get("EDGE_VSS_SOAK") else 3


def start(recordings: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.archive", str(recordings), str(out)],
        start_new_session=True,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told.decode()


def is_worker(child: psutil.Process) -> bool:
    """Python's resource tracker is a child too; killing it does no harm, and tests nothing."""
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it has just ended; a zombie is told as one that is gone
        return False


def kill(process: subprocess.Popen[bytes], kind: str, choose: random.Random) -> None:
    workers = psutil.Process(process.pid).children() if process.poll() is None else []
    workers = [worker for worker in workers if is_worker(worker)]
    if kind == "worker":
        with suppress(psutil.NoSuchProcess, IndexError):
            choose.choice(workers).kill()
        return
    if kind == "everything":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "a worker went on without its driver"


def test_killed_and_started_again_it_ends_the_same(tmp_path: Path) -> None:
    recordings = footage(tmp_path / "footage")
    began = time.monotonic()
    finish(start(recordings, tmp_path / "undisturbed"))
    took = time.monotonic() - began
    choose = random.Random(os.environ.get("EDGE_VSS_SEED", "7"))
    for moment in range(MOMENTS):
        # A result is begun three times, each time killed in another way.
        out = tmp_path / f"out{moment // len(KINDS)}"
        kind = KINDS[moment % len(KINDS)]
        process = start(recordings, out)
        time.sleep(choose.uniform(0.1, 0.8) * took)
        kill(process, kind, choose)
        if kind == "worker":
            finish(process)
        if kind == "worker" or moment == MOMENTS - 1:
            finish(start(recordings, out))
            assert same(out, tmp_path / "undisturbed"), (kind, moment)
