import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.codec.context import Flags2
from numpy.typing import NDArray

from edge_vss.classes import find
from edge_vss.demo import sample
from edge_vss.demo.sample import CLASSES, FPS, SIZE, WEIGHTS
from edge_vss.demo.scene.canvas import Canvas, Panel, Texture, rectangle
from edge_vss.demo.scene.encode import write
from edge_vss.demo.scene.street import AHEAD, DOWN, RIGHT, Ride
from edge_vss.demo.scene.streets import scene
from edge_vss.errors import OptionError, SinkError

Bytes = NDArray[np.uint8]
SMALL = (176, 320)


@pytest.fixture(scope="module")
def drive() -> list[tuple[Bytes, Bytes]]:
    """The first ten seconds of the demo's drive, two frames each second."""
    return list(scene(0, frames=20, every=12))


def test_frames_have_the_promised_shape(drive: list[tuple[Bytes, Bytes]]) -> None:
    for image, labels in drive:
        assert image.shape == (*SIZE, 3) and labels.shape == SIZE
        assert image.dtype == labels.dtype == np.uint8
        assert labels.max() < len(CLASSES)


def test_every_class_is_there(drive: list[tuple[Bytes, Bytes]]) -> None:
    counts = np.bincount(np.stack([labels for _, labels in drive]).ravel(), minlength=len(CLASSES))
    shares = dict(zip(CLASSES, (100 * counts / counts.sum()).tolist(), strict=True))
    assert min(shares.values()) > 0.2, shares
    assert max(shares.values()) < 50, shares


def test_classes_look_different(drive: list[tuple[Bytes, Bytes]]) -> None:
    """Labels belong to their pictures: bright sky, green vegetation, markings lighter than the road."""
    images, labels = (np.stack(part).astype(np.float32) for part in zip(*drive, strict=True))
    mean = {name: images[labels == i].mean(axis=0) for i, name in enumerate(CLASSES)}
    assert mean["vegetation"][1] > mean["vegetation"][[0, 2]].max() + 10
    assert mean["marking"].mean() > mean["road"].mean() + 40
    assert mean["sky"].mean() > mean["building"].mean() > mean["road"].mean()
    assert np.ptp(mean["road"]) < 15


def test_the_light_changes(drive: list[tuple[Bytes, Bytes]]) -> None:
    sky = [image[labels == 0].mean() for image, labels in drive]
    assert max(sky) - min(sky) > 15


def test_same_arguments_same_bytes() -> None:
    first, again = (list(scene(5, SMALL, 3)) for _ in range(2))
    longer = list(scene(5, SMALL, 4))
    for (a, b), (c, d), (e, f) in zip(first, again, longer, strict=False):
        assert np.array_equal(a, c) and np.array_equal(b, d)
        assert np.array_equal(a, e) and np.array_equal(b, f)
    other = next(iter(scene(6, SMALL, 1)))
    assert not np.array_equal(first[0][1], other[1])


def test_leaving_frames_out_gives_the_same_frames() -> None:
    every, third = list(scene(8, SMALL, 7)), list(scene(8, SMALL, 3, every=3))
    for index, (image, labels) in zip((0, 3, 6), third, strict=True):
        assert np.array_equal(image, every[index][0]) and np.array_equal(labels, every[index][1])


@pytest.mark.parametrize("size", [(32, 32), (97, 131), (240, 200)])
def test_any_size(size: tuple[int, int]) -> None:
    image, labels = next(scene(1, size, 1))
    assert image.shape[:2] == labels.shape == size


@pytest.mark.parametrize("arguments", [(0, (16, 64), 1), (-1, SMALL, 1), (0, SMALL, -1), (0, SMALL, 1, 0)])
def test_wrong_arguments(arguments: tuple[int, tuple[int, int], int]) -> None:
    with pytest.raises(OptionError, match="a scene wants"):
        scene(*arguments)


