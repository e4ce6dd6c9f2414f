"""A state that is kept in a file while its session runs."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes import _state_file
from edge_vss.runtimes._state_keeper import StateKeeper
from edge_vss.runtimes.session import Session
from tests.helpers.videos import encode, pan
from tests.test_cli import COMMAND, Done
from tests.test_state import counting, pictures


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Kept:
    """A session whose state is kept, what was said about it, and its clock."""

    def __init__(self, path: Path, every_seconds: float = 10.0) -> None:
        self.path, self.clock = path, Clock()
        self.said: list[str] = []
        self.session: Session = counting().session()
        self.frames = iter(pictures(20))
        self.keeper = StateKeeper(
            path, self.session.state, every_seconds, tell=self.said.append, clock=self.clock
        )

    def step(self, seconds: float = 0.0) -> float:
        """One frame, after which the clock moves on; gives what the state then is."""
        self.session.step(next(self.frames))
        self.clock.seconds += seconds
        self.keeper.after_step()
        return float(self.session.state["seen"][0])


def found(path: Path) -> float:
    state = counting().session().state
    state.restore(path)
    return float(state["seen"][0])


def test_it_is_saved_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    kept = Kept(path)
    with kept.keeper:
        kept.step(9.9)
        assert not path.exists()
        at_ten = kept.step(0.2)
        for _ in range(3):
            last = kept.step(1.0)
    # What was saved meanwhile is the previous one now.
    assert found(tmp_path / "s.previous") == at_ten < last == found(path)
    assert sorted(os.listdir(tmp_path)) == ["s", "s.previous"] and kept.said == []


def test_the_next_one_goes_on_and_a_run_without_frames_saves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    kept = Kept(path)
    with kept.keeper:
        last = kept.step()
    before = path.read_bytes()
    again = Kept(path)
    with again.keeper:
        assert float(again.session.state["seen"][0]) == last
        assert again.said == [f"going on from {path}"]
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["s"]


def two_saves(path: Path) -> tuple[float, float]:
    kept = Kept(path, 0)
    with kept.keeper:
        first = kept.step()
    again = Kept(path, 0)
    with again.keeper:
        second = again.step()
    return first, second


@pytest.mark.parametrize("content", [b"", b"torn", b"PK\x03\x04 an older version", bytes(5000)])
def test_a_damaged_file_stops_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s"
    first, _ = two_saves(path)
    path.write_bytes(content)
    kept = Kept(path)
    assert float(kept.session.state["seen"][0]) == first
    assert f"{path} is damaged, or is no state file" in kept.said[0]
    assert f"going on from {path}.previous" in kept.said[0]
    assert kept.said[1].startswith(f"what is in it is kept as {path}.damaged")
    previous = found(tmp_path / "s.previous")
    with kept.keeper:
        last = kept.step()
    assert found(path) == last and found(tmp_path / "s.previous") == previous
    assert (tmp_path / "s.damaged").read_bytes() == content


def test_two_damaged_files_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"torn")
    for previous in (None, b"torn too"):
        if previous is not None:
            (tmp_path / "s.previous").write_bytes(previous)
        kept = Kept(path)
        assert "beginning anew" in kept.said[0] and len(kept.session.state) == 0
        with kept.keeper:
            pass
    assert path.read_bytes() == b"torn"


def test_a_file_that_is_removed_begins_anew_whatever_was_before(tmp_path: Path) -> None:
    path = tmp_path / "s"
    two_saves(path)
    path.unlink()
    kept = Kept(path)
    with kept.keeper:
        assert len(kept.session.state) == 0 and kept.said == []


def test_the_state_of_another_model_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "s"
    other = counting(family="tv3s").session()
    other.step(pictures(1)[0])
    other.state.save(path)
    before = path.read_bytes()
    with pytest.raises(OptionError, match="is the state of family tv3s"):
        Kept(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["s"]


def test_of_two_with_one_file_the_second_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = Kept(path)
    with first.keeper:
        with pytest.raises(SinkError, match="is in use"):
            Kept(path)
        first.step()
        with pytest.raises(SinkError, match="is in use"):
            first.session.state.save(path)
    with Kept(path).keeper:
        pass
    assert os.listdir(tmp_path) == ["s"]


def test_places_that_cannot_be_written_are_known_before_the_first_frame(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(SinkError, match="cannot write"):
            Kept(place)
    for seconds in (-1.0, float("nan")):
        with pytest.raises(OptionError, match="give 0 or more"):
            Kept(tmp_path / "s", seconds)
    assert os.listdir(tmp_path) == []


def test_a_save_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    kept = Kept(path, 0)
    write = _state_file.write
    tried = threading.Semaphore(0)

    def full(*_: object) -> None:
        tried.release()
        raise SinkError("cannot write s (No space left on device): make room")

    monkeypatch.setattr(_state_file, "write", full)
    with kept.keeper:
        kept.step()
        for _ in range(3):
            assert tried.acquire(timeout=60)
            kept.keeper.settle()
            kept.step()
        assert len(kept.said) == 1 and "No space left" in kept.said[0]
        kept.keeper.settle()
        monkeypatch.setattr(_state_file, "write", write)
        last = kept.step()
    assert found(path) == last and len(kept.said) == 1


def test_a_last_save_that_fails_is_an_error_unless_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SinkError("cannot write s (No space left on device): make room")

    monkeypatch.setattr(_state_file, "write", full)
    kept = Kept(tmp_path / "s")
    with pytest.raises(SinkError, match="No space left"), kept.keeper:
        kept.step()
    kept = Kept(tmp_path / "s")
    with pytest.raises(ZeroDivisionError), kept.keeper:
        kept.step()
        raise ZeroDivisionError
    assert "No space left" in kept.said[0] and os.listdir(tmp_path) == []


def test_a_slow_disk_holds_up_no_frame_and_gets_no_second_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    write, go, saves = _state_file.write, threading.Event(), []

    def slow(place: Path, snapshot: _state_file.Snapshot, keep_as: Path) -> None:
        saves.append(float(snapshot.tensors["seen"][0]))
        assert go.wait(60)
        write(place, snapshot, keep_as)

    monkeypatch.setattr(_state_file, "write", slow)
    kept = Kept(path, 0)
    with kept.keeper:
        first = kept.step()
        for _ in range(5):
            last = kept.step()
        go.set()
    assert saves == [first, last] and found(path) == last


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_two_runs_with_one_file_and_a_kill(tiny_bundle: Path, tmp_path: Path) -> None:
    video = encode(tmp_path / "v.mp4", pan(500))
    folder = tmp_path / "state"
    folder.mkdir()
    run = ("run", str(tiny_bundle), str(video), "--state", str(folder / "s"))
    # Nobody reads what it writes, so that it waits before it is through.
    command = [*COMMAND, *run, "--state-every", "0", "--jsonl", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for _ in range(40):
            process.stdout.readline()
        second = Done(*run, "--limit", "2")
        assert "is in use" in second.error() and f"{folder / 's'}" in second.error()
        process.kill()
    third = Done(*run, "--limit", "2", "--jsonl", str(tmp_path / "o.jsonl"))
    assert third.status == 0 and f"going on from {folder / 's'}\n" in third.err
    assert '"reason": "restored state"' in (tmp_path / "o.jsonl").read_text().splitlines()[0]
    assert sorted(os.listdir(folder)) == ["s", "s.previous"]
    fourth = Done(*run, "--state-every", "nan")
    # Older versions of Click let it through.
    assert fourth.status in (1, 2), fourth.err
    assert "greater than or equal to 0" in fourth.err or "give 0 or more" in fourth.err
