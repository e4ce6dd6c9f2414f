from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.decisions import Decision, Prediction
from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes.sinks import SinkContext, check_places, labels, open_sink
from edge_vss.runtimes.sinks.labels import encode_png
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.video import Frame, Size
from tests.helpers.videos import decoded

CONTEXT = SinkContext(("road", "car", "sky"), ((0, 0, 200), (200, 0, 0), (0, 200, 0)), 255, (48, 64), 25.0)


def result(index: int, size: Size = (48, 64), pts_seconds: float | None = None) -> tuple[Frame, Prediction]:
    """A frame whose upper half is class 2 and whose lower left quarter is class 1."""
    labels = np.zeros(size, np.uint8)
    labels[: size[0] // 2] = 2
    labels[size[0] // 2 :, : size[1] // 2] = 1
    pts_seconds = index / 25 if pts_seconds is None else pts_seconds
    frame = Frame(index, pts_seconds, "P", size, ArrayPicture(np.full((*size, 3), 100, np.uint8)))
    decision = Decision("nonkey", "carried 1") if index % 5 else Decision("key", "interval 5")
    return frame, Prediction(labels, decision, index % 5, index, pts_seconds, seconds={"key": 0.5})


def read_rgb(content: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image[..., ::-1], np.uint8)


def read_ids(path: Path) -> NDArray[np.uint8]:
    """The class ids of a palette PNG, by a decoder that is not ours."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "pal8"
        ids = frame.to_ndarray()[0] if isinstance(frame.to_ndarray(), tuple) else frame.to_ndarray()
        return np.asarray(ids, np.uint8)


def test_label_maps_are_palette_pngs(tmp_path: Path) -> None:
    sink = open_sink("labels", tmp_path / "deep" / "labels", CONTEXT)
    for index in (0, 1, 1234567):
        sink.write(*result(index, (33, 47)))
    sink.close()
    assert sorted(path.name for path in (tmp_path / "deep" / "labels").iterdir()) == [
        "000000.png",
        "000001.png",
        "1234567.png",
    ]
    path = tmp_path / "deep" / "labels" / "000001.png"
    labels = result(1, (33, 47))[1].labels
    assert np.array_equal(read_ids(path), labels)
    palette = np.array(CONTEXT.palette, np.uint8)
    assert np.array_equal(read_rgb(path.read_bytes()), palette[labels])


def test_png_of_random_ids_and_every_value() -> None:
    random = np.random.default_rng(0)
    palette = tuple((i, 255 - i, i // 2) for i in range(256))
    for size in ((1, 1), (1, 300), (255, 1), (64, 48)):
        labels = random.integers(0, 256, size, dtype=np.uint8)
        image = read_rgb(encode_png(labels, palette))
        assert np.array_equal(image, np.array(palette, np.uint8)[labels])
    # Ids without a class, such as the ignored one, are black.
    assert not read_rgb(encode_png(np.full((2, 2), 255, np.uint8), palette[:3])).any()


def test_labels_replace_their_own_files_only(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("mine")
    (tmp_path / "000000.png").write_bytes(b"old")
    sink = open_sink("labels", tmp_path, CONTEXT)
    sink.write(*result(0))
    sink.close()
    assert (tmp_path / "readme.txt").read_text() == "mine"
    assert read_ids(tmp_path / "000000.png").shape == (48, 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "readme.txt"]


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink("jsonl", path, CONTEXT)
    sink.write(*result(0))
    # A reader sees each line at once.
    assert len(path.read_text().splitlines()) == 1
    frame, prediction = result(6)
    prediction.labels[0, :32] = 255
    sink.write(frame, prediction)
    sink.close()
    sink.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "index": 0,
        "pts_seconds": 0.0,
        "route": "key",
        "reason": "interval 5",
        "frames_since_key": 0,
        "confidence": None,
        "picture_type": "P",
        "size": [48, 64],
        "seconds": {"key": 0.5},
        "classes": {"road": 0.25, "car": 0.25, "sky": 0.5},
    }
    assert second["classes"]["ignore"] == pytest.approx(32 / 3072, abs=1e-6)
    assert sum(second["classes"].values()) == pytest.approx(1)
    sink = open_sink("jsonl", "-", CONTEXT)
    sink.write(*result(3))
    sink.close()
    assert json.loads(capsys.readouterr().out)["index"] == 3


def test_overlay_video(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    context = SinkContext(CONTEXT.classes, CONTEXT.palette, 255, (96, 128), 25.0)
    sink = open_sink("video", path, context)
    for index in range(12):
        sink.write(*result(index, (96, 128)))
    sink.close()
    sink.close()
    images = decoded(path)
    assert len(images) == 12
    # Grey 100 and half of each colour, away from borders and from the corner with the route.
    for y, x, colour in ((30, 100, (0, 200, 0)), (80, 20, (200, 0, 0)), (80, 110, (0, 0, 200))):
        assert np.abs(images[6][y, x] - (np.array(colour) / 2 + 50)).max() < 16
    # The border between classes has the full colour.
    assert images[6][48, 100].astype(int).sum() < images[6][60, 100].astype(int).sum() - 20
    assert np.abs(images[5][2:12, 2:60].astype(int) - images[6][2:12, 2:60]).mean() > 5


def test_overlay_keeps_the_source_s_times(tmp_path: Path) -> None:
    times = [10.0, 10.04, 10.2, 10.24, 10.7]
    sink = open_sink("video", tmp_path / "v.mp4", CONTEXT)
    for index, seconds in enumerate(times):
        sink.write(*result(index, pts_seconds=seconds))
    sink.close()
    with av.open(str(tmp_path / "v.mp4")) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    assert shown == pytest.approx([seconds - 10 for seconds in times], abs=1e-3)


def test_overlay_of_a_clock_that_goes_back(tmp_path: Path) -> None:
    sink = open_sink("video", tmp_path / "v.mkv", CONTEXT)
    for index, seconds in enumerate([5.0, 5.04, 0.0, 0.04, 0.04]):
        sink.write(*result(index, pts_seconds=seconds))
    sink.close()
    assert len(decoded(tmp_path / "v.mkv")) == 5


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts"])
def test_overlay_of_odd_and_changing_sizes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    sink = open_sink("video", path, SinkContext(CONTEXT.classes, CONTEXT.palette, None, (49, 65), 25.0))
    for index, size in enumerate([(49, 65), (49, 65), (96, 128), (31, 31)]):
        sink.write(*result(index, size))
    sink.close()
    images = decoded(path)
    assert [image.shape for image in images] == [(50, 66, 3)] * 4
    assert abs(int(images[2][40, 60, 2]) - 150) < 20


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, path in (
        ("labels", tmp_path / "file"),
        ("labels", tmp_path / "file" / "below"),
        ("jsonl", tmp_path),
        ("jsonl", tmp_path / "missing" / "out.jsonl"),
        ("video", tmp_path / "missing" / "out.mp4"),
    ):
        with pytest.raises(SinkError) as caught:
            open_sink(name, path, CONTEXT)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match="mp4, mov, mkv"):
        open_sink("video", tmp_path / "out.gif", CONTEXT)
    with pytest.raises(OptionError, match="jsonl"):
        open_sink("fax", tmp_path / "out", CONTEXT)


def test_read_only_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="Permission denied"):
        open_sink("labels", tmp_path, CONTEXT)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_json_lines() -> None:
    sink = open_sink("jsonl", "/dev/full", CONTEXT)
    with pytest.raises(SinkError, match="make room"):
        sink.write(*result(0))
    sink.close()


FULL = """
import resource, signal, sys
from tests.test_sinks import CONTEXT, result
from edge_vss.errors import SinkError
from edge_vss.runtimes.sinks import open_sink, SinkContext
from edge_vss.runtimes.sources.frames import ArrayPicture
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
name, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
sink = open_sink(name, path, SinkContext(CONTEXT.classes, CONTEXT.palette, 255, (240, 320), 25.0))
random = np.random.default_rng(0)
try:
    for index in range(400):
        if index == 110:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        frame, prediction = result(index, (240, 320))
        if index >= 110:
            frame.picture = ArrayPicture(random.integers(0, 256, (240, 320, 3), dtype=np.uint8))
            prediction.labels[:] = random.integers(0, 3, (240, 320))
        sink.write(frame, prediction)
    print("wrote everything")
except SinkError as error:
    print("SinkError", index, error)
try:
    sink.close()
except SinkError as error:
    print("SinkError", error)
"""


@pytest.mark.parametrize(("name", "limit"), [("video", 400_000), ("labels", 8_000), ("jsonl", 30_000)])
def test_full_disk_keeps_what_was_written(tmp_path: Path, name: str, limit: int) -> None:
    path = tmp_path / ("out.mp4" if name == "video" else "out")
    ran = subprocess.run(
        [sys.executable, "-c", FULL, name, str(path), str(limit)], capture_output=True, text=True, timeout=60
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("SinkError 1"), ran.stdout
    assert "make room" in ran.stdout
    written = int(ran.stdout.split()[1])
    if name == "video":
        with open_source(path, motion="none") as source:
            assert len(list(source)) >= 100
    elif name == "labels":
        assert sorted(file.name for file in path.iterdir()) == [f"{i:06d}.png" for i in range(written)]
        assert read_ids(path / f"{written - 1:06d}.png").shape == (240, 320)
    else:
        lines = path.read_text().splitlines()
        assert [json.loads(line)["index"] for line in lines] == list(range(written))


def test_a_place_that_is_the_source_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    video = tmp_path / "drive.mp4"
    video.write_bytes(b"precious")
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "twin.mp4").hardlink_to(video)
    (tmp_path / "deep").mkdir()
    for name in ("drive.mp4", "link.mp4", "twin.mp4", "deep/../drive.mp4"):
        for source in (video, str(video), f"file:{video}"):
            with pytest.raises(SinkError, match=r"what the frames are read from \(video\): choose another"):
                check_places({"video": tmp_path / name}, source)
    with pytest.raises(SinkError, match="is what the frames are read from"):
        open_sink("jsonl", video, replace(CONTEXT, source=str(video)))
    assert video.read_bytes() == b"precious"
    check_places({"video": tmp_path / "other.mp4", "labels": tmp_path}, video)
    check_places({"video": tmp_path / "other.mp4"}, 0)
    check_places({"video": tmp_path / "other.mp4"}, [np.zeros((4, 4, 3), np.uint8)])


def test_label_maps_do_not_take_the_names_of_the_images_that_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "000000.png").write_bytes(b"image")
    for source in (folder, folder / "000000.png", folder / "*.png"):
        with pytest.raises(SinkError, match="choose another place"):
            check_places({"labels": folder}, source)
        check_places({"labels": tmp_path / "labels"}, source)


def test_two_outputs_in_one_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "o.mp4")
    for other in ("o.mp4", "link.mp4"):
        with pytest.raises(SinkError, match=r"video and jsonl both go to .*: give each a place of its own"):
            check_places({"video": tmp_path / "o.mp4", "jsonl": tmp_path / other}, "drive.mp4")
    check_places({"video": "/dev/null", "jsonl": "/dev/null", "json": "-", "labels": "-"}, "drive.mp4")


def test_a_file_that_cannot_be_written_is_found_before_another_is_emptied(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text("precious")
    for name in ("video", "json"):
        with pytest.raises(SinkError, match=r"cannot write .*x\.mp4 \(No such file or directory\): choose"):
            check_places({"jsonl": good, name: tmp_path / "absent" / "x.mp4"}, "drive.mp4")
        with pytest.raises(SinkError, match="Is a directory"):
            check_places({"jsonl": good, name: tmp_path}, "drive.mp4")
    assert good.read_text() == "precious"
    check_places({"jsonl": good, "video": tmp_path / "new.mp4"}, "drive.mp4")
    # The folder of the label maps is still to be made.
    check_places({"labels": tmp_path / "seen", "video": tmp_path / "seen" / "o.mp4"}, "drive.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["good.jsonl"]


def test_label_maps_of_another_run_are_counted(tmp_path: Path) -> None:
    for name in ("000000.png", "000001.png", "000900.png", "sheet.png", "000002.txt"):
        (tmp_path / name).write_bytes(b"old")
    sink = labels.open(tmp_path, CONTEXT)
    assert sink.remark() == "3 older ones were left there"
    for index in range(2):
        sink.write(*result(index))
    assert sink.remark() == "1 older ones were left there"
    (tmp_path / "000900.png").unlink()
    sink.close()
    sink = labels.open(tmp_path, CONTEXT)
    sink.write(*result(0))
    sink.write(*result(1))
    assert sink.remark() == ""
