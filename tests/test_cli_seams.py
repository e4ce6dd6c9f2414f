"""The command line reaches every seam: sinks of other packages, and how a source is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_vss.runtimes import opening
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from tests.helpers import third_party
from tests.test_cli import Done

SOURCE_VERBS = ("run", "profile", "evaluate", "compare", "motion")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What every source was opened with."""
    seen: list[dict[str, Any]] = []

    def watch(uri: Any, **options: Any) -> Source:
        seen.append(options)
        return open_source(uri, **options)

    monkeypatch.setattr(opening, "open_source", watch)
    return seen


def test_a_sink_of_another_package_is_one_module(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party.install(tmp_path, "sink", "marks", third_party.SINK, monkeypatch)
    place, labels = tmp_path / "marks.txt", tmp_path / "labels"
    sinks = ("--sink", f"marks={place}", "--sink", f"labels={labels}")
    done = Done("run", tiny_bundle, tiny_video, *sinks, "--limit", "3", "--json", "-")
    assert done.json["outputs"] == {"labels": str(labels), "marks": str(place)}
    assert [line.split()[0] for line in place.read_text().splitlines()] == ["0", "1", "2"]
    assert len(GroundTruth(labels)) == 3
    assert f"3 frames in {place}" in done.err and f"3 label maps in {labels}" in done.err


def test_short_options_and_sinks_go_together(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    # The folder does not exist yet, and the file in it is named first.
    arguments = ("--jsonl", seen / "o.jsonl", "--sink", f"labels={seen}", "--limit", "2")
    done = Done("run", tiny_bundle, tiny_video, *arguments)
    assert done.status == 0, done.err
    assert sorted(path.name for path in seen.iterdir()) == ["000000.png", "000001.png", "o.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--sink", "labels"], 2, "'labels' is not like labels=seen/"),
        (["--sink", "labels="], 2, "is not like"),
        (["--sink", "=x"], 2, "is not like"),
        (["--sink", "tape=x"], 1, "no sink is called 'tape'"),
        (["--sink", "labels=a", "--save-labels", "b"], 2, "the sink labels has two places"),
        (["--sink", "jsonl=-", "--json", "-"], 2, "only one of the outputs"),
        (["--ffmpeg", "rtsp_transport"], 2, "'rtsp_transport' is not like rtsp_transport=tcp"),
        (["--timeout", "0"], 1, "timeout_seconds must be a number above 0"),
        (["--reconnect", "-1"], 2, "--reconnect"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tiny_bundle: Path,
    tiny_video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = Done("run", tiny_bundle, tiny_video, *arguments)
    assert done.status == status and said in " ".join(done.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_how_a_source_is_opened_reaches_it(
    tiny_bundle: Path, tiny_video: Path, opened: list[dict[str, Any]]
) -> None:
    ffmpeg = ("--ffmpeg", "probesize=50000", "--ffmpeg", "analyzeduration=1000000")
    how = ("--timeout", "3", "--reconnect", "20", *ffmpeg)
    truth = ("--ground-truth", tiny_video.parent / "truth")
    for command in (
        ("run", tiny_bundle, tiny_video),
        ("profile", tiny_bundle, tiny_video, "--limit", "4"),
        ("evaluate", tiny_bundle, tiny_video, *truth),
        ("motion", tiny_video, *truth, "--limit", "6"),
    ):
        opened.clear()
        done = Done(*command, *how)
        assert done.status == 0, done.err
        assert opened and all(
            (options["timeout_seconds"], options["reconnect_seconds"]) == (3, 20) for options in opened
        )
        assert all(
            options["options"] == {"probesize": "50000", "analyzeduration": "1000000"} for options in opened
        ), command


@pytest.mark.parametrize("verb", SOURCE_VERBS)
def test_every_verb_that_opens_a_source_has_the_options(verb: str) -> None:
    shown = Done(verb, "--help").out
    assert all(option in shown for option in ("--timeout", "--reconnect", "--ffmpeg"))


def test_evaluate_stops_early(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    truth = tiny_video.parent / "truth"
    arguments = ("evaluate", tiny_bundle, tiny_video, "--truth", truth, "--limit", "7", "--json", "-")
    found = Done(*arguments).json
    assert found["frames"] == 7 and found["mvc16"] is None and found["miou"] > 90
    few = tmp_path / "few"
    few.mkdir()
    for index in range(5):
        (few / f"{index}.png").write_bytes((truth / f"{index}.png").read_bytes())
    done = Done("evaluate", tiny_bundle, tiny_video, "--truth", few, "--limit", "7")
    assert "5 of 7 frames have a label map" in done.err and "missing: 5.png, 6.png" in done.err
    assert "missing" not in Done("evaluate", tiny_bundle, tiny_video, "--truth", few, "--limit", "5").err


def test_a_run_says_how_many_key_frames_had_no_i_frame(tiny_bundle: Path, tiny_video: Path) -> None:
    done = Done("run", tiny_bundle, tiny_video, "--policy", "gop:10", "--json", "-")
    assert done.json["keyframes"] == 3 and json.loads(done.out)["frames"] == 24
    assert "2 key frames came without an I-frame, because the policy is gop:10" in done.err
