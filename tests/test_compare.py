"""Engines and precisions side by side, each in a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_vss import bundle
from edge_vss.cli import app
from edge_vss.errors import ModelError, OptionError
from edge_vss.runtimes.tools import compare as work
from edge_vss.runtimes.tools.compare import Candidate, candidates, compare, engines_of, quantised_is_slower
from tests.helpers.cli import CliRunner


def test_a_bundle_runs_on_every_engine_that_reads_it(tiny_bundle: Path) -> None:
    found = candidates(tiny_bundle)
    names = [candidate.name for candidate in found]
    assert names[0] == "onnxruntime fp32"
    assert ("openvino fp32 (ONNX file)" in names) == (
        "openvino" in {plugin.name for plugin in engines_of("onnx")}
    )
    assert {candidate.bundle for candidate in found} == {tiny_bundle}


def test_numbers_and_labels_of_real_runs(tiny_bundle: Path, tiny_video: Path) -> None:
    chosen = candidates(tiny_bundle)
    found = compare(chosen, tiny_video, frames=16)
    assert found["reference"] == "onnxruntime fp32"
    for row in found["rows"]:
        assert row["frames"] == 16 and row["fps"] > 0 and row["memory_mb"] > 0 and row["start_seconds"] > 0
        assert row["agreement"] >= 0.999 and set(row["graphs_ms"]) == {"key", "state"}
    best = max(found["rows"], key=lambda row: row["fps"])
    assert found["recommendation"].startswith(f"take {best['name']}: ")


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
        Candidate(tiny_bundle, "numpy", "", "broken"),
        Candidate(tiny_bundle, "onnxruntime", "", "good fp32"),
    ]
    found = compare(chosen, tiny_video, frames=16)
    assert found["rows"][0]["problem"] == "the engine crashed (SIGSEGV)"
    assert found["rows"][1]["agreement"] == 1 and "take good fp32" in found["recommendation"]


def test_what_goes_wrong_is_said_in_a_row(tiny_bundle: Path, tmp_path: Path) -> None:
    found = compare([Candidate(tiny_bundle, "onnxruntime", "", "x")], tmp_path / "none.mp4", frames=16)
    assert "none.mp4" in found["rows"][0]["problem"] and found["reference"] is None
    assert found["recommendation"] == "nothing runs here: see the problems above"
    with pytest.raises(OptionError, match="no engine for these bundles is installed"):
        compare([], tmp_path / "none.mp4")


def rows(**speeds: float) -> list[dict[str, Any]]:
    return [{"name": name.replace("_", " "), "fps": fps} for name, fps in speeds.items()]


def test_a_slower_int8_is_named() -> None:
    found = quantised_is_slower(rows(a_fp32=30, a_int8=20, b_fp32=10, b_int8=40, c_int8=1))
    assert found == ["a int8 is slower than fp32 here (20.0 against 30.0 fps)"]


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
    found = work._recommendation([{"name": n, "fps": f, "agreement": a} for n, f, a in table])
    assert sentence in found and "\n" not in found


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
    from edge_vss.converters.matrix import every
    from tests.helpers.bundles import make_model

    options: dict[str, Any] = {"classes": 3, "size": (96, 128)}
    said: list[str] = []
    made, problems = every(
        make_model(tmp_path / "m.pt2"), tmp_path, ["fp32"], tiny_video, said.append, **options
    )
    assert {bundle.read(path).target for path in made} == {"onnx", "openvino", "tflite"} - {
        line.partition(":")[0] for line in problems
    }
    assert len(said) == len(made)
    with pytest.raises(ModelError, match=r"none\.pt2 cannot be read"):
        every(tmp_path / "none.pt2", tmp_path / "b", ["fp32"], tiny_video, **options)
