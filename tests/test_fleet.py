"""Many streams through one network: fair shares, and a stream that fails touches no other."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_vss.cli import app
from edge_vss.cli._fleet import names_of, place_of
from edge_vss.decisions import Decision, Track
from edge_vss.errors import OptionError, SinkError, SourceError
from edge_vss.runtimes import fleet as fleets
from edge_vss.runtimes import timeliness
from edge_vss.runtimes._requests import Computed, Request
from edge_vss.runtimes.budget import Budget
from edge_vss.runtimes.fleet import Fleet, Scheduler
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.timeliness import Durations, Timing
from edge_vss.runtimes.timing import Latency, rss_mb
from edge_vss.runtimes.tools.pacing import at_pace, streams_at_pace
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Frame, FrameStamp, StartReason
from tests.helpers import toys
from tests.helpers.cli import CliRunner
from tests.helpers.hanging_up import gone
from tests.helpers.logs import listening
from tests.helpers.videos import remux
from tests.test_session import expected, frames

SOAK = bool(os.environ.get("EDGE_VSS_SOAK"))


def key_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edge-vss")]


def endless(count: int) -> Iterator[Frame]:
    """The same few frames again and again."""
    shown = frames(8, step=1)
    for index in range(count):
        frame = shown[index % 8]
        start = StartReason.NONE if index else StartReason.FIRST_FRAME
        motion = frame.motion if index % 8 else None
        yield replace(frame, index=index, pts_seconds=index / 25, start=start, motion=motion, seconds={})


def request(doubt: float, age: float = 0.0) -> Request:
    trace = Tracer().start(frames(1)[0])
    made = Computed({}, {}, {})
    return Request(FrameStamp(0, 0.0), (48, 64), Decision("key", ""), trace, lambda: made, lambda: doubt, age)


def test_the_stream_in_most_doubt_is_next_and_none_waits_for_ever() -> None:
    choose = Scheduler({2: 3.0}, 2.0, "doubt")
    assert choose({0: request(5), 1: request(9), 2: request(2)}) == 1
    assert choose({0: request(5), 1: request(4), 2: request(2)}) == 2
    assert choose({0: request(1, 2.5), 1: request(9, 2.4), 2: request(9)}) == 0

    def broken() -> float:
        raise ZeroDivisionError

    assert choose({0: replace(request(0), doubt=broken), 1: request(1)}) == 1
    turns = Scheduler({}, 2.0, "turns")
    waiting = {desk: request(desk) for desk in range(3)}
    assert [turns(waiting) for _ in range(5)] == [0, 1, 2, 0, 1]
    assert turns({0: request(0), 1: request(0)}) == 0


def test_every_stream_has_labels_for_every_frame() -> None:
    sources = {name: iter(frames(10)) for name in ("front", "rear", "left")}
    with Fleet(toys.segmenter(), sources) as fleet:
        seen = list(fleet)
    assert Counter(name for name, _, _ in seen) == dict.fromkeys(sources, 10)
    for name in sources:
        mine = [(frame, prediction) for other, frame, prediction in seen if other == name]
        assert [frame.index for frame, _ in mine] == list(range(10))
        for frame, prediction in mine:
            assert np.array_equal(prediction.labels, expected(8 + 4 * frame.index)), (name, frame.index)
    reports = fleet.reports()
    assert all(report.ended and not report.error for report in reports.values())
    assert all(report.timeliness.frames == 10 and report.keys.taken for report in reports.values())
    assert not key_threads()


def test_a_stream_that_fails_ends_alone() -> None:
    def dies() -> Iterator[Frame]:
        yield from frames(3)
        raise SourceError("the cable is out")

    def policy(frame: Frame, track: Track) -> Decision:
        if frame.size == (96, 128):
            raise ZeroDivisionError("of my own")
        return Decision("key", "always")

    other = iter(frames(5, size=(96, 128)))
    sources = {"good": iter(frames(10)), "dies": dies(), "policy": other, "none": "no/such.mp4"}
    with Fleet(toys.segmenter(), sources, policy=policy) as fleet:
        counts = Counter(name for name, _, _ in fleet)
    assert counts == {"good": 10, "dies": 3, "policy": 1}
    told = {name: type(error) for name, error in fleet.errors.items()}
    assert told == {"dies": SourceError, "policy": ZeroDivisionError, "none": SourceError}
    assert fleet.reports()["dies"].error == "the cable is out"


def test_a_silent_stream_holds_up_no_other_and_not_the_end() -> None:
    go = threading.Event()

    def silent() -> Iterator[Frame]:
        yield from frames(1)
        go.wait(60)

    fleet, seen = Fleet(toys.segmenter(), {"silent": silent(), "good": iter(frames(20))}), 0
    for name, _, _ in fleet:
        seen += name == "good"
        if seen == 20:
            go.set()
            break
    fleet.close()
    assert seen == 20 and not fleet.errors


def test_cameras_that_are_away_do_not_hold_up_the_end(p_only: Path, tmp_path: Path) -> None:
    sent = remux(p_only, tmp_path / "v.ts", lambda number, content: content).read_bytes()
    opening = Opening(timeout_seconds=60, reconnect_seconds=3600)
    with listening() as told, gone(sent) as one, gone(sent) as other:
        sources = {"one": f"tcp://127.0.0.1:{one}", "other": f"tcp://127.0.0.1:{other}"}
        segmenter = toys.segmenter((96, 128), (24, 32))
        fleet = Fleet(segmenter, sources, opening=opening)
        reading = threading.Thread(target=list, args=(iter(fleet),), daemon=True)
        reading.start()
        deadline = time.monotonic() + 60
        while sum("opened again" in line for line in told) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        fleet.close()
        reading.join(60)
        assert not key_threads()
    assert not fleet.errors


def test_all_silent_streams_together_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "_JOIN_SECONDS", 1.0)
    go = threading.Event()

    def silent() -> Iterator[Frame]:
        yield from frames(1)
        go.wait(120)

    fleet = Fleet(toys.segmenter(), {str(number): silent() for number in range(20)})
    reading = iter(fleet)
    for _ in range(20):
        next(reading)
    began = time.monotonic()
    fleet.close()
    took = time.monotonic() - began
    go.set()
    assert took < 10
    for thread in threading.enumerate():
        if thread.name.startswith("edge-vss"):
            thread.join(60)
    assert not key_threads()


def test_two_fleets_in_one_process_and_one_that_is_left_early() -> None:
    segmenter = toys.segmenter()
    one = Fleet(segmenter, {"a": endless(10**6), "b": endless(10**6)})
    other = Fleet(segmenter, {"a": iter(frames(10))}, key_workers=2)
    reading = iter(one)
    for _ in range(20):
        next(reading)
    assert len(list(other)) == 10
    one.close()
    assert not key_threads()
    with pytest.raises(OptionError, match="the frames of a fleet come once"):
        iter(one)


def test_streams_may_be_arrays_as_they_come() -> None:
    pictures = [frame.image for frame in frames(6)]
    nothing: Iterator[Frame] = iter(())
    sources = {"list": pictures, "array": np.stack(pictures), "as they come": iter(pictures), "none": nothing}
    with Fleet(toys.segmenter(), {**sources, "frames": iter(frames(6))}) as fleet:
        seen = [name for name, _, _ in fleet]
        assert list(fleet.errors) == ["none"] and "is empty" in str(fleet.errors["none"])
    names = ("list", "array", "as they come", "frames")
    assert {name: seen.count(name) for name in set(seen)} == dict.fromkeys(names, 6)


def test_what_makes_no_sense_is_said_in_one_line() -> None:
    segmenter, sources = toys.segmenter(), {"a": iter(frames(1))}
    with pytest.raises(OptionError, match="one source or more"):
        Fleet(segmenter, {})
    with pytest.raises(OptionError, match="give a mapping of names"):
        Fleet(segmenter, ["a.mp4"])  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="limit must be a whole number of 1 or more, got 0"):
        Fleet(segmenter, sources, limit=0)
    with pytest.raises(OptionError, match="key_workers must be a whole number of 1 or more, got 0"):
        Fleet(segmenter, sources, key_workers=0)
    with pytest.raises(OptionError, match="no stream is called 'b'"):
        Fleet(segmenter, sources, priorities={"b": 2})
    with pytest.raises(OptionError, match="the priority of a must be a number above 0"):
        Fleet(segmenter, sources, priorities={"a": 0})
    with pytest.raises(OptionError, match="longest_seconds must be a number above 0"):
        Fleet(segmenter, sources, longest_seconds=0)
    with pytest.raises(OptionError, match="choose one of doubt, turns"):
        Fleet(segmenter, sources, schedule="fair")
    with pytest.raises(OptionError, match="pace must be a number above 0, got 0: give frames per second"):
        Fleet(segmenter, sources, pace=0)


def test_streams_that_die_again_and_again_leave_nothing_behind() -> None:
    """A thousand with EDGE_VSS_SOAK, and a million frames."""

    def dies() -> Iterator[Frame]:
        yield from frames(2)
        raise SourceError("gone")

    segmenter = toys.segmenter()
    for _ in range(1000 if SOAK else 20):
        with Fleet(segmenter, {"dies": dies(), "good": iter(frames(3))}) as fleet:
            assert Counter(name for name, _, _ in fleet) == {"dies": 2, "good": 3}
    assert not key_threads()


def test_memory_stays_the_same_over_many_frames() -> None:
    count = 250_000 if SOAK else 400
    with Fleet(toys.segmenter(), {str(n): endless(count) for n in range(4)}) as fleet:
        shown, before = 0, 0.0
        for _ in fleet:
            shown += 1
            if shown == count:
                before = rss_mb()
        assert shown == 4 * count and rss_mb() - before < 20
    assert not key_threads()


def test_the_names_and_places_of_streams() -> None:
    named = names_of(["a/cam1.mp4", "rtsp://me:secret@host/cam1?x=1", "0", "/dev/video0", "cam1.avi", "-"])
    assert list(named) == ["cam1", "cam1-2", "0", "video0", "cam1-3", "-"]
    assert place_of("labels", "out/", "cam1") == Path("out/cam1")
    assert place_of("video", "seen/all.mp4", "cam1") == Path("seen/all-cam1.mp4")


def test_run_takes_several_sources(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    words = ["run", str(tiny_bundle), str(tiny_video), "nosuch.mp4", str(tiny_video)]
    done = CliRunner().invoke(app, [*words, "--save-labels", str(tmp_path / "out"), "--limit", "9"])
    assert done.exit_code == 0, done.stderr
    stem = tiny_video.stem
    for name in (stem, f"{stem}-2"):
        assert len(list((tmp_path / "out" / name).glob("*.png"))) == 9
    assert "warning: nosuch has ended: no such file: nosuch.mp4" in done.stderr
    assert CliRunner().invoke(app, [*words, "--both-ways"]).exit_code == 2
    assert CliRunner().invoke(app, [*words, "--jsonl", "-"]).exit_code == 2
    done = CliRunner().invoke(app, [*words[:2], "nosuch.mp4", "nor.mp4"])
    assert done.exit_code == 1 and "error: no such file" in done.stderr


def test_every_sink_of_every_stream_is_closed_also_after_one_that_fails(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Full:
        def __init__(self, name: str, place: str, context: object) -> None:
            self.place = place

        def write(self, frame: Frame, prediction: object) -> None:
            pass

        def close(self) -> None:
            closed.append(self.place)
            raise SinkError(f"no room for {self.place}")

    monkeypatch.setattr("edge_vss.runtimes.sinks.open_sink", Full)
    words = ["run", str(tiny_bundle), str(tiny_video), str(tiny_video), "--limit", "3"]
    done = CliRunner().invoke(app, [*words, "--jsonl", str(tmp_path / "a.jsonl")])
    assert done.exit_code == 1 and "no room for" in done.stderr
    assert len(closed) == 2


def test_a_pace_is_measured_with_and_without_waiting(tiny_bundle: Path, tiny_video: Path) -> None:
    segmenter = load(tiny_bundle)
    found = at_pace(segmenter, tiny_video, "interval:5", pace=100, limit=15)
    for side in (found.background, found.waiting):
        assert side.timeliness.frames + side.timeliness.missed == 15 and side.key_ms > 0
    several = streams_at_pace(segmenter, tiny_video, 3, pace=100, limit=8)
    assert len(several.streams) == 3 and several.policy == "continuous" and several.keyframes >= 3


def test_durations_are_counted_within_one_percent() -> None:
    counted, random = Durations(), np.random.default_rng(0)
    taken = random.lognormal(-4, 1, 5000)
    for seconds in taken:
        counted.add(float(seconds))
    for percent in (50, 95, 99):
        true = np.percentile(taken, percent, method="inverted_cdf")
        assert counted.percentile(percent) == pytest.approx(true, rel=0.011)
    for extreme in (0.0, -1.0, 1e9):
        counted.add(extreme)
    assert Durations().latency.p99 == 0
    assert str(Timing()) == "p95 0 ms after the packet, 0.00 s old"


def test_frames_that_came_before_the_first_labels_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    timing, prediction = Timing(), toys.segmenter().session().step(frames(1)[0])
    # The first frame took half a second; meanwhile another came, and one came afterwards.
    for now, spent in ((10.0, 0.5), (10.01, 0.45)):
        monkeypatch.setattr(timeliness, "perf_counter", lambda now=now: now)
        timing.shown(prediction, spent)
    assert timing.figures().packet_to_label_ms == Latency(500, 500, 500)
    monkeypatch.setattr(timeliness, "perf_counter", lambda: 10.1)
    timing.shown(prediction, 0.004)
    figures = timing.figures()
    assert (figures.frames, figures.start_ms, figures.jitter_ms) == (3, 500, 0)
    assert figures.packet_to_label_ms.p99 == pytest.approx(4, rel=0.01)


def test_what_came_while_the_first_key_frame_was_computed_is_caught_up_with() -> None:
    toy = toys.segmenter()

    def slow(tensors: toys.Tensors) -> toys.Tensors:
        time.sleep(0.6)
        return toy.graphs["key"](tensors)

    segmenter = Segmenter(toy.manifest, {**toy.graphs, "key": slow}, "toy")
    with segmenter.session("interval:1000", background=True) as session:
        report = run(frames(24), session, pace=25)
    figures = report.timing.figures()
    assert (report.skipped, figures.missed, figures.frames) == (0, 0, 24) and figures.start_ms > 600


def test_a_budget_is_met_by_waiting_more_or_less() -> None:
    budget = Budget(100)
    for _ in range(400):
        spent = own = 0.010
        if (patience := budget.patience(spent)) > 0:
            budget.waits()
            spent += patience
        budget.shown(spent, own)
    report = budget.report(0.3)
    assert 0.6 <= report.p95_ms / 100 <= 1 and report.over == 0 and report.frames == 400
    assert "nearly done, because one takes 300 ms" in str(report)
    # What takes longer leaves less to wait for.
    before = report.wait_ms
    for _ in range(100):
        budget.shown(0.150, 0.010)
    assert budget.report(0.3).wait_ms < before and budget.report(0.3).over == 100


def test_a_burst_of_late_frames_costs_a_budget_little() -> None:
    budget = Budget(100)

    def frames_pass(count: int) -> float:
        for _ in range(count):
            patience = budget.patience(0.010)
            budget.waits()
            budget.shown(0.010 + patience, 0.010)
        return budget.report(0.3).wait_ms

    before = frames_pass(400)
    for _ in range(12):
        budget.shown(0.150, 0.010)
    assert 0.75 * before < frames_pass(100) < 1.05 * before


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_none(wrong: float) -> None:
    with pytest.raises(OptionError, match="budget_ms must be a number above 0"):
        toys.segmenter().session(budget_ms=wrong)


def test_a_budget_below_what_carrying_takes_names_the_smallest(tiny_bundle: Path, tiny_video: Path) -> None:
    budget = Budget(1)
    with pytest.raises(OptionError, match=r"carrying labels alone takes 4.0 ms here, so give 6 or more"):
        for _ in range(100):
            budget.shown(0.004, 0.004)
    done = CliRunner().invoke(app, ["run", str(tiny_bundle), str(tiny_video), "--budget-ms", "500"])
    assert done.exit_code == 0 and "budget 500 ms: " in done.stderr, done.stderr


def test_time_passes() -> None:
    """Streams at a pace take as long as they would from a camera."""
    began = time.perf_counter()
    with Fleet(toys.segmenter(), {"a": iter(frames(6)), "b": iter(frames(6))}, pace=50) as fleet:
        assert len(list(fleet)) == 12
    assert time.perf_counter() - began >= 5 / 50
