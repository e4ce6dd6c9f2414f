"""The command line where the locale is C: names that are not ASCII neither end it nor become others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_vss import bundle

C = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "EDGE_VSS_CACHE": ""}


@pytest.fixture
def folder(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> Path:
    """A place where nothing has a name in ASCII."""
    place = tmp_path / "straße_ü"
    place.mkdir()
    shutil.copytree(tiny_bundle, place / "straße.vss")
    shutil.copytree(tiny_video.parent / "truth", place / "wahrheit_ä")
    shutil.copy(tiny_video, place / "fähre.mp4")
    return place


def called(folder: Path, *command: str, code: int = 0) -> tuple[str, str]:
    """What the program prints, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "edge_vss", *command], cwd=folder, capture_output=True, env={**os.environ, **C}
    )
    said = done.stderr.decode("ascii")
    assert done.returncode == code and "Traceback" not in said, said
    return done.stdout.decode("utf-8"), said


def test_files_are_read_and_written_under_their_names(folder: Path) -> None:
    outputs = ("--out", "übe.mp4", "--save-labels", "läb", "--json", "jß.json", "--state", "stäte.npz")
    lines, _ = called(folder, "run", "straße.vss", "fähre.mp4", "--limit", "3", "--jsonl", "-", *outputs)
    assert len(lines.splitlines()) == 3
    assert {"übe.mp4", "läb", "jß.json", "stäte.npz"} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "jß.json").read_text("utf-8"))["outputs"]["video"] == "übe.mp4"
    told, _ = called(folder, "evaluate", "straße.vss", "fähre.mp4", "--truth", "wahrheit_ä", "--json", "-")
    assert json.loads(told)["ground_truth"]["labelled"] == 24
    (folder / "bilder_ü").mkdir()
    (folder / "läb" / "000000.png").rename(folder / "bilder_ü" / "ü.png")
    called(folder, "run", "straße.vss", "bilder_ü")
    called(folder, "run", "straße.vss", "bilder_ü/ü*.png", "--jsonl", "zeilen_ß.jsonl")
    assert len((folder / "zeilen_ß.jsonl").read_text().splitlines()) == 1


def test_an_error_is_one_line_of_ascii(folder: Path) -> None:
    _, said = called(folder, "run", "straße.vss", "nicht_dä.mp4", code=1)
    assert said.count("\n") == 1 and said.startswith("error: no such file: nicht_d")


def test_a_model_is_converted_and_its_classes_are_read(folder: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    from tests.helpers.bundles import make_model

    make_model(folder / "modèle.pt2")
    (folder / "klassen_ö.txt").write_text("Boden\nMauer\nFähre\n", encoding="utf-8")
    options = ("--size", "96x128", "--classes", "klassen_ö.txt", "--preview", "fähre.mp4")
    called(folder, "convert", "modèle.pt2", *options, "-o", "neu_ö.vss")
    manifest = bundle.read(folder / "neu_ö.vss")
    assert manifest.classes == ("Boden", "Mauer", "Fähre") and manifest.source["name"] == "modèle.pt2"
    assert (folder / "neu_ö.preview.png").is_file()
    lines, _ = called(folder, "run", "neu_ö.vss", "fähre.mp4", "--limit", "1", "--jsonl", "-")
    assert set(json.loads(lines)["classes"]) <= {"Boden", "Mauer", "Fähre"}
    told, _ = called(folder, "inspect", "neu_ö.vss", "--json", "-")
    assert json.loads(told)["classes"] == ["Boden", "Mauer", "Fähre"]
