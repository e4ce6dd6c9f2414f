"""`serve --background`: key frames are computed behind the streams, by workers that streams share."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from edge_vss.bundle import StateSpec
from edge_vss.cli import app
from edge_vss.cli.options import EngineChoice
from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError
from edge_vss.runtimes._behind import Behind
from edge_vss.runtimes._key_workers import KeyWorkers
from edge_vss.runtimes._requests import Computed
from edge_vss.runtimes.engines import Graph
from edge_vss.runtimes.fleet import Scheduler
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.web.stream import Keeping, Stream
from edge_vss.video import Frame
from tests.helpers import toys
from tests.helpers.cli import CliRunner
from tests.helpers.logs import listening
from tests.helpers.page import LONG, NEEDS_WEB, killed_at_last, until
from tests.test_serve_keeping import Hanging

SIZE = (96, 128)
FPS = 25


def toy(key: Graph | None = None, policy: str = "interval:3") -> Segmenter:
    whole = toys.segmenter(SIZE, (24, 32), policy)
    return whole if key is None else replace(whole, graphs={**whole.graphs, "key": key})


def slow(seconds: float) -> Graph:
    key = toy().graphs["key"]

    def call(tensors: Mapping[str, Any]) -> Any:
        time.sleep(seconds)
        return key(tensors)

    return call


def kept(path: Path | str, workers: KeyWorkers, segmenter: Segmenter, **options: Any) -> Stream:
    desk = partial(workers.desk, patient=False)
    return Stream(str(path), segmenter, Keeping(hang_seconds=0.5), desk=desk, reload=toy, **options)


def facts_of(stream: Stream) -> list[dict[str, Any]]:
    """What is told of every frame from now on."""
    seen: list[dict[str, Any]] = []

    def told() -> None:
        assert stream.board.newest is not None
        seen.append(dict(stream.board.newest.facts))

    stream.board.told = told
    return seen


@pytest.mark.parametrize(("after", "lower"), [(0, False), (2, False), (2, True)])
def test_a_network_that_hangs_is_named_and_other_streams_have_key_frames(
    p_only: Path, after: int, lower: bool
) -> None:
    """Also on the first frame, which waits for it, and in a thread of a lower priority."""
    hanging = Hanging(toy().graphs["key"], after=after)
    broken = toy(hanging) if not lower else replace(toy(), behind={"key": Behind().graph(lambda: hanging)})
    with closing(KeyWorkers(choose=Scheduler())) as workers, listening() as told:
        stream, other = kept(p_only, workers, broken), kept(p_only, workers, toy())
        for each in (stream, other):
            each.start()
        until(lambda: stream.report().restarts == 1)
        keys = other.report().keyframes
        until(lambda: stream.report().labelled > 40 and other.report().keyframes > keys + 3)
        found = stream.report()
        for each in (stream, other):
            each.stop()
        hanging.go_on.set()
    assert found.ok and found.problem == "" and found.keyframes > 3
    (line,) = [line for line in told if line.startswith("ERROR")]
    assert "the stage key hangs for" in line and "begun anew" in line
    assert other.report().restarts == 0
    assert hanging.calls == after + 1, "the new stream has graphs of its own"
    # Graphs of other tests' bundles may still wait for calls.
    ended = ("edge-vss key", "edge-vss keep", f"edge-vss {p_only.name}")
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith(ended)])


def test_labels_are_carried_meanwhile_and_their_age_is_told(p_only: Path) -> None:
    seen: list[tuple[Frame, Prediction]] = []

    class Noting:
        def write(self, frame: Frame, prediction: Prediction) -> None:
            seen.append((frame, prediction))

        def close(self) -> None:
            pass

    with closing(KeyWorkers()) as workers:
        stream = kept(p_only, workers, toy(slow(0.1)), sinks=lambda context: [Noting()])
        facts = facts_of(stream)
        stream.start()
        until(lambda: sum(fact["key"] for fact in list(facts)) > 4)
        stream.stop()
    report = stream.report()
    assert report.keyframes == sum(fact["key"] for fact in facts) and report.labelled == len(facts)
    assert report.restarts == report.skipped == 0 and report.doubt is not None
    anchor = -1
    for fact, (frame, prediction) in zip(facts, seen, strict=False):
        assert (
            fact["index"] == frame.index and fact["frames_since_key"] == frame.index - prediction.anchor_index
        )
        assert fact["key_age_seconds"] == pytest.approx(fact["frames_since_key"] / FPS, abs=0.001)
        assert fact["key"] == (prediction.anchor_index != anchor or not frame.index)
        anchor = prediction.anchor_index
    # The network takes 100 ms and a frame 40: labels come late, and none wait for them.
    assert [fact for fact in facts if fact["key"] and fact["frames_since_key"] >= 2]
    assert all(fact["reason"].startswith("carried") for fact in facts if fact["frames_since_key"])


def test_doubt_is_measured_at_every_distance_from_the_key_frame(p_only: Path) -> None:
    stream = Stream(str(p_only), toy(policy="interval:4"))
    facts = facts_of(stream)
    stream.start()
    until(lambda: len(facts) >= 29)
    stream.stop()
    measured = [fact for fact in facts if fact["doubt"] is not None]
    assert {fact["frames_since_key"] for fact in measured} == {1, 2, 3}
    assert len(measured) <= len(facts) / 3


def test_stopping_while_the_network_hangs_ends_in_time(p_only: Path) -> None:
    hanging = Hanging(toy().graphs["key"], after=1)
    workers = KeyWorkers()
    stream = Stream(str(p_only), toy(hanging), Keeping(hang_seconds=LONG), desk=workers.desk)
    stream.start()
    until(lambda: hanging.calls == 2 and stream.report().labelled > 10)
    stream.stop()
    assert not [one for one in threading.enumerate() if one.name.startswith(f"edge-vss keep {stream.name}")]
    hanging.go_on.set()
    workers.close()


def test_a_desk_that_is_given_up_leaves_the_workers_to_others() -> None:
    go_on = threading.Event()
    with closing(KeyWorkers()) as workers:
        hung, good = workers.desk(), workers.desk()
        told: list[OptionError] = []
        given: list[Computed] = []
        made = Computed({}, {}, {})

        def hang() -> Computed:
            go_on.wait(LONG)
            return made

        def wait_for_ever() -> None:
            try:
                hung.now(hang)
            except OptionError as error:
                told.append(error)

        waiting = threading.Thread(target=wait_for_ever)
        waiting.start()
        until(lambda: hung.number in workers._shared.threads.values())
        late = threading.Thread(target=lambda: given.append(good.now(lambda: made)))
        late.start()
        until(lambda: bool(workers._shared.urgent))
        hung.give_up()
        for thread in (waiting, late):
            thread.join(LONG)
        assert "closed while its first key frame was under way" in str(told[0])
        assert given == [made]
        # What the session still asks for there is not begun.
        with pytest.raises(OptionError, match="closed while"):
            hung.now(lambda: pytest.fail("it was begun"))
        assert len(workers._shared.threads) == 1
        go_on.set()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("edge-vss key")])


def test_a_graph_that_hangs_behind_does_not_keep_the_program_from_ending() -> None:
    code = (
        "import threading, time\n"
        "from edge_vss.runtimes._behind import Behind\n"
        "begun = threading.Event()\n"
        "graph = Behind().graph(lambda: lambda given: (begun.set(), time.sleep(1000)))\n"
        "threading.Thread(target=graph, args=({},), daemon=True).start()\n"
        "assert begun.wait(60)\nprint('ended')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


@NEEDS_WEB
@pytest.mark.parametrize(
    ("change", "policy", "said"),
    [
        # As lmanet: a key frame remembers the key frame before it.
        ("memory", "interval:1", "sees every frame in order"),
        # As tv3s --carry feature: what runs in between writes the memory.
        ("labels", "interval:5", "goes on at every frame"),
    ],
)
def test_families_that_cannot_are_refused_before_anything_starts(
    p_only: Path, monkeypatch: pytest.MonkeyPatch, change: str, policy: str, said: str
) -> None:
    whole = toys.segmenter(SIZE, (24, 32), policy)
    kinds = {
        "memory": StateSpec("memory", (1, 2, 24, 32), "float32", next="scores"),
        "labels": StateSpec("labels", (1, *SIZE), "uint8"),
    }
    manifest = replace(whole.manifest, state=(*whole.manifest.state, kinds[change]))
    monkeypatch.setattr(EngineChoice, "load", lambda *_: replace(whole, manifest=manifest))
    monkeypatch.setattr(Stream, "start", lambda _: pytest.fail("a stream was started"))
    done = CliRunner().invoke(app, ["serve", "toy.vss", str(p_only), "--background", "--port", "0"])
    assert done.exit_code == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


@NEEDS_WEB
def test_the_program_serves_two_cameras_in_the_background(tiny_bundle: Path, tiny_video: Path) -> None:
    command = [sys.executable, "-m", "edge_vss", "serve", str(tiny_bundle), str(tiny_video), str(tiny_video)]
    more = ["--background", "--policy", "continuous", "--port", "0"]
    with killed_at_last(subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        match = re.fullmatch(
            r"open http://127\.0\.0\.1:(\d+)/\?token=([\w-]{32})\n", process.stderr.readline()
        )
        assert match
        connection = HTTPConnection("127.0.0.1", int(match[1]), timeout=LONG)

        def reports() -> list[dict[str, Any]]:
            connection.request("GET", "/api/streams", headers={"Authorization": f"Bearer {match[2]}"})
            return list(json.loads(connection.getresponse().read())["streams"])

        until(lambda: all(report["keyframes"] > 10 for report in reports()))
        found = reports()
        connection.close()
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(LONG) == 0
    assert [report["name"] for report in found] == [tiny_video.name, f"{tiny_video.name} (2)"]
    assert rest == "stopped\n" and all(report["ok"] and not report["skipped"] for report in found)


def test_calls_of_a_graph_behind_share_a_thread_that_ends_with_it() -> None:
    def threads() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name.startswith("edge-vss graph")}

    before, used = threads(), set[threading.Thread]()

    def named(tensors: Mapping[str, Any]) -> dict[str, Any]:
        used.add(threading.current_thread())
        if not tensors:
            raise ZeroDivisionError("of the graph's own")
        return dict(tensors)

    compiled = threading.Event()

    def compiling() -> Graph:
        compiled.set()
        return named

    graph = Behind().graph(compiling)
    graph.prepare()
    assert compiled.wait(10)
    for number in range(20):
        assert graph({"number": number}) == {"number": number}  # type: ignore[dict-item]
    with pytest.raises(ZeroDivisionError, match="of the graph's own"):
        graph({})
    assert used == threads() - before and len(used) == 1
    del graph
    gc.collect()
    until(lambda: threads() == before)
