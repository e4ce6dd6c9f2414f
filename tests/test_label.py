"""`label` on real recordings: what it writes, what it is equal to, and what it does with bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_vss.cli import app
from edge_vss.errors import MissingExtra, OptionError, SinkError, SourceError
from edge_vss.runtimes.archive import driver, index, planning
from edge_vss.runtimes.archive import worst as least
from edge_vss.runtimes.archive.driver import label
from edge_vss.runtimes.archive.jobs import Job, Task
from edge_vss.runtimes.archive.processes import Processes, attempt
from edge_vss.runtimes.archive.recordings import find
from edge_vss.runtimes.archive.store import Local, open_store
from edge_vss.runtimes.labelling import both_ways
from edge_vss.runtimes.motion import _parts as parts
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tools.ground_truth import open_labels
from tests.helpers.archive import BUNDLE, PARTS, Deadly, Raising, SmallParts, footage, noise, same
from tests.helpers.cli import CliRunner
from tests.helpers.logs import listening
from tests.helpers.videos import annex_b, encode

pytest.importorskip("pyarrow", reason="the extra label is not installed")


class Here:
    """Does jobs in this process, one at a time."""

    workers = 1

    def __init__(self, task: Task, spoil: Callable[[Job], object] = attempt) -> None:
        self._jobs: list[Job] = []
        self._do = spoil

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self) -> tuple[Job, object]:
        job = self._jobs.pop()
        return job, self._do(job)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_FRAMES", PARTS)
        yield


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return footage(tmp_path_factory.mktemp("recordings") / "footage")


@pytest.fixture(scope="module")
def whole(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What label makes of them in one process, cut as finely as can be."""
    out = tmp_path_factory.mktemp("whole") / "out"
    found = label(BUNDLE, [str(recordings)], out, shard_frames=1, runner=Here)
    # What is cut short is damaged in its last shard, which could also mean that nothing can begin there.
    assert not found.failed and found.recordings == 5 and found.in_one_piece == 1
    assert found.key_frames_twice >= 4, "nothing was cut, so this compares nothing"
    return out


@pytest.mark.parametrize("name", ["p.mp4", "b.mp4", "day/p.mp4", "ts/cut.ts", "one.avi"])
def test_labels_are_those_of_a_run_both_ways(recordings: Path, whole: Path, name: str) -> None:
    session = load(BUNDLE).session()
    maps = open_labels(whole / "labels" / name)
    with Opening(parts=True).open(str(recordings / name), session) as source:
        count = 0
        for frame, prediction in both_ways(source, session):
            assert np.array_equal(maps[frame.index], prediction.labels), frame.index
            count += 1
    assert count == len(maps)


def test_two_processes_make_the_same(recordings: Path, whole: Path, tmp_path: Path) -> None:
    label(
        BUNDLE,
        [str(recordings)],
        tmp_path / "out",
        shard_frames=40,
        runner=lambda task: SmallParts(Processes(2)),
    )
    assert same(tmp_path / "out", whole)


