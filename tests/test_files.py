"""Bundles that are replaced while processes are killed, and what that leaves behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge_vss import bundle, files
from edge_vss.bundle import writing
from edge_vss.bundle.exchange import exchange
from edge_vss.errors import BundleError
from tests.test_bundle import manifest


@pytest.fixture
def street(tmp_path: Path) -> Path:
    target = tmp_path / "street.vss"
    with bundle.building(target) as folder:
        bundle.write(folder, manifest(folder))
    return target


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_vss import bundle
from edge_vss.bundle import writing
writing.exchange = lambda one, other: False  # as where the system has no such thing
rename, left = Path.rename, [int(sys.argv[2])]
def counted(self, target):
    done = rename(self, target)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Path.rename = counted
with bundle.building(Path(sys.argv[1])) as folder:
    for file in Path(sys.argv[1]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes().replace(b"interval:5", b"interval:9"))
"""


def kill_while_replacing(street: Path, renames: int) -> None:
    """Replaces a bundle by one with another policy, in a process that is killed after so many renames."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(street), str(renames)])
    assert done.returncode == -signal.SIGKILL


def test_a_bundle_survives_a_kill_while_it_is_replaced(street: Path) -> None:
    kill_while_replacing(street, 1)
    (left,) = street.parent.glob(".street.vss.replaced-*")
    assert not street.exists() and (left / "street.vss").is_dir()
    writing.recover(street)
    assert bundle.read(street).policy == "interval:5"
    assert not left.exists()


def test_a_reader_leaves_what_a_killed_process_put_aside(street: Path) -> None:
    kill_while_replacing(street, 1)
    before = sorted(path.name for path in street.parent.iterdir())
    with pytest.raises(BundleError, match=r"does not exist, but .* is left in .*replaced-.*; move it back"):
        bundle.read(street)
    assert sorted(path.name for path in street.parent.iterdir()) == before


EXCHANGED = """
import os, signal, sys
from pathlib import Path
from edge_vss import bundle
from edge_vss.bundle import writing
exchange = writing.exchange
def killed(one, other):
    assert exchange(one, other)
    os.kill(os.getpid(), signal.SIGKILL)
writing.exchange = killed
with bundle.building(Path(sys.argv[1])) as folder:
    for file in Path(sys.argv[1]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes().replace(b"interval:5", b"interval:9"))
