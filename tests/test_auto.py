"""``--engine auto``: what is quickest here is taken, and what goes wrong with a candidate costs nothing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss import bundle, label, load, open_source
from edge_vss.cli import app
from edge_vss.errors import OptionError
from edge_vss.runtimes.engines import EngineOptions, _auto
from edge_vss.runtimes.engines._auto import best, candidates, choose, measured, remembered
from edge_vss.runtimes.engines._ways import Taken, Way
from edge_vss.runtimes.tools import doctor
from tests.helpers import third_party
from tests.helpers.cli import CliRunner
from tests.helpers.videos import encode, pan
from tests.helpers.warps import without_operations

pytest.importorskip("openvino", reason="one engine leaves no choice")
pytest.importorskip("onnxruntime", reason="one engine leaves no choice")

BAD = """
import os
from edge_vss.errors import EngineError
from edge_vss.runtimes.engines import EngineDescription, EngineOptions, onnxruntime

DESCRIPTION = EngineDescription(
    targets=("onnx",), modules=("json",), packages=("bad",), extra="", options=frozenset({"provider"}),
    accelerators=lambda: ["crash", "error", "other"],
)


def load(path, graph, options=EngineOptions()):
    if options.provider == "crash":
        os.abort()
    if options.provider == "error":
        raise EngineError("no steam: heat the boiler")
    right = onnxruntime.load(path, graph, EngineOptions(options.threads))
    if options.provider != "other":
        return right


    def other(tensors):
        found = right(tensors)
        return {name: made ^ 1 if made.dtype == "uint8" else made for name, made in found.items()}

    return other
