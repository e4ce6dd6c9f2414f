"""Key frames whose labels come late: by a clock of frames, and by a thread behind the stream."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_vss.bundle import StateSpec
from edge_vss.decisions import Decision, Prediction, Track
from edge_vss.errors import EngineError, OptionError
from edge_vss.runtimes.engines import Graph
from edge_vss.runtimes.labelling import both_ways
from edge_vss.runtimes.late_keys import MOST_FAILURES, LateSession
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.runtimes.tools.evaluate import evaluate
from edge_vss.video import Frame, StartReason
from tests.helpers import toys
from tests.helpers.logs import listening
from tests.test_session import bar, expected, frames


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(OptionError) as raised:
        call()
    return str(raised.value)


def late(session: Session) -> LateSession:
    assert isinstance(session, LateSession)
    return session


def anchors(session: Session, shown: list[Frame]) -> list[int]:
    with session:
        return [session.step(frame).anchor_index for frame in shown]


def with_key(key: Graph) -> Segmenter:
    toy = toys.segmenter()
    return Segmenter(toy.manifest, {**toy.graphs, "key": key}, "toy")


def same(one: list[Prediction], other: list[Prediction]) -> bool:
    return all(
        np.array_equal(a.labels, b.labels) and (a.anchor_index, a.decision) == (b.anchor_index, b.decision)
        for a, b in zip(one, other, strict=True)
    )


def test_labels_come_exactly_so_many_frames_late_and_are_where_things_are_now() -> None:
    session = late(toys.segmenter().session("interval:4", key_delay=3))
    seen = [session.step(frame) for frame in frames(16, step=1)]
    assert [p.anchor_index for p in seen] == [*[0] * 7, *[4] * 4, *[8] * 4, 12]
    assert [p.frames_since_key for p in seen] == [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 3, 4, 5, 6, 3]
    assert {p.decision.route for p in seen[1:]} == {"nonkey"}
    assert seen[4].decision.reason == "carried 4, interval 4 is asked for"
    assert session.figures.taken == 4 and session.figures.dropped == session.figures.failed == 0
    # Both traces are exact here, so the late labels are those of a frame that waited, up to a cell's edge.
    exact = toys.segmenter().session("interval:4", key_delay=3)
    for frame in frames(7, step=4):
        assert np.array_equal(exact.step(frame).labels, expected(8 + 4 * frame.index)), frame.index


@pytest.mark.parametrize("policy", ["interval:1", "interval:4", "gop:5", "adaptive:6", "continuous"])
def test_no_delay_and_instant_graphs_give_what_a_waiting_session_gives(policy: str) -> None:
    toy = toys.segmenter()
    waiting = toy.session(policy)
    expected_of = [waiting.step(frame) for frame in frames(20, step=1)]
    with toy.session(policy, key_delay=0) as none, toy.session(policy, background=True) as instant:
        assert same(expected_of, [none.step(frame) for frame in frames(20, step=1)])
        assert same(expected_of, [instant.step(frame) for frame in frames(20, step=1)])


def test_the_newest_wish_wins() -> None:
    session = toys.segmenter().session("continuous", key_delay=4)
    assert anchors(session, frames(16, step=1)) == [*[0] * 5, *[1] * 4, *[4] * 4, *[8] * 3]


def test_a_thread_gives_what_the_clock_gives() -> None:
    """The network waits until so many frames were shown, so both are the same run."""
    delay, shown = 3, frames(20, step=1)
    go = threading.Semaphore(1)
    toy = toys.segmenter()

    def key(tensors: toys.Tensors) -> toys.Tensors:
        assert go.acquire(timeout=60)
        return toy.graphs["key"](tensors)

    behind = late(with_key(key).session("interval:4", background=True))
    clock = toy.session("interval:4", key_delay=delay)
    due = 0
    with behind:
        for frame in shown:
            if due and frame.index == due:
                taken = behind.figures.taken
                go.release()
                request = behind._requests[0]
                shared = behind._workplace._shared  # type: ignore[attr-defined]
                with shared.changed:
                    assert shared.changed.wait_for(lambda: request.done, 60)  # noqa: B023
                due = 0
            one, other = behind.step(frame), clock.step(frame)
            assert one.anchor_index == other.anchor_index and np.array_equal(one.labels, other.labels)
            if not due and behind._requests:
                due = frame.index + delay
        assert taken >= 2
        go.release()


@pytest.mark.parametrize("reason", [StartReason.LOST_PACKETS, StartReason.SEEK, StartReason.RECONNECTED])
def test_a_loss_overtakes_what_was_asked_for(reason: StartReason) -> None:
    shown = frames(16, step=1)
    shown[6].start, shown[6].motion = reason, None
    session = late(toys.segmenter().session("interval:4", key_delay=3))
    assert anchors(session, shown) == [*[0] * 6, *[6] * 7, *[10] * 3]
    assert session.figures.dropped == 1


def test_another_size_and_a_policys_own_start_overtake_too() -> None:
    shown = [*frames(6, step=1), *frames(8, step=1, size=(96, 128))]
    for index, frame in enumerate(shown):
        frame.index, frame.pts_seconds = index, index / 25
        frame.start = StartReason.NONE if index else StartReason.FIRST_FRAME
    session = late(toys.segmenter().session("interval:4", key_delay=3))
    with session:
        seen = [session.step(frame) for frame in shown]
    assert seen[6].decision == Decision("start", "size changed") and session.figures.dropped >= 1
    assert [p.labels.shape for p in seen] == [frame.size for frame in shown]

    def policy(frame: Frame, track: Track) -> Decision:
        return Decision({3: "key", 5: "start"}.get(frame.index, "nonkey"), "own")

    assert anchors(toys.segmenter().session(policy, key_delay=3), frames(9, step=1)) == [0] * 5 + [5] * 4


def test_a_cut_overtakes_and_the_new_scene_is_asked_for() -> None:
    shown = frames(14, step=0)
    for frame in shown[6:]:
        # Light and dark change places.
        frame.picture = ArrayPicture(255 - bar(8))
    session = late(toys.segmenter().session("interval:4", key_delay=3))
    # Asked for at 4, cut at 6. The network is done with 4 at 7, with 6 at 10, and with 10 at 13.
    assert anchors(session, shown) == [*[0] * 10, *[6] * 3, 10]
    assert session.figures.dropped == 1


def test_motion_of_skipped_frames_counts_for_both_traces() -> None:
    shown = frames(12, step=4)
    session = toys.segmenter().session("interval:4", key_delay=3)
    seen = {}
    for frame in shown:
        if frame.index in (5, 6, 9):
            session.skip(frame)
        else:
            seen[frame.index] = session.step(frame)
    assert np.array_equal(seen[7].labels, expected(8 + 4 * 7)) and seen[7].anchor_index == 4


def test_every_prediction_says_how_old_and_how_stale_it_is() -> None:
    session = toys.segmenter().session("interval:4", key_delay=3)
    seen = [session.step(frame) for frame in frames(9, step=1)]
    assert seen[0].age_seconds == seen[0].staleness == 0
    assert seen[0].staleness_per_cell.shape == (6, 8) and not seen[0].staleness_per_cell.any()
    assert seen[8].age_seconds == pytest.approx(4 / 25)
    shown = frames(6, step=0)
    shown[5].picture = ArrayPicture(bar(40))
    session = toys.segmenter().session("interval:100")
    still = [session.step(frame) for frame in shown]
    assert still[4].staleness < 2 < 12 < still[5].staleness
    # The bar was at column 8 and is at 40: these cells are stale, and none far from both.
    cells = still[5].staleness_per_cell
    assert cells.dtype == np.float32 and cells[:, [1, 2, 5, 6]].min() > 12 and cells[:, 0].max() > 12 > 0
    sent: Prediction = pickle.loads(pickle.dumps(still[5]))
    assert sent.staleness == still[5].staleness and np.array_equal(sent.staleness_per_cell, cells)


def test_a_network_that_fails_once_is_told_of_and_asked_again() -> None:
    toy, calls = toys.segmenter(), iter(range(100))

    def key(tensors: toys.Tensors) -> toys.Tensors:
        if next(calls) == 1:
            raise EngineError("the accelerator was busy")
        return toy.graphs["key"](tensors)

    session = late(with_key(key).session("interval:4", key_delay=2))
    with listening() as lines:
        assert anchors(session, frames(12, step=1)) == [*[0] * 8, *[6] * 4]
    assert lines == ["WARNING key frame 4 failed, and its labels are left out: the accelerator was busy"]
    assert session.figures.failed == 1


@pytest.mark.parametrize("how", [{"background": True}, {"key_delay": 1}])
def test_a_network_that_always_fails_stops_the_stream_with_the_cause(how: dict[str, int]) -> None:
    toy, calls = toys.segmenter(), iter(range(100))

    def key(tensors: toys.Tensors) -> toys.Tensors:
        if next(calls):
            return {**toy.graphs["key"](tensors), "scores": np.full((1, 2, 12, 16), np.nan, np.float32)}
        return toy.graphs["key"](tensors)

    segmenter = with_key(key)
    with (
        segmenter.session(
            "continuous", background="background" in how, key_delay=how.get("key_delay", 0)
        ) as s,
        pytest.raises(EngineError, match=r"key frame \d+ failed, as did the 2 before it: .*NaN in scores"),
    ):
        for number in range(10_000):
            frame = frames(2, step=0)[1]
            frame.index, frame.start = number, StartReason.NONE
            s.step(frame)
    assert MOST_FAILURES == 3


def test_a_policy_that_raises_ends_the_run_with_its_error() -> None:
    def policy(frame: Frame, track: Track) -> Decision:
        if frame.index == 3:
            raise ZeroDivisionError("of my own")
        return Decision("key", "always")

    with toys.segmenter().session(policy, background=True) as session, pytest.raises(ZeroDivisionError):
        run(frames(10), session)


def test_closing_while_a_key_frame_is_under_way() -> None:
    toy, begun, go = toys.segmenter(), threading.Event(), threading.Event()
    calls = iter(range(100))

    def key(tensors: toys.Tensors) -> toys.Tensors:
        if next(calls):
            begun.set()
            assert go.wait(60)
        return toy.graphs["key"](tensors)

    session = with_key(key).session("interval:2", background=True)
    shown = frames(6, step=1)
    for frame in shown[:4]:
        session.step(frame)
    assert begun.wait(60)
    threading.Timer(0.05, go.set).start()
    session.close()
    session.close()
    with pytest.raises(OptionError, match="the session is closed: make a new one"):
        session.step(shown[4])
        session.step(shown[5])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-vss key")]


def test_a_session_that_nobody_closes_leaves_no_thread() -> None:
    session = toys.segmenter().session("interval:2", background=True)
    for frame in frames(6, step=1):
        session.step(frame)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("edge-vss key")]
    del session
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-vss key")]


def test_a_state_that_is_restored_overtakes_what_was_asked_for(tmp_path: Path) -> None:
    session = toys.segmenter().session("interval:4", key_delay=3)
    shown = frames(14, step=1)
    seen = []
    for frame in shown:
        if frame.index == 5:
            session.state.save(tmp_path / "state.npz")
        if frame.index == 6:
            session.state.restore(tmp_path / "state.npz")
        seen.append(session.step(frame))
    assert [p.anchor_index for p in seen] == [*[0] * 6, *[6] * 7, 10]
    assert seen[6].decision == Decision("key", "restored state")


def test_what_cannot_be_late_says_so() -> None:
    toy = toys.segmenter()
    with pytest.raises(OptionError, match="key_delay 3 stands for a network in the background"):
        toy.session(background=True, key_delay=3)
    for wrong in (-1, 1.5, True, "3"):
        with pytest.raises(OptionError, match="key_delay must be a whole number of 0 or more"):
            toy.session(key_delay=wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="do not go together with labels from both sides"):
        list(both_ways(frames(3), toy.session(key_delay=2)))
    # As tv3s --carry feature: what runs in between writes the memory.
    kept = replace(toy.manifest, state=(*toy.manifest.state, StateSpec("labels", (1, 48, 64), "uint8")))
    with pytest.raises(OptionError, match=r"goes on at every frame.*--carry \(tv3s: seen\)"):
        Segmenter(kept, toy.graphs).session(background=True)
    routes: dict[str, tuple[str, ...]] = {"start": ("key",), "key": ("key",)}
    with pytest.raises(OptionError, match="sees every frame in order, so its key frames cannot come late"):
        Segmenter(replace(toy.manifest, routes=routes), toy.graphs).session(key_delay=1)
    # As lmanet: a key frame remembers the key frame before it.
    memory = (*toy.manifest.state, StateSpec("memory", (1, 2, 12, 16), "float32", next="scores"))
    manifest = replace(toy.manifest, family="lmanet", state=memory)
    with pytest.raises(OptionError, match=r"lmanet sees every frame in order under the policy interval:1"):
        Segmenter(manifest, toy.graphs).session("interval:1", background=True)
    session = Segmenter(manifest, toy.graphs).session("interval:4", key_delay=2)
    assert anchors(session, frames(8, step=1)) == [*[0] * 6, 4, 4]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_was_forked_after_loading_is_told_to_load(tiny_bundle: Path) -> None:
    segmenter = load(tiny_bundle)
    session = segmenter.session()
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            refused = (lambda: segmenter.session(), lambda: session.step(frames(1)[0]))
            os.write(write, "\n".join(message_of(call) for call in refused).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    told = os.read(read, 10_000).decode().splitlines()
    os.close(read)
    os.close(write)
    assert told[0].endswith("load the bundle in each process") and "belongs to process" in told[1], told


def test_evaluate_counts_key_frames_that_come_late(tiny_bundle: Path, tiny_video: Path) -> None:
    truth, segmenter = tiny_video.parent / "truth", load(tiny_bundle)
    at_once, delayed = (
        evaluate(segmenter, tiny_video, truth, policy="interval:5", key_delay=n) for n in (0, 2)
    )
    assert (at_once.key_delay, delayed.key_delay) == (0, 2)
    assert at_once.keyframes == delayed.keyframes and at_once.gmac_per_frame == delayed.gmac_per_frame
    assert delayed.miou <= at_once.miou


def test_a_run_in_the_background_leaves_no_frame_out(tiny_bundle: Path, tiny_video: Path) -> None:
    with (
        load(tiny_bundle).session("continuous", background=True) as session,
        open_source(tiny_video) as source,
    ):
        report = run(source, session, pace=200, limit=20)
    figures = report.timing.figures()
    assert report.frames + report.skipped == 20 == figures.frames + figures.missed
    assert 0 < figures.packet_to_label_ms.p50 <= figures.packet_to_label_ms.p99
    for pace in (0, -3, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="pace must be a number above 0"):
            run(frames(2), session, pace=pace)


def test_a_program_waits_for_a_graph_that_is_compiled_when_it_ends() -> None:
    """Else the thread is ended within the engine, and that aborts the program."""
    code = (
        "import time\nfrom edge_vss.runtimes._behind import Behind\n"
        "graph = Behind().graph(lambda: (time.sleep(0.5), print('compiled', flush=True)))\n"
        "graph.prepare()\nraise SystemExit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "compiled\n", "")


def test_a_frame_that_passes_waits_for_no_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lets frames pass is behind: waiting for each of them, it would never catch up."""
    going = threading.Event()

    def key(tensors: object) -> object:
        assert going.wait(60)
        return toys.segmenter().graphs["key"](tensors)  # type: ignore[arg-type]

    shown = frames(6, step=1)
    going.set()
    with with_key(key).session("continuous", budget_ms=60_000) as session:  # type: ignore[arg-type]
        session.step(shown[0])
        going.clear()
        try:
            for frame in shown[1:]:
                session.skip(frame)
            assert late(session).figures.taken == 1, "the first frame alone"
        finally:
            going.set()


def test_cuts_that_come_faster_than_key_frames_do_not_leave_the_first_labels_for_ever() -> None:
    shown = frames(60)
    # A picture without any content is a cut, and so is the next one.
    black = ArrayPicture(np.zeros((48, 64, 3), np.uint8))
    shown = [replace(frame, picture=black) if frame.index % 5 == 4 else frame for frame in shown]
    session = toys.segmenter().session("interval:5", key_delay=6)
    anchors = [session.step(frame).anchor_index for frame in shown]
    assert anchors == sorted(anchors)
    assert anchors[-1] >= 40
