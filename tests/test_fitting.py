"""Frames of another shape than the network's pictures: stretched, with bars, or cropped. Labels come back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss import bundle, open_source
from edge_vss.decisions import Decision, Track
from edge_vss.errors import BundleError
from edge_vss.motion_field import MotionField
from edge_vss.runtimes.fitting import BAR, UNSEEN, Fitting
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Frame, StartReason, Window
from tests.helpers.toys import manifest, segmenter

PICTURE = (48, 64)
FITS = ("stretch", "letterbox", "crop")


class Shown:
    """A picture in memory."""

    device = "cpu"

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.image, self.nbytes = image, image.nbytes

    def rgb(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        size = size or (self.image.shape[0], self.image.shape[1])
        return np.asarray(cv2.resize(self.image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    def luma(self) -> NDArray[np.uint8]:
        return np.asarray(self.image.mean(2), np.uint8)


@pytest.mark.parametrize(
    ("frame", "fit", "scaled", "place", "window"),
    [
        ((96, 128), "letterbox", (48, 64), (0, 0), None),
        ((96, 128), "crop", (48, 64), (0, 0), None),
        ((48, 128), "stretch", (48, 64), (0, 0), None),
        ((48, 128), "letterbox", (24, 64), (12, 0), Window(-24, 0, 96, 128)),
        ((48, 128), "crop", (48, 128), (0, -32), Window(0, 32, 48, 64)),
        ((96, 64), "letterbox", (48, 32), (0, 16), Window(0, -32, 96, 128)),
        ((96, 64), "crop", (96, 64), (-24, 0), Window(24, 0, 48, 64)),
    ],
)
def test_where_the_frame_is_in_the_picture(
    frame: tuple[int, int], fit: str, scaled: tuple[int, int], place: tuple[int, int], window: Window | None
) -> None:
    found = Fitting(frame, PICTURE, fit)
    assert (found.scaled, found.place, found.window) == (scaled, place, window)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("frame", [(48, 64), (90, 160), (160, 90), (37, 211), (1, 64), (720, 170)])
def test_there_and_back(frame: tuple[int, int], fit: str) -> None:
    """What the picture shows of a map of two areas comes back to its place."""
    image = np.zeros((*frame, 3), np.uint8)
    image[frame[0] // 2 :, :, 0], image[:, frame[1] // 2 :, 1] = 255, 255
    fitting = Fitting(frame, PICTURE, fit)
    picture = fitting.image(Shown(image))
    assert picture.shape == (*PICTURE, 3)
    labels = (picture[..., 0] > 127).astype(np.uint8) + 2 * (picture[..., 1] > 127).astype(np.uint8)
    bars = (picture == BAR).all(2)
    assert bars.any() == (fit == "letterbox" and fitting.scaled != PICTURE)
    back = fitting.labels(labels, 9)
    assert back.shape == frame
    expected = (image[..., 0] > 127).astype(np.uint8) + 2 * (image[..., 1] > 127).astype(np.uint8)
    seen = back != 9
    assert seen.all() or fit == "crop"
    window = fitting.window
    if fit == "crop" and window is not None:
        share = window.height * window.width / (frame[0] * frame[1])
        assert seen.mean() == pytest.approx(share, abs=0.15)
    # Only where two areas meet may a pixel be another.
    assert (back == expected)[seen].mean() > 0.85


def toy(fit: str, size: tuple[int, int] = PICTURE) -> Segmenter:
    """Bright is 1 and dark is 0, as wide as a cell of motion."""
    from dataclasses import replace

    made = segmenter(size, (size[0] // 2, size[1] // 2))
    return replace(made, manifest=replace(made.manifest, fit=fit))


def moving(count: int, size: tuple[int, int], speed: int) -> Iterator[Frame]:
    """A bright square that moves to the right, with its exact motion."""
    cells = (-(-size[0] // 8), -(-size[1] // 8))
    for index in range(count):
        image = np.zeros((*size, 3), np.uint8)
        left = 24 + speed * index
        image[16:40, left : left + 24] = 255
        motion = np.zeros((2, *cells), np.float32)
        motion[0] = -speed
        field = MotionField(motion, np.ones(cells, bool), np.ones(cells, np.int8), 8, "exact")
        yield Frame(
            index,
            index / 25,
            "P",
            size,
            Shown(image),
            StartReason.FIRST_FRAME if index == 0 else StartReason.NONE,
            field if index else None,
        )


class Once:
    """A key frame at the start, and none after."""

    def __call__(self, frame: Frame, track: Track) -> Decision:
        return Decision("nonkey", "carried")


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(56, 160), (96, 128), (112, 96)])
def test_labels_are_carried_in_place(fit: str, size: tuple[int, int]) -> None:
    session = toy(fit).session(Once())
    for frame in moving(5, size, 4):
        found = session.step(frame)
        truth = (frame.image[..., 0] > 127).astype(np.uint8)
        assert found.labels.shape == size
        seen = found.labels != UNSEEN
        assert seen.all() or fit == "crop"
        inside = np.zeros(size, bool)
        inside[8:48, 16:80] = True
        both = seen & inside
        if both.any():
            assert (found.labels == truth)[both].mean() > 0.9, (fit, frame.index)


def test_bars_are_not_carried_into_the_frame() -> None:
    """The frame's content came from beyond its edge. The picture has bars there, which the toy calls dark."""
    size, speed, cells = (24, 64), 4, (3, 8)
    session = toy("letterbox").session(Once())
    for index in range(4):
        motion = np.zeros((2, *cells), np.float32)
        motion[1] = -speed
        field = MotionField(motion, np.ones(cells, bool), np.ones(cells, np.int8), 8, "exact")
        picture = Shown(np.full((*size, 3), 200, np.uint8))
        start = StartReason.NONE if index else StartReason.FIRST_FRAME
        frame = Frame(index, 0.0, "P", size, picture, start, field if index else None)
        assert session.step(frame).labels.all(), index