"""


@pytest.fixture(scope="module")
def tiny_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an older writer made it: both graphs are the engine's."""
    return without_operations(tiny_bundle, tmp_path_factory.mktemp("older") / "tiny.vss")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_VSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "auto"


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The bundles that were measured, with made-up times."""
    asked: list[Path] = []

    def made_up(path: Path, options: EngineOptions, engines: Any, roles: list[str]) -> Any:
        asked.append(path)
        return {
            "key": {Way("onnxruntime", options.threads): 20.0, Way("openvino", options.threads): 5.0},
            "state": {Way("onnxruntime", options.threads): 1.0, Way("openvino", options.threads): 3.0},
        }

    monkeypatch.setattr(_auto, "measured", made_up)
    yield asked


def chosen(path: Path, **options: Any) -> dict[str, Taken]:
    manifest = bundle.read(path)
    return choose(path, manifest, EngineOptions(**options), "auto", [graph.role for graph in manifest.graphs])


def test_every_graph_is_measured_once_on_every_engine_and_labels_stay(tiny_bundle: Path, cache: Path) -> None:
    segmenter = load(tiny_bundle, "auto")
    for role, taken in segmenter.taken.items():
        assert {name.partition(",")[0] for name in taken.tried} == {"onnxruntime", "openvino"}, role
        assert all(isinstance(spent, float) for spent in taken.tried.values()), taken.tried
        assert taken.milliseconds in taken.tried.values()
    assert remembered(segmenter.manifest, EngineOptions()) == segmenter.taken
    with open_source(pan(8)) as source:
        frames = list(source)
    expected = load(tiny_bundle, "onnxruntime").session("interval:3")
    found = segmenter.session("interval:3")
    same = [np.mean(found.step(frame).labels == expected.step(frame).labels) for frame in frames]
    assert np.mean(same) >= 0.999


def test_a_candidate_that_crashes_fails_or_gives_other_labels_costs_nothing(
    tiny_bundle: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party.install(tmp_path, "engine", "bad", BAD, monkeypatch)
    taken = load(tiny_bundle, "auto").taken
    for role in ("key", "state"):
        tried = taken[role].tried
        assert str(tried["bad, crash"]).startswith("crashed (SIGABRT)")
        assert tried["bad, error"] == "no steam: heat the boiler"
        assert str(tried["bad, other"]).startswith("gives other labels in labels: 0.00%")
        assert isinstance(tried["bad"], float) and isinstance(tried["onnxruntime"], float)
        assert taken[role].way.provider == ""


def test_what_is_over_the_time_limit_is_not_taken(
    tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_auto, "LIMIT_SECONDS", 0.05)
    segmenter = load(tiny_bundle, "auto")
    assert segmenter.engine == "onnxruntime"
    assert all(taken.milliseconds is None for taken in segmenter.taken.values())


def test_the_best_of_each_graph_is_taken_and_remembered(
    tiny_bundle: Path, cache: Path, measures: list[Path]
) -> None:
    first = chosen(tiny_bundle)
    assert [first[role].way.engine for role in ("key", "state")] == ["openvino", "onnxruntime"]
    assert chosen(tiny_bundle) == first and len(measures) == 1
    segmenter = load(tiny_bundle, "auto")
    assert segmenter.engine == "openvino, onnxruntime" and len(measures) == 1
    chosen(tiny_bundle, threads=2)
    assert len(measures) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 100_000,
        lambda text: text.replace('"openvino"', '"steam"'),
        lambda text: text.replace('"milliseconds": 5.0', '"milliseconds": "5"'),
        lambda text: text.replace('"threads": 0', '"threads": -3'),
        lambda text: json.dumps({**json.loads(text), "taken": {}}),
        lambda text: json.dumps({**json.loads(text), "taken": []}),
        lambda text: json.dumps(
            {"asked": {**json.loads(text)["asked"], "machine": {}}, "taken": json.loads(text)["taken"]}
        ),
    ],
)
def test_a_choice_that_is_damaged_or_of_another_machine_is_measured_again(
    tiny_bundle: Path, cache: Path, measures: list[Path], damage: Any
) -> None:
    first = chosen(tiny_bundle)
    (file,) = cache.glob("*.json")
    text = file.read_text()
    file.write_text(damage(text))
    assert file.read_text() != text
    assert chosen(tiny_bundle) == first and len(measures) == 2
    assert chosen(tiny_bundle) == first and len(measures) == 2


def test_another_version_machine_or_graph_asks_anew(
    tiny_bundle: Path, cache: Path, measures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_vss.runtimes.engines import _remembered

    chosen(tiny_bundle)
    monkeypatch.setattr(platform, "node", lambda: "another")
    chosen(tiny_bundle)
    monkeypatch.setattr(_remembered, "_version", lambda package: "99")
    chosen(tiny_bundle)
    assert len(measures) == 3 and len(list(cache.glob("*.json"))) == 3


def test_where_nothing_can_be_written_it_is_measured_each_time(
    tiny_bundle: Path, measures: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_VSS_CACHE", "")
    assert chosen(tiny_bundle) == chosen(tiny_bundle) and len(measures) == 2
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EDGE_VSS_CACHE", str(tmp_path / "file"))
    chosen(tiny_bundle)
    assert len(measures) == 3


def test_a_full_disk_keeps_nothing_and_leaves_nothing(
    tiny_bundle: Path, cache: Path, measures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        chosen(tiny_bundle)
    assert list(cache.iterdir()) == []


def test_by_default_a_bundle_that_costs_nothing_is_not_measured(
    tiny_bundle: Path, cache: Path, measures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(tiny_bundle).engine == "onnxruntime" and not measures
    monkeypatch.setattr(_auto, "LEAST_GMAC", 0.0)
    assert load(tiny_bundle).engine == "openvino, onnxruntime" and len(measures) == 1
    monkeypatch.setenv("EDGE_VSS_ENGINE", "onnxruntime")
    assert load(tiny_bundle).engine == "onnxruntime"


def test_a_bundle_that_one_engine_runs_gets_that(
    tiny_bundle: Path, cache: Path, measures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_auto, "candidates", lambda target, options: candidates(target, options)[:1])
    assert load(tiny_bundle, "auto").engine == "onnxruntime" and not measures
    assert [plugin.name for plugin in candidates("openvino")] == ["openvino"]
    assert [plugin.name for plugin in candidates("onnx", EngineOptions(hint="latency"))] == ["openvino"]
    with pytest.raises(OptionError, match="no engine here runs 'steam'"):
        candidates("steam")


def test_what_no_longer_runs_gives_way_to_the_usual_engine(
    tiny_bundle: Path, cache: Path, measures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        _auto, "measured", lambda *_: {role: {Way("openvino", 0, "gpu9"): 1.0} for role in ("key", "state")}
    )
    segmenter = load(tiny_bundle, "auto")
    assert segmenter.engine == "onnxruntime" and segmenter.taken["key"].milliseconds is None


def ways(**times: float) -> dict[Way, float | str]:
    made: dict[Way, float | str] = {}
    for name, spent in times.items():
        engine, _, threads = name.partition("_")
        made[Way(engine, int(threads or 0))] = spent
    return made


def test_another_engine_or_more_threads_have_to_save_enough() -> None:
    taken = best({"key": ways(a=20.0, a_1=20.5, b=30.0), "state": ways(a=1.0, b=0.97)}, "a", EngineOptions())
    assert taken["key"].way == Way("a", 1)
    assert taken["state"].way == Way("a")
    taken = best({"key": ways(a=20.0, a_1=30.0, b=10.0), "state": ways(a=0.2, b=0.5)}, "a", EngineOptions())
    assert taken["key"].way == Way("b") and taken["state"].way == Way("a")
    failed: dict[Way, float | str] = {Way("a"): "crashed"}
    assert best({"key": failed}, "a", EngineOptions(3)) == {"key": Taken(Way("a", 3), None, {"a": "crashed"})}


def test_inspect_profile_and_doctor_say_what_was_taken(
    tiny_bundle: Path, tiny_video: Path, cache: Path, measures: list[Path], tmp_path: Path
) -> None:
    def shown(*words: object) -> tuple[Any, str]:
        done = CliRunner().invoke(app, [*map(str, words), "--json", str(tmp_path / "out.json")])
        assert done.exit_code == 0, done.stderr
        return json.loads((tmp_path / "out.json").read_text()), done.stderr

    found, text = shown("inspect", tiny_bundle)
    assert found["engines"] == {}
    found, text = shown("profile", tiny_bundle, tiny_video, "--engine", "auto", "--limit", "6")
    assert found["engines"]["key"]["engine"] == "openvino"
    assert found["engines"]["state"] == {
        "engine": "onnxruntime", "threads": 0, "provider": "", "milliseconds": 1.0,
        "tried": {"onnxruntime": 1.0, "openvino": 3.0},
    }  # fmt: skip
    found, text = shown("inspect", tiny_bundle)
    assert found["engines"]["key"]["milliseconds"] == 5.0 and "runs here by" in text
    report = doctor.auto()
    assert report.engines["onnx"][:2] == ("onnxruntime", "openvino") and report.remembered == 1
    assert report.folder == str(cache)


def test_measuring_needs_a_bundle_that_can_be_read(tmp_path: Path, cache: Path) -> None:
    engines = candidates("onnx")
    assert measured(tmp_path / "none.vss", EngineOptions(), engines[:1], ["key"]) == {"key": {}}


def test_many_workers_take_one_engine(
    tiny_bundle: Path, cache: Path, measures: list[Path], tmp_path: Path
) -> None:
    """What two engines run may not depend on what each worker finds quickest."""
    pytest.importorskip("pyarrow", reason="the extra label is not installed")
    clips = tmp_path / "clips"
    clips.mkdir()
    encode(clips / "a.mp4", pan(12, (48, 64)))
    found = label(tiny_bundle, [str(clips)], tmp_path / "out", engine="auto")
    assert found.frames == 12 and not found.failed
    about = json.loads((tmp_path / "out" / "label.json").read_text())
    assert about["engine"] == "openvino"
