"""Places that one process at a time uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_vss.claim import Claim

pytest.importorskip("fcntl", reason="this system has no such locks")


def test_one_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    lock = tmp_path / ".s.lock"
    first = Claim(lock)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            Claim(lock)
    first.release()
    first.release()
    assert os.listdir(tmp_path) == []
    second = Claim(lock)
    # It is the second one's now, and a release that comes late takes nothing away.
    first.release()
    with pytest.raises(BlockingIOError):
        Claim(lock)
    second.release()


def test_one_that_is_dropped_is_released(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "lock")
    del claim
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from edge_vss.claim import Claim; "
        "claim = Claim(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")])
    assert os.listdir(tmp_path) == ["lock"]
    Claim(tmp_path / "lock").release()
    assert os.listdir(tmp_path) == []


CONTENDING = """
import os, sys, time
from pathlib import Path
from edge_vss.claim import Claim
mine, rounds = Path(sys.argv[1]), 0
while rounds < 200:
    try:
        claim = Claim(mine.with_name("lock"))
    except BlockingIOError:
        time.sleep(0.001)  # whoever is inside has to get the processor too
        continue
    os.mkdir(mine.with_name("inside"))  # fails where another one is inside
    os.rmdir(mine.with_name("inside"))
    claim.release()
    rounds += 1
"""


def test_many_that_want_it_at_once_are_never_in_it_together(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", CONTENDING, str(tmp_path / str(number))], stderr=-1)
        for number in range(4)
    ]
    try:
        for process in running:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in running:
            process.kill()
    assert os.listdir(tmp_path) == []


def test_links_are_not_followed_and_missing_folders_are_told(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        Claim(tmp_path / "lock")
    assert os.listdir(tmp_path) == ["lock"]
    with pytest.raises(FileNotFoundError):
        Claim(tmp_path / "no" / "lock")


def test_without_locks_nothing_is_claimed_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    claims = [Claim(tmp_path / "lock") for _ in range(2)]
    assert os.listdir(tmp_path) == []
    for claim in claims:
        claim.release()
