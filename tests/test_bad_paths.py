"""Places that no file can have, or that hold something else: one line of the documented type, at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_vss import bundle, classes
from edge_vss.errors import BundleError, EdgeVssError, OptionError, SourceError
from edge_vss.runtimes.tools.ground_truth import GroundTruth, read_labels


def build(path: Path) -> None:
    with bundle.building(path):
        raise AssertionError("nothing can be built there")


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def nowhere(folder: Path) -> Path:
    (folder / "nowhere").symlink_to(folder / "not there")
    return folder / "nowhere"


PLACES: dict[str, Callable[[Path], Path]] = {
    "a zero in the name": lambda folder: folder / "a\0b",
    "a name too long": lambda folder: folder / ("x" * 5000),
    "a pipe": pipe,
    "a link to itself": loop,
    "a link to nothing": nowhere,
    "a device": lambda folder: Path("/dev/zero"),
    "below a device": lambda folder: Path("/dev/zero/x"),
}
READERS: dict[str, tuple[Callable[[Path], object], type[EdgeVssError]]] = {
    "bundle": (bundle.read, BundleError),
    "new bundle": (build, BundleError),
    "class list": (lambda path: classes.find(str(path)), OptionError),
    "label map": (read_labels, SourceError),
    "label maps": (GroundTruth, SourceError),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reader", READERS)
def test_a_place_that_cannot_be_is_one_line(reader: str, place: str, tmp_path: Path) -> None:
    read, error = READERS[reader]
    path = PLACES[place](tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(EdgeVssError) as caught:
        read(path)
    assert type(caught.value) is error
    assert str(caught.value).isprintable()
    assert sorted(os.listdir(tmp_path)) == before
