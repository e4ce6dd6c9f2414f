import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge_vss.demo import show as demo
from edge_vss.errors import MissingExtra, OptionError, SinkError
from edge_vss.runtimes.tools.ground_truth import GroundTruth

FRAMES, INTERVAL = 20, 4


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.DemoReport, list[str]]:
    """A short demo into a folder where a longer one has been."""
    pytest.importorskip("torch", reason="the converter's half is not installed")
    out = tmp_path_factory.mktemp("demo")
    (out / "ground_truth").mkdir()
    (out / "ground_truth" / "000900.png").write_bytes(b"left over")
    (out / "overlay.mp4").write_bytes(b"left over")
    told: list[str] = []
    return demo.demo(out, FRAMES, INTERVAL, told.append), told


def test_the_numbers_say_what_was_gained(shown: tuple[demo.DemoReport, list[str]]) -> None:
    found, told = shown
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()
    every, scheduled = found.every_frame, found.scheduled
    assert every.key_share == 1.0 and scheduled.key_share == pytest.approx(1 / INTERVAL)
    assert scheduled.gmac_per_frame == pytest.approx(every.gmac_per_frame / INTERVAL, rel=0.05)
    assert found.speedup == pytest.approx(scheduled.fps / every.fps, abs=1e-3)
    # A network trained on other drives of the same world: half of this would mean that it is fed wrongly.
    assert every.miou > 60
    assert scheduled.miou > every.miou - 10
    assert len(told) >= 4


def test_the_files_are_there_to_look_at(shown: tuple[demo.DemoReport, list[str]]) -> None:
    found, _ = shown
    with av.open(str(found.overlay)) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    assert len(GroundTruth(found.clip.parent / "ground_truth")) == FRAMES
    sheet = cv2.imread(str(found.picture))
    assert sheet is not None and min(sheet.shape[:2]) > 600
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 1000
    assert (found.bundle / "manifest.json").is_file()


@pytest.mark.parametrize(("frames", "interval"), [(16, 5), (240, 5), (100, 1), (33, 12), (16, 30)])
def test_the_rows_of_the_sheet_are_frames_of_the_clip_further_and_further_from_a_key(
    frames: int, interval: int
) -> None:
    rows = demo._rows(frames, interval)
    assert len(rows) == demo.ROWS and all(0 <= row < frames for row in rows)
    if interval <= frames // demo.ROWS:
        assert [row % interval for row in rows] == sorted(row % interval for row in rows)
        assert rows == sorted(rows) and len(set(rows)) == demo.ROWS


def test_a_demo_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    with pytest.raises(OptionError, match="3 frames"):
        demo.demo(tmp_path / "out", frames=3)
    assert list(tmp_path.iterdir()) == []


def test_arseg_has_a_sample_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    found = demo.demo(tmp_path, 24, family="arseg")
    every, scheduled = found.every_frame, found.scheduled
    assert found.policy == "interval:12" and scheduled.key_share == pytest.approx(1 / 12)
    assert scheduled.gmac_per_frame < 0.4 * every.gmac_per_frame
    assert every.miou > 55 and scheduled.miou > every.miou - 10


def test_a_family_without_a_sample_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    with pytest.raises(OptionError, match="choose propagate or arseg"):
        demo.demo(tmp_path, 24, family="mpvss")


def test_without_the_converter_half_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingExtra, match=r'the demo needs torch.*pip install "edge-vss\[convert\]"'):
        demo.demo(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="choose another folder with --out"):
        demo.demo(tmp_path / "file" / "out")
