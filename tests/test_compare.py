"""Engines and precisions side by side, each in a process of its own."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss import bundle
from edge_vss.cli import app
from edge_vss.errors import ModelError, OptionError
from edge_vss.runtimes.timing import Latency
from edge_vss.runtimes.tools import doctor
from edge_vss.runtimes.tools.compare import (
    Candidate,
    Row,
    candidates,
    compare,
    engines_of,
    recommendation,
    slower_than_full,
)
from edge_vss.runtimes.tools.worker import Measurement
from tests.helpers import third_party
from tests.helpers.cli import CliRunner


def test_a_bundle_runs_on_every_engine_that_reads_it(tiny_bundle: Path) -> None:
    found = candidates(tiny_bundle)
    names = [candidate.name for candidate in found]
    assert names[0] == "onnxruntime fp32"
    assert ("openvino fp32 (onnx file)" in names) == (
        "openvino" in {plugin.name for plugin in engines_of("onnx")}
    )
    assert {candidate.bundle for candidate in found} == {tiny_bundle}


def test_numbers_and_labels_of_real_runs(tiny_bundle: Path, tiny_video: Path) -> None:
    chosen = candidates(tiny_bundle)
    found = compare(chosen, tiny_video, frames=16)
    assert found.reference == "onnxruntime fp32"
    rows: Any = found.to_json()["rows"]
    for row in rows:
        assert row["frames"] == 16 and row["fps"] > 0 and row["memory_mb"] > 0
        assert row["start_seconds"] > 0 and row["first_start_seconds"] > 0
        assert row["agreement"] >= 0.999 and set(row["graphs_ms"]) == {"key", "state"}
        assert set(row["latency_ms"]) == {"p50", "p95", "p99"}
    best = max(rows, key=lambda row: row["fps"])
    assert found.recommendation.startswith(f"take {best['name']}: ")


def test_both_ways_is_measured_and_said(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    report, page = tmp_path / "found.json", tmp_path / "page.html"
    arguments = ["compare", str(tiny_bundle), str(tiny_video), "--policy", "interval:6", "--both-ways"]
    outputs = ["--frames", "16", "--json", str(report), "--html", str(page)]
    done = CliRunner().invoke(app, [*arguments, *outputs])
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert found["both_ways"] is True
    assert all(row["frames"] == 16 and row["between_ms"]["p50"] > 0 for row in found["rows"])
    assert "from the key frames on both sides" in done.stderr
    assert "from the key frames on both sides" in page.read_text()


def test_both_ways_is_refused_before_anything_is_measured(
    tiny_bundle: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = bundle.read(tiny_bundle)
    remembers = replace(manifest, state=(replace(manifest.state[0], next="later"),))
    chosen = candidates(tiny_bundle)
    monkeypatch.setattr("edge_vss.runtimes.tools.compare.bundle.read", lambda path: remembers)
    said: list[str] = []
    with pytest.raises(OptionError, match="depend on the frames before them"):
        compare(chosen, tiny_video, frames=16, both_ways=True, tell=said.append)
    assert not said


def test_an_engine_that_crashes_takes_nothing_with_it(
    tiny_bundle: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if "numpy" in Path(command[3]).read_text():
            command = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})"]
        return real(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    chosen = [
        Candidate(tiny_bundle, "numpy", "onnx", name="broken"),
        Candidate(tiny_bundle, "onnxruntime", "onnx", name="good fp32"),
    ]
    found = compare(chosen, tiny_video, frames=16)
    assert found.rows[0].problem == "the engine crashed (SIGSEGV)"
    assert found.rows[1].agreement == 1 and "take good fp32" in found.recommendation


def test_what_goes_wrong_is_said_in_a_row(tiny_bundle: Path, tmp_path: Path) -> None:
    found = compare(
        [Candidate(tiny_bundle, "onnxruntime", "onnx", name="x")], tmp_path / "none.mp4", frames=16
    )
    assert "none.mp4" in found.rows[0].problem and found.reference is None
    assert found.recommendation == "nothing runs here: see the problems above"
    with pytest.raises(OptionError, match="no engine for these bundles is installed"):
        compare([], tmp_path / "none.mp4")


def row(name: str, fps: float, agreement: float | None = None, **candidate: Any) -> Row:
    measured = Measurement(1.0, 16, fps, Latency(1.0, 2.0, 3.0), {"key": 1.0}, 10.0)
    named: dict[str, Any] = {"target": "onnx", "name": name, **candidate}
    return Row(Candidate(Path("a.vss"), "a", **named), measured, agreement=agreement)


def test_a_reduced_precision_that_is_slower_than_the_same_network_in_full_is_named() -> None:
    found = [
        row("a whole", 30, model="m"),
        row("a small", 20, model="m", precision="int8"),
        row("a smaller", 40, model="m", precision="int8"),
        row("another model", 1, model="n", precision="int8"),
        row("another target", 1, model="m", target="tflite", precision="int8"),
        row("elsewhere", 1, model="m", provider="gpu", precision="int8"),
        Row(Candidate(Path("b.vss"), "a", "onnx", precision="int8", model="m"), problem="it broke"),
    ]
    assert slower_than_full(found) == ["a small is slower than fp32 here (20.0 against 30.0 fps)"]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            [("a fp32", 10, 1.0), ("a int8", 20, 0.99)],
            "take a int8: 20.0 fps, the fastest here, with 99.0% of",
        ),
        ([("a fp32", 10, 1.0), ("a int8", 20, 0.99)], "; with all of them, a fp32 at 10.0 fps"),
        ([("a fp32", 10, 1.0), ("a int8", 20, 0.80)], "take a fp32: 10.0 fps"),
    ],
)
def test_the_recommendation_is_one_plain_sentence(
    table: list[tuple[str, float, float]], sentence: str
) -> None:
    found = recommendation([row(*entry) for entry in table])
    assert sentence in found and "\n" not in found


def test_the_reference_is_full_precision_on_the_cpu_by_the_usual_engine(
    tiny_bundle: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(job: Any, folder: Path) -> Measurement:
        np.save(job.labels or folder / "unused.npy", np.zeros((2, 4, 4), np.uint8))
        return Measurement(1.0, 16, 10.0, Latency(1.0, 2.0, 3.0), {"key": 1.0}, 10.0)

    monkeypatch.setattr("edge_vss.runtimes.tools.compare._measured", measured)
    chosen = [
        Candidate(tiny_bundle, "onnxruntime", "onnx", "", "reduced", "int8"),
        Candidate(tiny_bundle, "openvino", "onnx", "", "unusual"),
        Candidate(tiny_bundle, "onnxruntime", "onnx", "cuda", "elsewhere"),
        Candidate(tiny_bundle, "onnxruntime", "onnx", "", "expected"),
    ]
    assert compare(chosen, tiny_video).reference == "expected"
    assert compare(chosen[:2], tiny_video).reference == "unusual"


def test_an_engine_of_another_package_is_one_module_and_is_seen_everywhere(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party.install(tmp_path, "engine", "steam", third_party.ENGINE, monkeypatch)
    assert {("steam", ""), ("steam", "boiler")} <= {(c.engine, c.provider) for c in candidates(tiny_bundle)}
    chosen = [
        candidate for candidate in candidates(tiny_bundle) if candidate.engine in ("steam", "onnxruntime")
    ]
    found = compare(chosen, tiny_video, frames=16)
    by_name = {row.candidate.name: row for row in found.rows}
    assert found.reference == "onnxruntime fp32"
    assert by_name["steam boiler fp32"].agreement == by_name["steam fp32"].agreement == 1

    engine = doctor.report().engines["steam"]
    assert engine.installed and engine.version == "1.0" and engine.providers == ("boiler",)
    shown = CliRunner().invoke(app, ["doctor"]).stderr
    assert "engine steam" in shown and "runs onnx · boiler" in shown
    command = ["run", str(tiny_bundle), str(tiny_video), "--engine", "steam", "--json", "-"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and json.loads(done.stdout)["frames"] == 24


def test_the_command_line_compares_bundles(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    report = tmp_path / "found.json"
    arguments = ["compare", str(tiny_bundle), str(tiny_video), "--frames", "16", "--json", str(report)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert len(found["rows"]) == len(candidates(tiny_bundle)) and "take " in found["recommendation"]
    alone = CliRunner().invoke(app, ["compare", str(tiny_bundle)])
    assert alone.exit_code == 1 and "give a video as the last argument" in alone.stderr


def test_a_model_is_converted_for_every_target(tmp_path: Path, tiny_video: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.matrix import convert_each
    from tests.helpers.bundles import make_model

    said: list[str] = []
    conversion = Conversion(make_model(tmp_path / "m.pt2"), classes=3, size=(96, 128))
    made, problems = convert_each(conversion, tmp_path, ["fp32"], tiny_video, said.append)
    assert {bundle.read(path).target for path in made} == {"onnx", "openvino", "tflite"} - {
        line.partition(":")[0] for line in problems
    }
    assert len(said) == len(made)
    with pytest.raises(ModelError, match=r"none\.pt2 cannot be read"):
        convert_each(replace(conversion, model=tmp_path / "none.pt2"), tmp_path / "b", ["fp32"], tiny_video)
