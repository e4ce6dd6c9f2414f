"""Bundles that are replaced while processes are killed, and what that leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_vss import bundle, files
from edge_vss.bundle import writing
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
    with pytest.raises(BundleError, match="does not exist"):
        bundle.read(street)
    assert sorted(path.name for path in street.parent.iterdir()) == before


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
