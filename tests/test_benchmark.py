import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_vss.cli import app
from edge_vss.errors import OptionError, SourceError
from edge_vss.plugins import Plugin
from edge_vss.runtimes import opening
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sinks import SINKS, video
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.runtimes.timing import STAGES
from edge_vss.runtimes.tools import benchmark as measure
from edge_vss.runtimes.tools.benchmark import profile
from tests.helpers.cli import CliRunner


@pytest.fixture(scope="module")
def segmenter(tiny_bundle: Path) -> Segmenter:
    return load(tiny_bundle)


def test_both_sides_see_every_frame_and_every_stage_is_counted(
    segmenter: Segmenter, tiny_video: Path
) -> None:
    found = profile(segmenter, tiny_video, "interval:6")
    assert found.frames == 24 and found.policy == "interval:6"
    assert found.key_share == pytest.approx(4 / 24) and found.baseline.key_share == 1.0
    assert list(found.stages)[: len(STAGES)] == list(STAGES)
    counts = {name: stage.count for name, stage in found.stages.items()}
    assert counts["decode"] == counts["post"] == counts["sink"] == 24
    assert counts["key"] == 4 and counts["state"] == 20 and counts["nonkey"] == 0
    base = {name: stage.count for name, stage in found.baseline.stages.items()}
    assert base["key"] == 24 and base["state"] == 0 and base["sink"] == 24


def test_the_numbers_fit_each_other(segmenter: Segmenter, tiny_video: Path) -> None:
    found = profile(segmenter, tiny_video)
    assert found.speedup == pytest.approx(found.fps / found.baseline.fps, abs=1e-3)
    for side in (found, found.baseline):
        latency = side.latency_ms
        assert 0 < latency.p50 <= latency.p95 <= latency.p99
        # A frame's latency is the sum of its stages, so at the median it is more than its decoding alone.
        assert latency.p50 > side.stages["decode"].p50 > 0
    assert found.peak_rss_mb > 20