@pytest.mark.parametrize("mode", ["grid", "exact"])
@pytest.mark.parametrize("sampling", ["centres", "corners"])
def test_motion_of_a_part_is_that_of_the_whole(mode: str, sampling: str) -> None:
    """A window's grid has the motion that the whole frame's has at the same places."""
    size, whole_grid, grid = (64, 96), (64, 96), (32, 48)
    tracer = Tracer(mode)
    rng = np.random.default_rng(0)
    for index in range(3):
        motion = rng.integers(-3, 4, (2, 8, 12)).astype(np.float32)
        field = MotionField(motion, np.ones((8, 12), bool), np.ones((8, 12), np.int8), 8, "x")
        frame = Frame(index, 0.0, "P", size, Shown(np.zeros((*size, 3), np.uint8)), motion=field)
        if index:
            tracer.follow(frame)
        else:
            tracer.anchor(frame)
    whole = tracer.root(whole_grid)
    part = tracer.root(grid, sampling, Window(16, 24, 32, 48))
    np.testing.assert_allclose(part, whole[:, 16:48, 24:72], atol=2e-2)
    # No motion leads out of the frame, also from places that are not in it.
    beyond = tracer.root((20, 30), sampling, Window(-18, -27, 100, 150)) * 5
    y, x = (Window_start + np.linspace(2, n - 3, n // 5) for Window_start, n in ((-18, 100), (-27, 150)))
    if sampling == "centres":
        assert (x[None, :] + beyond[0]).min() > -0.1 and (x[None, :] + beyond[0]).max() < 95.1
        assert (y[:, None] + beyond[1]).min() > -0.1 and (y[:, None] + beyond[1]).max() < 63.1


def test_the_manifest_says_how(tmp_path: Path) -> None:
    from dataclasses import replace

    plain = manifest()
    assert "fit" not in plain.to_json() and bundle.parse(_json(plain)).fit == "stretch"
    boxed = replace(plain, fit="letterbox")
    assert bundle.parse(_json(boxed)).fit == "letterbox"
    with pytest.raises(BundleError, match="brought in by 'mirror', which is not known: upgrade edge-vss"):
        bundle.parse({**_json(plain), "fit": "mirror"})


def _json(found: bundle.Manifest) -> Any:
    data = json.loads(json.dumps({"format": bundle.FORMAT, **found.to_json()}))
    for graph in data["graphs"]:
        graph["sha256"] = "0" * 64
    return data


def test_a_session_follows_the_size_of_its_frames() -> None:
    session = toy("letterbox").session("interval:2")
    for size in ((56, 160), (96, 128)):
        images = [np.zeros((*size, 3), np.uint8) for _ in range(2)]
        with open_source(images) as source:
            for frame in source:
                assert session.step(frame).labels.shape == size
