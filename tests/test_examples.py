import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import edge_vss
from edge_vss.runtimes.tools.ground_truth import GroundTruth

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SHORT = ("embed", "camera", "dashcam", "robot")


def run(name: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    # A build with windows would otherwise wait for a display that is not there.
    environment = {**os.environ, "OPENCV_UI_BACKEND": "", "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, env=environment)


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("name", SHORT)
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 60


def test_embed_names_what_each_frame_shows_most(tiny_bundle: Path, tiny_video: Path) -> None:
    done = run("embed", tiny_bundle, tiny_video)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 24 and lines[1].split() == ["0.04", "s", "wall"]


def test_camera_writes_a_file_without_a_screen(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.mp4"
    done = run("camera", tiny_bundle, tiny_video, "--headless", "--out", out, "--limit", 12)
    assert done.returncode == 0, done.stderr
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


def test_camera_takes_a_number(tiny_bundle: Path, tmp_path: Path) -> None:
    if Path("/dev/video97").exists():
        pytest.skip("this machine has a camera 97")
    done = run("camera", tiny_bundle, "97", "--headless", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "/dev/video97" in done.stderr


def test_camera_without_a_window_says_what_to_do(tiny_bundle: Path, tiny_video: Path) -> None:
    import cv2

    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV can open windows")
    done = run("camera", tiny_bundle, tiny_video)
    assert done.returncode == 1 and "--headless" in done.stderr and "Traceback" not in done.stderr


def test_dashcam_records_the_event_with_what_came_before(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "events"
    share = ahead_share(tiny_bundle, tiny_video)
    first = 12
    threshold = float(share[first])
    assert share[:first].max() < threshold
    arguments = ("--watch", "car", "--share", threshold, "--seconds", 0.12, "--out", out)
    done = run("dashcam", tiny_bundle, tiny_video, *arguments)
    assert done.returncode == 0, done.stderr
    events = sorted(out.iterdir())
    assert f"{len(events)} events" in done.stdout and events
    recorded = [int(path.stem) for path in GroundTruth(events[0]).files]
    assert recorded == list(range(recorded[0], recorded[-1] + 1))
    assert recorded[0] == max(0, first - 2)
    with av.open(str(events[0] / "clip.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(recorded)


def ahead_share(bundle: Path, video: Path) -> NDArray[np.float64]:
    """How much of the view ahead the car fills, frame by frame, as the bundle sees it."""
    session = edge_vss.load(bundle).session()
    with edge_vss.open_source(video) as source:
        return np.array([(session.step(frame).labels[48:, 32:-32] == 2).mean() for frame in source])


def test_dashcam_refuses_a_class_that_is_not_there(tiny_bundle: Path, tiny_video: Path) -> None:
    done = run("dashcam", tiny_bundle, tiny_video, "--watch", "dragon")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: no class is called 'dragon': choose from ground, wall, car"


def test_robot_prints_a_line_per_frame(tiny_bundle: Path, tiny_video: Path) -> None:
    done = run("robot", tiny_bundle, tiny_video, "--floor", "ground")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 24 and all("free ahead" in line for line in lines)
    stops = run("robot", tiny_bundle, tiny_video, "--floor", "ground", "--stop", "0.9").stdout.splitlines()
    assert all(line.endswith("stop") for line in stops)


def test_free_space_is_what_lies_before_the_first_obstacle() -> None:
    robot = module("robot")
    labels = np.zeros((10, 4), np.uint8)
    labels[:5] = 1  # a wall across the upper half
    labels[7, 1] = 2  # something on the floor
    labels[:, 3] = 0  # nothing in the way
    assert robot.free_space(labels, [0]).tolist() == [0.5, 0.2, 0.5, 1.0]
    assert robot.steer(np.array([0.0, 0.0, 0.0])) == 0
    assert robot.steer(np.array([0.5, 0.5, 0.5])) == pytest.approx(0)
    assert robot.steer(np.array([0.1, 0.5, 0.9])) > 0.3 > -0.3 > robot.steer(np.array([0.9, 0.5, 0.1]))


@pytest.mark.parametrize("name", SHORT)
def test_an_example_says_what_is_wrong_in_one_line(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    more = {"robot": ["--floor", "ground"], "dashcam": ["--watch", "car"], "camera": ["--headless"]}.get(
        name, []
    )
    done = run(name, tiny_bundle, tmp_path / "absent.mp4", *more, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr.startswith("error: ") and "absent.mp4" in done.stderr and "Traceback" not in done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_that_examples_rely_on_is_public(tiny_bundle: Path) -> None:
    assert json.loads((tiny_bundle / "manifest.json").read_text())["classes"] == ["ground", "wall", "car"]


@pytest.mark.parametrize("name", SHORT)
def test_an_example_without_arguments_says_how_to_call_it(name: str) -> None:
    done = run(name)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("usage: ") and "bundle" in done.stderr