def test_chunks_cover_a_clip_once_whatever_their_length(
    segmenter: Segmenter, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for frames in (1, 7, 24, 100):
        monkeypatch.setattr(measure, "CHUNK_FRAMES", frames)
        found = profile(segmenter, tiny_video, "interval:4", sink="none")
        assert found.frames == 24
        assert found.key_share == pytest.approx(0.25)
        assert found.stages["decode"].count == found.baseline.stages["decode"].count == 24


def test_a_limit_holds_for_both_sides(segmenter: Segmenter, tiny_video: Path) -> None:
    found = profile(segmenter, tiny_video, limit=10)
    assert found.frames == 10 and found.baseline.stages["key"].count == 10


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The motion of every source that is opened from now on."""
    opened: list[str] = []

    def watch(uri: Path, *, motion: str, **options: Any) -> Source:
        opened.append(motion)
        return open_source(uri, motion=motion, **options)

    monkeypatch.setattr(opening, "open_source", watch)
    return opened


def test_the_baseline_pays_for_no_motion(
    segmenter: Segmenter, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = watched(monkeypatch)
    profile(segmenter, tiny_video, opening=opening.Opening(motion="flow"), limit=4)
    assert opened == ["flow", "flow", "none"]


def test_a_sink_that_looks_at_motion_gets_it(
    segmenter: Segmenter, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = watched(monkeypatch)
    profile(segmenter, tiny_video, "interval:1", sink="video", limit=4)
    drawn = Plugin("drawn", video.open, replace(video.DESCRIPTION, motion=True))
    find = type(SINKS).find
    monkeypatch.setattr(
        type(SINKS), "find", lambda kind, name: drawn if name == "drawn" else find(kind, name)
    )
    profile(segmenter, tiny_video, "interval:1", sink="drawn", limit=4)
    assert opened == ["none", "none", "none", "none", "auto", "none"]


def test_nothing_is_left_behind(
    segmenter: Segmenter, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert profile(segmenter, tiny_video, sink="video", limit=6).stages["sink"].count == 6
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_is_absent_and_a_sink_that_is_unknown_are_refused(
    segmenter: Segmenter, tiny_video: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="absent"):
        profile(segmenter, tmp_path / "absent.mp4")
    with pytest.raises(OptionError, match="sink"):
        profile(segmenter, tiny_video, sink="tape")


def test_a_live_source_is_opened_once_to_be_refused(
    segmenter: Segmenter, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def live(uri: Path, *, motion: str, **options: Any) -> Source:
        opened.append(motion)
        return open_source(uri, motion=motion, **{**options, "live": True})

    monkeypatch.setattr(opening, "open_source", live)
    with pytest.raises(OptionError, match="is live and cannot be run twice"):
        profile(segmenter, tiny_video)
    assert opened == ["auto"]


def test_both_ways_every_frame_is_counted_once_whatever_the_chunks(
    segmenter: Segmenter, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for frames in (1, 7, 24, 100):
        monkeypatch.setattr(measure, "CHUNK_FRAMES", frames)
        found = profile(segmenter, tiny_video, "interval:5", sink="labels", both_ways=True)
        assert found.both_ways and found.name == "interval:5, both ways" and found.frames == 24
        counts = {name: stage.count for name, stage in found.stages.items()}
        # Of 19 frames in between, three come after the last key frame: 16 are labelled twice.
        assert counts["decode"] == counts["sink"] == counts["choose"] == 24 and counts["state"] == 19
        assert found.between_ms is not None and found.between_ms.p50 > 0
        # Nothing is chosen where the key graph labels every frame.
        assert "choose" not in found.baseline.stages and found.baseline.between_ms is None
        assert found.baseline.stages["key"].count == 24


def test_both_ways_a_limit_holds_and_another_bundle_does_the_same(
    segmenter: Segmenter, tiny_video: Path
) -> None:
    found = profile(
        segmenter, tiny_video, "interval:4", limit=10, sink="none", against=segmenter, both_ways=True
    )
    assert found.frames == 10 and found.baseline.between_ms is not None
    assert found.baseline.stages["choose"].count == 10


def test_both_ways_is_said_in_every_form(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    page, report = tmp_path / "page.html", tmp_path / "found.json"
    arguments = ["profile", str(tiny_bundle), str(tiny_video), "--both-ways", "--policy", "interval:6"]
    done = CliRunner().invoke(app, [*arguments, "--sink", "none", "--html", str(page), "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert "interval:6, both ways" in done.stderr and "between p50 ms" in done.stderr
    assert "from the key frames on both sides" in page.read_text()
    found = json.loads(report.read_text())
    assert found["both_ways"] is True and found["between_ms"]["p50"] > 0 and "choose" in found["stages"]
    forward = CliRunner().invoke(app, [*arguments[:3], "--sink", "none", "--html", str(page)])
    assert forward.exit_code == 0
    shown = forward.stderr + page.read_text()
    assert "both ways" not in shown and "both sides" not in shown


@pytest.mark.parametrize("late", [["--background"], ["--pace", "30"], ["--streams", "2"]])
def test_both_ways_is_refused_where_labels_are_to_come_in_time(
    tiny_bundle: Path, tiny_video: Path, late: list[str]
) -> None:
    done = CliRunner().invoke(app, ["profile", str(tiny_bundle), str(tiny_video), "--both-ways", *late])
    assert done.exit_code == 2 and "labels from both sides wait" in " ".join(done.stderr.split())


def test_a_page_of_a_pace_is_refused(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ["profile", str(tiny_bundle), str(tiny_video), "--pace", "30", "--html", str(page)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and "a pace about when labels come" in " ".join(done.stderr.split())
    assert not page.exists()


def test_both_ways_is_refused_before_a_bundle_that_remembers_runs(
    segmenter: Segmenter, tiny_video: Path
) -> None:
    state = replace(segmenter.manifest.state[0], next="later")
    remembers = replace(segmenter, manifest=replace(segmenter.manifest, state=(state,)))
    for bundles in ((remembers, None), (segmenter, remembers)):
        with pytest.raises(OptionError, match="depend on the frames before them"):
            profile(bundles[0], tiny_video, against=bundles[1], both_ways=True)


def test_two_bundles_under_one_policy(tiny_bundle: Path, tiny_video: Path) -> None:
    found = profile(load(tiny_bundle), tiny_video, "interval:6", sink="none", against=load(tiny_bundle))
    assert found.key_share == found.baseline.key_share == pytest.approx(4 / 24)
    assert found.baseline.stages["motion"].count == 24 and found.speedup > 0


def test_the_command_line_says_when_int8_does_not_pay(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    from tests.helpers.bundles import make_bundle

    path = make_bundle(tmp_path, precision="int8", calibrate=tiny_video)
    plain = CliRunner().invoke(app, ["profile", str(path), str(tiny_video), "--sink", "none"])
    assert plain.exit_code == 0 and "give the bundle in fp32 as --against" in plain.output
    real = measure.profile
    monkeypatch.setattr(
        measure, "profile", lambda *args, **kwargs: replace(real(*args, **kwargs), speedup=0.5)
    )
    arguments = ["profile", str(path), str(tiny_video), "--sink", "none", "--against", str(tiny_bundle)]
    slow = CliRunner().invoke(app, arguments)
    assert slow.exit_code == 0 and f"int8 is slower than {tiny_bundle} here: take that" in slow.output