def test_texture_moves_with_the_world() -> None:
    """Following the flow to the next frame explains most of the change, in the picture and in its labels."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    columns, rows = np.meshgrid(np.arange(SIZE[1], dtype=np.float32), np.arange(SIZE[0], dtype=np.float32))
    held, carried, wrong_held, wrong_carried = [], [], [], []
    frames = list(scene(0, frames=3))
    for (before, old), (after, new) in pairwise(frames):
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
        way = flow.calc(grey[1], grey[0], None)  # type: ignore[call-overload]
        here = columns + way[..., 0], rows + way[..., 1]
        warped = cv2.remap(grey[0], *here, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        moved = cv2.remap(old, *here, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        held.append(cv2.absdiff(grey[1], grey[0]).mean())
        carried.append(cv2.absdiff(grey[1], warped).mean())
        wrong_held.append(np.mean(old != new))
        wrong_carried.append(np.mean(moved != new))
    assert np.mean(carried) < 0.5 * np.mean(held)
    assert np.mean(wrong_carried) < 0.35 * np.mean(wrong_held)


def test_the_camera_projects_as_a_pinhole() -> None:
    """A square metre 10 m ahead at eye height covers focal / 10 pixels, around the middle column."""
    canvas = Canvas((352, 640), (0, 0, 0))
    canvas.look((2.0, 1.4, 5.0), 0.0, 0.0, 0.0)
    white = Texture(np.full((8, 8, 3), 255, np.uint8), 8.0)
    canvas.paint(Panel((1.5, 1.9, 15.0), RIGHT, DOWN, rectangle(1, 1), white, 7))
    rows, columns = np.nonzero(canvas.labels == 7)
    side = canvas.focal_px / 10
    assert columns.max() - columns.min() == pytest.approx(side, abs=1.5)
    assert rows.max() - rows.min() == pytest.approx(side, abs=1.5)
    assert columns.mean() == pytest.approx(639 / 2, abs=0.6)
    assert rows.mean() == pytest.approx(0.46 * 352, abs=0.6)


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    canvas = Canvas((64, 96), (0, 0, 0))
    white = Texture(np.full((8, 8, 3), 255, np.uint8), 8.0)
    canvas.paint(Panel((-1, 2, -3), RIGHT, DOWN, rectangle(2, 2), white, 7))
    assert not canvas.labels.any()
    # A floor from far behind to far ahead is seen only below the horizon.
    canvas.paint(Panel((-50, 0, -50), RIGHT, AHEAD, rectangle(100, 1000), white, 3))
    assert (canvas.labels[40:] == 3).all() and not canvas.labels[:28].any()


def test_the_ride_only_goes_forward() -> None:
    for seed in range(20):
        ride = Ride(seed)
        ahead = np.array([ride.ahead(t) for t in np.arange(0, 40, 1 / FPS)])
        assert ahead[0] == 0 and (np.diff(ahead) > 0).all()
        assert ride.ahead(ride.arrival(100.0)) == pytest.approx(100, abs=1e-3)


def test_a_clip_is_what_a_camera_sends(tmp_path: Path) -> None:
    path, folder = tmp_path / "street.mp4", tmp_path / "labels"
    write(path, frames=12, size=SMALL, seed=[3, 4], labels=folder)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        stream.codec_context.flags2 |= Flags2.export_mvs
        frames = [(frame.to_ndarray(format="rgb24"), frame) for frame in container.decode(stream)]
        assert stream.average_rate == FPS
        assert not stream.codec_context.has_b_frames
    assert len(frames) == 12
    assert [frame.key_frame for _, frame in frames] == [True] + 11 * [False]
    vectors = [frame.side_data.get("MOTION_VECTORS") for _, frame in frames[1:]]
    assert all(v is not None and len(v.to_ndarray()) > 50 for v in vectors)
    assert all((v.to_ndarray()["source"] == -1).all() for v in vectors if v is not None)
    names = sorted(folder.iterdir())
    assert [name.name for name in names] == [f"{i:06d}.png" for i in range(12)]
    drawn = [*scene(3, SMALL, 6), *scene(4, SMALL, 6)]
    for (decoded, _), name, (image, labels) in zip(frames, names, drawn, strict=True):
        written = cv2.imread(str(name), cv2.IMREAD_UNCHANGED)
        assert written is not None and np.array_equal(written, labels)
        assert np.abs(decoded.astype(int) - image).mean() < 8
    assert set(tmp_path.iterdir()) == {path, folder}


def test_other_codecs_and_options(tmp_path: Path) -> None:
    write(tmp_path / "b.mp4", frames=12, size=SMALL, options={"preset": "medium"})
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    write(tmp_path / "m.mp4", frames=3, size=SMALL, codec="mpeg4", options={})
    with av.open(str(tmp_path / "m.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_a_clip_refuses(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(OptionError, match="no encoder called 'nosuch'"):
        write(path, frames=1, size=SMALL, codec="nosuch")
    with pytest.raises(OptionError, match="does not encode video"):
        write(path, frames=1, size=SMALL, codec="aac", options={})
    with pytest.raises(OptionError, match="even sides, got 33x64"):
        write(path, frames=1, size=(33, 64))
    with pytest.raises(OptionError, match="got 2 and 1"):
        write(path, frames=1, size=SMALL, seed=[1, 2])
    with pytest.raises(SinkError, match=r"cannot write .*clip\.nosuch"):
        write(tmp_path / "clip.nosuch", frames=1, size=SMALL)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(SinkError, match="cannot write"):
        write(blocked / "clip.mp4", frames=1, size=SMALL)
    assert list(tmp_path.iterdir()) == [blocked]


def test_the_sample_needs_no_torch() -> None:
    code = "import sys, edge_vss.demo.scene.encode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_weights_are_small() -> None:
    assert 100_000 < WEIGHTS.stat().st_size <= 1_000_000


def test_the_sample_s_classes_are_those_of_the_class_set() -> None:
    names = ("sky", "building", "vegetation", "road", "pavement", "marking", "pole", "vehicle", "person")
    assert names == CLASSES == find("streets").names
    assert not hasattr(sample, "PALETTE")
    code = "import edge_vss.demo.sample, sys; print([name for name in ('cv2', 'av') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
