"""What users hand to the interface by mistake is refused in one line that says what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edge_vss as vss
from edge_vss.errors import EdgeVssError, OptionError, SourceError
from tests.helpers import toys

RGB = np.zeros((48, 64, 3), np.uint8)


def one_line(error: type[EdgeVssError], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def opened(source: Any) -> str:
    def read() -> None:
        with vss.open_source(source, motion="none") as frames:
            list(frames)

    return one_line(SourceError, read)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (
            RGB.astype(np.float32),
            "got ndarray of float32 (48, 64, 3): bring it to 0 to 255 and make it uint8",
        ),
        (np.moveaxis(RGB, 2, 0), "got ndarray of uint8 (3, 48, 64): channels come last, as in np.moveaxis"),
        (RGB[..., 0], "got ndarray of uint8 (48, 64): give it three channels, as in cv2.cvtColor"),
        (np.zeros((48, 64, 4), np.uint8), "got ndarray of uint8 (48, 64, 4): give it three channels"),
        (RGB[None], "got ndarray of uint8 (1, 48, 64, 3): take the first axis off"),
        (Image.new("RGB", (64, 48)), "got PIL.Image.Image: make an array of it first, as in np.asarray("),
        ("a.png", "got str: open a folder, or a pattern such as 'shots/*.png'"),
        (Path("a.png"), "open a folder, or a pattern"),
        (None, "got NoneType"),
    ],
)
def test_pictures_that_are_no_rgb_arrays(picture: Any, message: str) -> None:
    assert message in opened([picture])


def test_tensors_are_no_pictures() -> None:
    torch = pytest.importorskip("torch")
    assert "got torch.Tensor of torch.uint8 (3, 48, 64): make an array of it first" in opened(
        [torch.zeros(3, 48, 64, dtype=torch.uint8)]
    )
    assert "make an array of it first" in opened(torch.zeros(2, 3, 48, 64))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Image.new("RGB", (64, 48)), "PIL.Image.Image is no source: give a path, a URL"),
        (1.5, "float is no source"),
        (np.moveaxis(RGB, 2, 0), "channels come last"),
        (RGB[..., 0], "must be (N, H, W, 3) uint8 RGB, got shape (48, 64)"),
        (b"drive.mp4", "bytes is no source: give the path of a file as text"),
        ({"a": 1}, "got str"),
    ],
)
def test_what_is_no_source(source: Any, message: str) -> None:
    assert message in opened(source)


@pytest.mark.parametrize("value", [RGB, RGB.astype(float), Image.new("RGB", (64, 48)), "drive.mp4", None])
def test_what_is_no_frame(value: Any) -> None:
    session = toys.segmenter().session()
    for call in (session.step, session.skip):
        message = one_line(OptionError, partial(call, value))
        assert "wants" not in message and "takes a Frame, got" in message and "open_source" in message
    # Nothing has changed for the next one.
    with vss.open_source([RGB]) as source:
        assert session.step(next(source)).decision.reason == "first frame"


@pytest.mark.parametrize(
    "given",
    ["key", "nonkey", None, True, 1, ("key", "my own"), {"route": "key"}],
)
def test_a_policy_that_gives_no_decision(given: Any) -> None:
    session = toys.segmenter().session(lambda frame, track: given)
    with vss.open_source([RGB, RGB]) as source:
        session.step(next(source))
        frame = next(source)
        message = one_line(OptionError, lambda: session.step(frame))
    assert f"the policy gave {given!r} at frame 1: let it give a Decision" in message


@pytest.mark.parametrize("policy", [5, vss.Interval, ["interval:5"], 2.5])
def test_what_is_no_policy(policy: Any) -> None:
    message = one_line(OptionError, lambda: toys.segmenter().session(policy))
    assert "a policy is a callable or a spelling such as interval:5" in message


@pytest.mark.parametrize("place", [5, None, RGB, b"street.vss"])
def test_what_is_no_place(place: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: vss.load(place),
        lambda: vss.read_manifest(place),
        lambda: vss.GroundTruth(place),
        lambda: toys.segmenter().session().state.restore(place),
    ]
    for call in calls:
        assert "give a path" in one_line(OptionError, call)


def test_text_is_a_place(tmp_path: Path) -> None:
    for call in (vss.load, vss.read_manifest, vss.GroundTruth):
        with pytest.raises(EdgeVssError, match="absent"):
            call(str(tmp_path / "absent"))


def test_arrays_that_are_no_picture_and_labels_are_not_overlaid() -> None:
    labels = np.zeros((48, 64), np.uint8)
    assert vss.overlay(RGB, labels, [(1, 2, 3)]).shape == RGB.shape
    for image, ids in (
        (RGB, labels[1:]),
        (RGB.astype(float), labels),
        (RGB, labels.astype(int)),
        (labels, labels),
    ):
        message = one_line(OptionError, partial(vss.overlay, image, ids, [(1, 2, 3)]))
        assert "overlay wants an image (H, W, 3) uint8 and labels (H, W) uint8" in message


def test_classes_may_be_a_list_of_names() -> None:
    found = vss.Conversion(classes=["road", "sky"]).class_set
    assert found is not None and found.names == ("road", "sky")


def test_what_belongs_to_one_process_is_not_pickled(p_only: Path) -> None:
    segmenter = toys.segmenter()
    with vss.open_source(p_only) as source:
        frame = next(source)
        things = {
            "Segmenter": segmenter,
            "Session": segmenter.session(),
            "Source": source,
            "DecodedPicture": frame,
        }
        for name, thing in things.items():
            message = one_line(OptionError, partial(pickle.dumps, thing))
            assert f"a {name} belongs to one process and cannot be pickled: " in message


def test_predictions_and_frames_of_arrays_go_to_other_processes() -> None:
    session = toys.segmenter().session()
    with vss.open_source([RGB]) as source:
        frame = next(source)
    prediction = session.step(frame)
    sent, picture = pickle.loads(pickle.dumps((prediction, frame)))
    assert np.array_equal(sent.labels, prediction.labels) and sent.decision == prediction.decision
    assert picture.start is vss.StartReason.FIRST_FRAME