def test_a_second_start_does_nothing_twice(recordings: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done: list[Job] = []

    class Stopped(Exception):
        pass

    def stop(job: Job) -> object:
        if len(done) == 7:
            raise Stopped
        found = attempt(job)
        done.append(job)
        return found

    with pytest.raises(Stopped):
        label(BUNDLE, [str(recordings)], out, shard_frames=1, runner=lambda task: Here(task, stop))
    before = set(done)
    done.clear()

    def count(job: Job) -> object:
        done.append(job)
        return attempt(job)

    label(BUNDLE, [str(recordings)], out, shard_frames=1, runner=lambda task: Here(task, count))
    again = {job for job in done if job in before}
    assert all(type(job).__name__ == "Planning" for job in again), "a finished shard was done again"
    assert same(out, whole)


def test_one_file_a_recording(recordings: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    label(BUNDLE, [str(recordings)], out, maps="mkv", confidence=True, shard_frames=1, runner=Here)
    for name in ("b.mp4", "one.avi"):
        video, folder = open_labels(out / "labels" / f"{name}.mkv"), open_labels(whole / "labels" / name)
        assert len(video) == len(folder)
        for at in (-1, 0, len(video) // 2, (len(video) // 2 + 1) % len(video), 0):
            assert np.array_equal(video[at], folder[at]), (name, at)
    trust = open_labels(out / "confidence" / "b.mp4.mkv")
    assert trust[0].shape == (6, 8) and trust[0].min() == 255 > trust[2].min()
    truth = str(out / "labels" / "b.mp4.mkv")
    scored = CliRunner().invoke(
        app,
        ["evaluate", str(BUNDLE), str(recordings / "b.mp4"), "--both-ways", "--json", "-", "--truth", truth],
    )
    assert scored.exit_code == 0, scored.stderr
    assert json.loads(scored.stdout)["miou"] == 100


def test_the_index_has_a_row_for_every_frame(recordings: Path, whole: Path) -> None:
    data = (whole / "index" / "b.mp4.parquet").read_bytes()
    table = index.arrow().parquet.read_table(whole / "index" / "b.mp4.parquet")
    rows = table.to_pylist()
    assert [row["frame"] for row in rows] == list(range(len(open_labels(whole / "labels" / "b.mp4"))))
    assert {row["file"] for row in rows} == {"b.mp4"}
    about = index.about(data)
    assert about["file"] == str(recordings / "b.mp4") and len(about["bundle"]) == 64
    manifest = load(BUNDLE).manifest
    for row in rows[:30]:
        shares = [row[f"share_{name}"] for name in manifest.classes]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert (row["confidence"] == 1) == row["key"] == (row["staleness"] == 0)


def test_a_joint_that_is_not_as_planned_is_labelled_in_one_piece(
    recordings: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = planning.plan

    def wrong(path: str, fingerprint: str, shard_frames: int) -> planning.Plan:
        made = honest(path, fingerprint, shard_frames)
        shards = tuple(
            replace(
                shard,
                first_frame=shard.first_frame + 1 if shard.number else 0,
                frames=(shard.frames or 0) + 1,
            )
            for shard in made.shards
        )
        return replace(made, shards=shards) if len(shards) > 1 else made

    monkeypatch.setattr("edge_vss.runtimes.archive.jobs.plan", wrong)
    found = label(BUNDLE, [str(recordings)], tmp_path / "out", shard_frames=1, runner=Here)
    assert found.in_one_piece == 4
    assert same(tmp_path / "out", whole)


def test_what_cannot_be_read_is_told_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "footage"
    folder.mkdir()
    encode(folder / "good.mp4", noise(3))
    (folder / "empty.mp4").touch()
    (folder / "torn.mp4").write_bytes((folder / "good.mp4").read_bytes()[:200])
    (folder / "notes.txt").write_text("not footage")
    done = CliRunner().invoke(
        app, ["label", str(BUNDLE), str(folder), "-o", str(tmp_path / "out"), "--workers", "1", "--json", "-"]
    )
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["recordings"] == 1
    assert sorted(Path(failure["file"]).name for failure in report["failed"]) == ["empty.mp4", "torn.mp4"]
    assert done.stderr.count("not labelled:") == 2 and "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index", "label.json", "labels"]


def test_sizes_that_change_go_to_png_only(tmp_path: Path) -> None:
    parts = [
        annex_b(encode(tmp_path / f"{n}.mp4", noise(4, size)), tmp_path / f"{n}.h264").read_bytes()
        for n, size in enumerate(((64, 96), (48, 64)))
    ]
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    source = [str(tmp_path / "both.h264")]
    found = label(BUNDLE, source, tmp_path / "png", runner=Here)
    assert found.frames == 8 and not found.failed
    found = label(BUNDLE, source, tmp_path / "mkv", maps="mkv", runner=Here)
    assert found.frames == 0 and "write png" in found.failed[0].reason


def test_a_recording_that_has_grown_is_labelled_anew(tmp_path: Path) -> None:
    video = encode(tmp_path / "v.mp4", noise(3))
    out = tmp_path / "out"
    label(BUNDLE, [str(video)], out, runner=Here)
    assert label(BUNDLE, [str(video)], out, runner=Here).labelled_before == 1
    encode(video, noise(5))
    assert label(BUNDLE, [str(video)], out, runner=Here).frames == 5
    assert len(open_labels(out / "labels" / "v.mp4")) == 5
    encode(video, noise(2))
    label(BUNDLE, [str(video)], out, runner=Here)
    assert len(open_labels(out / "labels" / "v.mp4")) == 2


@pytest.mark.parametrize("other", [{"policy": "interval:3"}, {"maps": "mkv"}, {"confidence": True}])
def test_other_options_are_refused(tmp_path: Path, other: dict[str, object]) -> None:
    video = encode(tmp_path / "v.mp4", noise(1))
    label(BUNDLE, [str(video)], tmp_path / "out", runner=Here)
    with pytest.raises(OptionError, match=f"was made with the {next(iter(other))}.*choose another folder"):
        label(BUNDLE, [str(video)], tmp_path / "out", runner=Here, **other)  # type: ignore[arg-type]


def test_another_bundle_is_refused(tmp_path: Path) -> None:
    video = encode(tmp_path / "v.mp4", noise(1))
    label(BUNDLE, [str(video)], tmp_path / "out", runner=Here)
    text = json.loads((tmp_path / "out" / "label.json").read_text())
    (tmp_path / "out" / "label.json").write_text(json.dumps({**text, "bundle": "0" * 64}))
    with pytest.raises(OptionError, match="was made with the bundle 0000"):
        label(BUNDLE, [str(video)], tmp_path / "out", runner=Here)


def test_names_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    for folder in ("one/day", "two/day"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.mp4").touch()
    found = find([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "one" / "day" / "x.mp4")])
    assert [recording.name for recording in found] == ["one/day/x.mp4", "two/day/x.mp4"]
    again = find([str(tmp_path)])
    assert [recording.name for recording in again] == ["one/day/x.mp4", "two/day/x.mp4"]
    with pytest.raises(SourceError, match="no such file"):
        find([str(tmp_path / "three")])
    with pytest.raises(SourceError, match="no videos"):
        find([str(tmp_path / "one")], leave_out=str(tmp_path / "one" / "day"))


def test_files_that_are_left_out_are_told(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.rmvb", ".hidden", "notes/c.txt", "notes/d.txt", "notes/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with listening() as log:
        assert [each.name for each in find([str(tmp_path)])] == ["a.mp4"]
        assert [each.name for each in find([str(tmp_path / "b.rmvb")])] == ["b.rmvb"]
    (line,) = log
    assert "4 files are left out" in line and "(b.rmvb, notes/c.txt, notes/d.txt, ...)" in line


def test_results_among_the_footage_are_no_footage(tmp_path: Path) -> None:
    encode(tmp_path / "v.mp4", noise(2))
    for _ in range(2):
        found = label(BUNDLE, [str(tmp_path)], tmp_path / "out", maps="mkv", runner=Here)
        assert found.recordings == 1


def test_a_full_disk_ends_it_and_it_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video, out = encode(tmp_path / "v.mp4", noise(5)), tmp_path / "out"
    write, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) > 4:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SinkError, match="No space left on device"):
        label(BUNDLE, [str(video)], out, runner=Here)
    monkeypatch.setattr(Path, "write_bytes", write)
    assert not list((out / "index").rglob("*"))
    label(BUNDLE, [str(video)], out, runner=Here)
    assert len(open_labels(out / "labels" / "v.mp4")) == 5
    assert not (out / "parts").exists() and not (out / ".scratch").exists()


def test_a_file_that_kills_its_worker_is_given_up(tmp_path: Path) -> None:
    processes = Processes(1)
    try:
        processes.submit(Deadly())
        job, found = processes.next()
    finally:
        processes.close()
    assert isinstance(job, Deadly)
    assert isinstance(found, SourceError) and "SIGKILL" in str(found)


def test_errors_come_back_from_workers_as_they_are(tmp_path: Path) -> None:
    processes = Processes(1)
    try:
        for error in (SourceError("s"), MissingExtra("onnxruntime", "onnxruntime", "this")):
            processes.submit(Raising(str(error), isinstance(error, MissingExtra)))
            found = processes.next()[1]
            assert isinstance(found, Exception) and str(error) in str(found)
    finally:
        processes.close()


def test_only_one_writes_to_a_place(tmp_path: Path) -> None:
    video = encode(tmp_path / "v.mp4", noise(1))
    store = open_store(str(tmp_path / "out"))
    assert isinstance(store, Local)
    claim = driver._claimed(store)
    with pytest.raises(SinkError, match="is in use"):
        label(BUNDLE, [str(video)], tmp_path / "out", runner=Here)
    claim.release()


def test_the_worst_frames_are_found_and_drawn(whole: Path) -> None:
    found = least.find(str(whole), 3)
    assert len(found) == 3
    assert [one.confidence for one in found] == sorted(one.confidence for one in found)
    rows = index.arrow().parquet.read_table(whole / "index").to_pylist()
    assert found[0].confidence == min(row["confidence"] for row in rows)
    least.draw_sheet(str(whole), load(BUNDLE).manifest, found)
    sheet = (whole / "worst.png").read_bytes()
    (whole / "worst.png").unlink()
    assert sheet.startswith(b"\x89PNG") and len(sheet) > 10_000


def test_without_pyarrow_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"edge-vss\[label\]"):
        label(BUNDLE, [str(tmp_path)], tmp_path / "out")


def test_places_by_url(recordings: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra label is not installed")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/footage/day/v.mp4", (recordings / "p.mp4").read_bytes())
    memory.pipe_file("/footage/notes.txt", b"no footage")
    found = label(BUNDLE, ["memory://footage"], "memory://out", maps="mkv", shard_frames=1, runner=Here)
    assert found.recordings == 1 and found.key_frames_twice
    names = sorted(path for path in memory.find("/out"))
    assert names == ["/out/index/day/v.mp4.parquet", "/out/label.json", "/out/labels/day/v.mp4.mkv"]
    assert label(BUNDLE, ["memory://footage"], "memory://out", maps="mkv", runner=Here).labelled_before == 1


def test_a_recording_that_is_away_for_a_while_keeps_its_labels(tmp_path: Path) -> None:
    pictures, disk, out = noise(60), tmp_path / "disk", tmp_path / "out"
    for folder in ("disk", "in"):
        (tmp_path / folder).mkdir()
    encode(disk / "a.mp4", pictures)
    encode(tmp_path / "in" / "b.mp4", pictures)
    (tmp_path / "in" / "a.mp4").symlink_to(disk / "a.mp4")

    def again() -> tuple[int, int, int]:
        found = label(BUNDLE, [str(tmp_path / "in")], out, runner=Here)
        maps = len(list((out / "labels").rglob("*.png")))
        return found.recordings, len(found.failed), maps

    assert again() == (2, 0, 120)
    disk.rename(tmp_path / "away")
    assert again() == (1, 1, 120)
    (tmp_path / "away").rename(disk)
    assert again() == (2, 0, 120)


def test_no_worker_is_no_way_to_label(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="workers wants 1 or more, got 0"):
        label(BUNDLE, [str(tmp_path)], tmp_path / "out", workers=0)


def test_copies_of_remote_recordings_go_with_their_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="the extra label is not installed")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    clip = encode(tmp_path / "a.mp4", noise(12))
    found = label(BUNDLE, [f"local://{clip}"], tmp_path / "out")
    assert found.frames == 12 and not list((tmp_path / "scratch").glob("*/a.mp4"))
