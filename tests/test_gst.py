"""GStreamer pipelines and encoders of our own, as sources."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import open_source, plugin_of
from edge_vss.video import Frame
from tests.helpers.videos import pan


def read(uri: str, **options: Any) -> tuple[Any, list[Frame]]:
    with open_source(uri, timeout_seconds=30, **options) as source:
        return source.info, list(source)


def test_pipelines_in_a_process_of_their_own() -> None:
    look = "from edge_vss.runtimes.sources import _gi; _gi.gstreamer()"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(found.stderr.strip().splitlines()[-1])
    tests = Path(__file__).parent / "apart" / "gstreamer.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^3\d passed", done.stdout, re.MULTILINE), done.stdout


def test_without_gstreamer_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['gi'] = None\n"
        "from edge_vss.runtimes.sources import _gi\n_gi._SYSTEM = ()\n"
        "from edge_vss.runtimes.sources import open_source\n"
        "try: open_source('gst:videotestsrc ! appsink')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("SourceError gst: needs GStreamer and PyGObject from the system")
    assert "apt install python3-gi" in done.stdout and len(done.stdout.splitlines()) == 1


def test_a_pipeline_without_its_prefix_is_told() -> None:
    with pytest.raises(SourceError, match="write gst: before it"):
        open_source("v4l2src ! appsink")
    assert plugin_of("gst:a ! appsink") == ("gst", "a ! appsink")


def test_encoding_gives_raw_pictures_their_vectors(p_only: Path) -> None:
    info, frames = read(f"encode:{p_only}", motion="codec")
    assert (info.codec, info.exports_vectors, info.references) == ("h264", True, 1)
    assert len(frames) == 30 and frames[0].vectors is None
    for frame in frames[1:]:
        assert frame.vectors is not None and frame.motion is not None
        assert np.median(frame.vectors.displacement_px[0]) == pytest.approx(-2, abs=0.01)
    _, plain = read(str(p_only))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, plain, strict=True))
    assert all(frame.seconds["encode"] > 0 for frame in frames)


def test_encoding_images_and_odd_sizes(tmp_path: Path) -> None:
    import cv2

    for index, image in enumerate(pan(8, (97, 129))):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    _, frames = read(f"encode:{tmp_path}", motion="codec")
    assert len(frames) == 8 and frames[0].size == (97, 129)
    assert all(frame.motion is not None and frame.motion.coverage > 0.5 for frame in frames[1:])


def test_encoding_what_is_not_there_is_told() -> None:
    with pytest.raises(SourceError, match=r"no such file: absent\.mp4"):
        open_source("encode:absent.mp4")
    with pytest.raises(SourceError, match="the source's name is empty"):
        open_source("encode:")


def test_a_usb_camera_is_asked_for_h264_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def refuse(target: str, mode: str, options: dict[str, str], **more: Any) -> Any:
        asked.append(dict(options))
        raise av.error.ArgumentError(22, "Invalid argument", target)

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SourceError):
        open_source("/dev/video7")
    assert [options.get("input_format") for options in asked] == ["h264", None]
    asked.clear()
    with pytest.raises(SourceError):
        open_source("/dev/video7", options={"input_format": "yuyv422"})
    assert [options.get("input_format") for options in asked] == ["yuyv422"]
