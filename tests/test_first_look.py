"""The warning where first labels look as if the pixels were prepared wrongly, and the picture to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.decisions import Decision, Prediction
from edge_vss.errors import SinkError, SourceError
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools import preview
from edge_vss.runtimes.tools.first_look import FRAMES, FirstLook
from tests.helpers import toys
from tests.helpers.videos import texture

SIZE = (48, 64)
SAID_NOTHING = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "scale": 1 / 255, "bgr": False}
DETAILED, PLAIN = texture(SIZE), np.full((*SIZE, 3), 120, np.uint8)


def manifest(names: Sequence[str] = ("sky", "road", "car"), **changes: Any) -> Manifest:
    prepared = {**SAID_NOTHING, **changes}
    palette = tuple((60 * index, 10, 200) for index in range(len(names)))
    options = {"model": {"kind": "TorchScript", "preprocess": prepared}}
    return replace(toys.manifest(SIZE), classes=tuple(names), palette=palette, options=options)


def labels(share: float, which: int = 1) -> NDArray[np.uint8]:
    """So much of the picture is one class, and the rest another."""
    made = np.full(SIZE[0] * SIZE[1], which, np.uint8)
    made[: round((1 - share) * made.size)] = (which + 1) % 3
    return np.random.default_rng(0).permutation(made).reshape(SIZE)


def warned(
    of: Manifest,
    shown: NDArray[np.uint8],
    picture: NDArray[np.uint8] = DETAILED,
    count: int = FRAMES,
    logits: NDArray[np.float32] | None = None,
    route: str = "key",
) -> str:
    look = FirstLook(of)
    with open_source([picture] * count, motion="none") as source:
        for frame in source:
            look.take(frame, Prediction(shown, Decision(route, ""), 0, frame.index, 0.0, logits))
    found = look.warning(ended=True)
    assert look.warning(ended=True) == ""
    return found


def test_nearly_one_class_is_warned_of() -> None:
    line = warned(manifest(), labels(0.99))
    assert line == (
        "nearly all of the first 8 key frames is 'road': if the network was trained with --mean, --std, "
        "--scale or --bgr, convert it with them"
    )
    assert "first 3 key frames" in warned(manifest(), labels(0.99), count=3)


@pytest.mark.parametrize(
    ("of", "shown", "picture"),
    [
        # What was measured of good networks and of wrong ones is far below.
        (manifest(), labels(0.85), DETAILED),
        # A wall, fog, night.
        (manifest(), labels(1.0), PLAIN),
        # Nothing is there of what it was trained to find.
        (manifest(("background", "person", "dog")), labels(1.0, which=0), DETAILED),
        (manifest(("_background_", "person", "dog")), labels(1.0, which=0), DETAILED),
        (manifest(("road", "rest")), labels(1.0, which=1), DETAILED),
        # Somebody said how pixels are prepared.
        (manifest(mean=[0.5, 0.5, 0.5]), labels(1.0), DETAILED),
        (manifest(scale=1.0), labels(1.0), DETAILED),
        (manifest(bgr=True), labels(1.0), DETAILED),
        (replace(manifest(), options={}), labels(1.0), DETAILED),
        (
            replace(manifest(), options={"model": {"untrained": True, "preprocess": SAID_NOTHING}}),
            labels(1),
            DETAILED,
        ),
    ],
)
def test_good_networks_and_plain_scenes_are_not(
    of: Manifest, shown: NDArray[np.uint8], picture: NDArray[np.uint8]
) -> None:
    assert warned(of, shown, picture) == ""


def test_another_class_in_one_picture_is_enough() -> None:
    look = FirstLook(manifest())
    with open_source([DETAILED] * FRAMES, motion="none") as source:
        for frame in source:
            which = 2 if frame.index == 4 else 1
            look.take(frame, Prediction(labels(1, which), Decision("key", ""), 0, frame.index, 0.0))
    assert look.warning() == ""


def test_frames_in_between_are_not_looked_at() -> None:
    assert warned(manifest(), labels(1.0), route="nonkey") == ""


def test_scores_that_tell_nothing_apart_are_warned_of() -> None:
    random = np.random.default_rng(0)
    equal = random.normal(0, 0.01, (3, 12, 16)).astype(np.float32)
    assert "unsure nearly everywhere (margin 0.0" in warned(manifest(), labels(0.5), logits=equal)
    clear = equal.copy()
    clear[1] += 4
    assert warned(manifest(), labels(0.5), logits=clear) == ""
    # Probabilities are taken as they are.
    given = np.broadcast_to(np.array([0.1, 0.8, 0.1], np.float32).reshape(3, 1, 1), (3, 12, 16)).copy()
    assert warned(manifest(), labels(0.5), logits=given) == ""


def toy() -> Segmenter:
    made = toys.segmenter()
    names = ("dünkel", "light")
    return replace(made, manifest=replace(made.manifest, classes=names))


def test_the_picture_shows_frames_over_the_whole_video(p_only: Path, tmp_path: Path) -> None:
    place = preview.place_of(tmp_path / "street.vss")
    assert place == tmp_path / "street.preview.png"
    assert preview.place_of(Path("a/b.c")) == Path("a/b.c.preview.png")
    assert preview.preview(toy(), p_only, place) == ""
    sheet = cv2.imread(str(place))
    assert sheet is not None and sheet.shape[1] > 4 * 300
    assert [path.name for path in tmp_path.iterdir()] == [place.name]
    # Both classes' colours are in the legend.
    for red, green, blue in toy().manifest.palette:
        assert (sheet == (blue, green, red)).all(2).sum() > 100


def test_few_frames_and_sources_that_are_read_once_are_enough(tmp_path: Path) -> None:
    place = tmp_path / "a.png"
    preview.preview(toy(), [DETAILED], place)
    assert cv2.imread(str(place)) is not None
    preview.preview(toy(), (DETAILED for _ in range(70)), place)
    assert cv2.imread(str(place)) is not None


def test_what_would_fail_is_found_before_the_conversion(p_only: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.preview.png"
    preview.check(place, p_only, force=False)
    assert not place.exists()
    with pytest.raises(SourceError):
        preview.check(place, tmp_path / "absent.mp4", force=False)
    place.write_text("mine")
    with pytest.raises(SinkError, match="exists: move it away, or replace it with --force"):
        preview.check(place, p_only, force=False)
    preview.check(place, p_only, force=True)
    assert place.read_text() == "mine"
