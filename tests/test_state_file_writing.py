"""Writing a state's file: whole or as it was before, whatever happens, and by one process at a time."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_vss.errors import SinkError
from edge_vss.runtimes import _state_file
from edge_vss.runtimes._state_file import Snapshot, read, write
from edge_vss.runtimes.state import State
from tests.helpers.state_files import MANIFEST, TENSORS, saved


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "folder", tmp_path / "no" / "such", tmp_path / ("n" * 254)):
        with pytest.raises(SinkError, match="cannot write"), _state_file.claimed(place):
            saved(place)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = saved(tmp_path / "s")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SinkError, match="make room"):
            saved(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["s"]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if os.path.samestat(os.fstat(descriptor), tmp_path.stat()) else "file")
        sync(descriptor)

    def replaced(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    saved(tmp_path / "s")
    assert done == ["file", "rename", "folder"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "s")
    saved(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "deep" / "s").is_file()


def test_the_one_before_is_kept_also_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = saved(tmp_path / "s"), tmp_path / "s.previous"
    for count in (1, 2):
        before = path.read_bytes()
        tensors = {**TENSORS, "count": np.array([count], np.int64)}
        write(path, Snapshot(MANIFEST, tensors, (48, 64)), kept)
        assert kept.read_bytes() == before and read(path, MANIFEST)[0]["count"] == count

        def no_links(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
    assert sorted(os.listdir(tmp_path)) == ["s", "s.previous"]


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from tests.helpers.state_files import MANIFEST, TENSORS
from edge_vss.runtimes import _state_file
from edge_vss.runtimes._state_file import Snapshot, claimed, read, write

path = Path(sys.argv[1])
kept = path.with_name(path.name + ".previous")
files = {_state_file.__file__, sys.modules["edge_vss.files"].__file__}

def save(count):
    with claimed(path):
        write(path, Snapshot(MANIFEST, {**TENSORS, "count": np.array([count], np.int64)}, (48, 64)), kept)

def killed_at(line):
    left = line
    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    child = os.fork()
    if not child:
        sys.settrace(trace)
        save(line)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

save(0)
line, count, hidden, moments = 0, 0, 0, 0
while killed_at(line + 1):
    line += 1
    moments += 1
    found = int(read(path, MANIFEST)[0]["count"][0])
    assert found in (count, line), (line, found)
    hidden += len(list(path.parent.glob(".*")))
    if not line % 3 or found == line:
        count = 1000 + line
        save(count)
        names = sorted(os.listdir(path.parent))
        assert names == ["s", "s.previous"], names
        assert read(kept, MANIFEST)[0]["count"][0] == found
        assert read(path, MANIFEST)[0]["count"][0] == count
print(moments, hidden)
"""


@pytest.mark.skipif(os.name == "nt", reason="forks, and sends POSIX signals")
def test_a_process_killed_at_any_line_of_saving_leaves_nothing_for_ever(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    moments, hidden = map(int, done.stdout.split())
    assert moments > 25 and hidden > 25, "files were left, which the next save took away"


SAVING = """
import sys
import numpy as np
from pathlib import Path
from tests.helpers.state_files import MANIFEST, TENSORS
from edge_vss.runtimes._state_file import Snapshot, claimed, write
path = Path(sys.argv[1])
for count in range(1, 10**6):
    with claimed(path):
        write(path, Snapshot(MANIFEST, {**TENSORS, "count": np.array([count], np.int64)}, (48, 64)))
    print(count, flush=True)
"""


def test_a_process_killed_from_outside_loses_at_most_the_save_under_way(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for saves in (1, 2, 5):
        with subprocess.Popen([sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(saves):
                said = int(process.stdout.readline())
            process.kill()
            said = max([said, *map(int, process.stdout.read().split())])
        assert int(read(path, MANIFEST)[0]["count"][0]) in (said, said + 1)
    with _state_file.claimed(path):
        saved(path)
    assert os.listdir(tmp_path) == ["s"]


def test_two_cannot_save_to_one_file(tmp_path: Path) -> None:
    state = State(MANIFEST)
    state.reset()
    state.size = (48, 64)
    (tmp_path / "link").symlink_to(tmp_path / "s")
    with _state_file.claimed(tmp_path / "s"):
        for name in ("s", "link"):
            with pytest.raises(SinkError, match=r"is in use .*give this one a file of its own"):
                state.save(tmp_path / name)
        state.save(tmp_path / "other")
    state.save(tmp_path / "s")
    state.restore(tmp_path / "s")
    assert sorted(os.listdir(tmp_path)) == ["link", "other", "s"]