"""


@pytest.fixture
def exchanging(tmp_path: Path) -> None:
    """Skips the test where the system cannot exchange two folders."""
    for name in "ab":
        (tmp_path / name).mkdir()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange two folders")
    for name in "ab":
        (tmp_path / name).rmdir()


def test_a_kill_at_the_exchange_leaves_a_whole_bundle_in_its_place(exchanging: None, street: Path) -> None:
    assert subprocess.run([sys.executable, "-c", EXCHANGED, str(street)]).returncode == -signal.SIGKILL
    assert bundle.read(street).policy == "interval:9"
    assert len(list(street.parent.glob(".street.vss.*"))) == 1
    with bundle.building(street) as folder:
        bundle.write(folder, manifest(folder))
    assert [path.name for path in street.parent.iterdir()] == ["street.vss"]


def test_a_bundle_is_there_at_every_moment_of_its_replacement(exchanging: None, street: Path) -> None:
    stop = threading.Event()

    def replace_again_and_again() -> None:
        policies = itertools.cycle(("interval:5", "interval:9"))
        while not stop.is_set():
            with bundle.building(street) as folder:
                bundle.write(folder, replace(manifest(folder), policy=next(policies)))

    writer = threading.Thread(target=replace_again_and_again)
    writer.start()
    try:
        seen = {bundle.read(street).policy for _ in range(200)}
    finally:
        stop.set()
        writer.join()
    assert seen <= {"interval:5", "interval:9"}


def test_what_cannot_be_exchanged_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert not exchange(tmp_path / "a", tmp_path / "not there")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_bundle_replaced_while_it_is_loaded_is_refused(street: Path) -> None:
    message = r"key\.onnx was changed while it was loaded: load the bundle again"
    with pytest.raises(BundleError, match=message), bundle.loading(street), bundle.building(street) as folder:
        bundle.write(folder, manifest(folder))
    with bundle.loading(street) as read:
        assert read == bundle.read(street)


def test_a_file_changed_in_place_while_it_is_loaded_is_refused(street: Path) -> None:
    content, before = (street / "state.onnx").read_bytes(), (street / "state.onnx").stat()
    with pytest.raises(BundleError, match=r"state\.onnx was changed"), bundle.loading(street):
        # As sly as can be: other content for a moment, the same size, and the old times.
        (street / "state.onnx").write_bytes(bytes(len(content)))
        (street / "state.onnx").write_bytes(content)
        os.utime(street / "state.onnx", ns=(before.st_atime_ns, before.st_mtime_ns))


def test_writing_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(mask: int) -> int:
        raise AssertionError("the umask belongs to the process")

    monkeypatch.setattr(os, "umask", refuse)
    with bundle.building(tmp_path / "a.vss") as folder:
        bundle.write(folder, manifest(folder))
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a.vss").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_bundle_that_was_left_aside_is_not_free(street: Path) -> None:
    kill_while_replacing(street, 1)
    bundle.check_target(street)
    assert bundle.read(street).policy == "interval:5"


@pytest.mark.parametrize(("renames", "policy"), [(1, "interval:5"), (2, "interval:9")])
def test_the_next_build_clears_up_after_a_kill(street: Path, renames: int, policy: str) -> None:
    kill_while_replacing(street, renames)
    other = street.parent / ".other.vss.building-1"
    other.mkdir()
    with bundle.building(street) as folder:
        assert bundle.read(street).policy == policy
        hidden = [path for path in street.parent.iterdir() if path.name.startswith(".street")]
        assert hidden == [folder]
        bundle.write(folder, replace(manifest(folder), policy="gop"))
    assert bundle.read(street).policy == "gop"
    assert sorted(path.name for path in street.parent.iterdir()) == [".other.vss.building-1", "street.vss"]


def test_what_a_living_process_builds_is_not_cleared(tmp_path: Path) -> None:
    target = tmp_path / "a.vss"
    with bundle.building(target) as first:
        with bundle.building(target) as second:
            assert first.exists() and first != second
            bundle.write(second, manifest(second))
        assert first.exists()
        bundle.write(first, replace(manifest(first), policy="gop"))
    assert bundle.read(target).policy == "gop"
    assert [path.name for path in tmp_path.iterdir()] == ["a.vss"]


def test_nothing_is_brought_back_over_what_is_there(street: Path) -> None:
    kill_while_replacing(street, 1)
    street.write_text("put here since")
    writing.recover(street)
    assert street.read_text() == "put here since"
    assert len(list(street.parent.glob(".street.vss.replaced-*/street.vss"))) == 1


def test_whether_a_file_can_be_written_is_told_without_touching_it(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("precious")
    link.symlink_to(tmp_path / "not there yet")
    os.mkfifo(tmp_path / "pipe")
    before = file.stat().st_mtime_ns
    for place in (file, link, tmp_path / "new", tmp_path / "pipe", "/dev/null"):
        files.check_writable(place)
    assert (file.read_text(), file.stat().st_mtime_ns) == ("precious", before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "pipe"]
    for place in (tmp_path, tmp_path / "absent" / "new", file / "below"):
        with pytest.raises(OSError):
            files.check_writable(place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("inside", [False, True])
def test_a_look_at_a_pipe_does_not_disturb_who_writes_into_it(inside: bool, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    write = f"open({str(fifo)!r}, 'wb').write(bytes(1 << 20))"
    with subprocess.Popen([sys.executable, "-c", write]) as writer:
        try:
            # It waits for a reader meanwhile, which none of these is.
            for _ in range(200):
                with pytest.raises(OSError, match="no plain file"):
                    files.open_inside(tmp_path, "pipe") if inside else files.open_plain(fifo)
                time.sleep(0.001)
            assert writer.poll() is None
            assert len(fifo.read_bytes()) == 1 << 20
            assert writer.wait() == 0
        finally:
            writer.kill()
