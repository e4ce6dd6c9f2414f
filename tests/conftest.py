"""Inputs that several test files share, made once per run, and which tests are slow."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: two workers with two threads each would wait for one another on two cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from edge_vss import bundle
from edge_vss.bundle import Manifest
from edge_vss.runtimes.engines import _auto
from tests.helpers.engine_choice import Made, finder
from tests.helpers.scene import make_video
from tests.helpers.selection import SLOW, SLOW_TESTS, is_long, needs_torch
from tests.helpers.videos import B_FRAMES, encode, pan

# A test that names no engine gets the usual one: what is quickest on this machine says nothing to it.
_auto.LEAST_GMAC = float("inf")

# On a busy machine an example may take long; what is wrong with it is not the time.
settings.register_profile("tests", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=5000)
settings.load_profile("soak" if os.environ.get("EDGE_VSS_SOAK") else "tests")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On a device, which has no torch, the tests of the converters are not even imported."""
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    return True if find_spec("torch") is None and needs_torch(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make check` leaves out, and let it begin first: no worker ends alone with a long file."""
    for item in items:
        if is_long(item.path.name, item.name) and not os.environ.get("EDGE_VSS_SOAK"):
            item.add_marker(pytest.mark.skip(reason="takes a minute or more: `make soak` runs it"))
        if item.path.name in SLOW or item.name.partition("[")[0] in SLOW_TESTS:
            item.add_marker("slow")
    items.sort(key=lambda item: item.path.name not in SLOW)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real videos, label maps and reference vectors that EDGE_VSS_DATA names."""
    folder = os.environ.get("EDGE_VSS_DATA")
    if not folder:
        pytest.skip("EDGE_VSS_DATA is not set: this test needs the data folder")
    return Path(folder)


@pytest.fixture(scope="session")
def p_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames 96×128, content moving 2 pixels right per frame: H.264, one I-frame, one reference."""
    return encode(tmp_path_factory.mktemp("clips") / "p_only.mp4", pan(30))


@pytest.fixture(scope="session")
def b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 30 frames with B-frames (some of them references) and three references."""
    return encode(tmp_path_factory.mktemp("clips") / "b_frames.mp4", pan(30), options=B_FRAMES)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle converted from a real (and tiny) network; do not change it."""
    if folder := os.environ.get("EDGE_VSS_BUNDLES"):
        return Path(folder) / "tiny.vss"
    pytest.importorskip("torch", reason="the converter's half is not installed")
    from tests.helpers.bundles import make_bundle

    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of H.264, with their label maps in the folder ``truth`` beside it; do not change it."""
    folder = tmp_path_factory.mktemp("video")
    return make_video(folder / "tiny.mp4", ground_truth=folder / "truth")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Engine (of `tests.helpers.engine_choice.ENGINES`) and network → its bundle; do not change it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # one folder for all workers
    folder = Path(os.environ.get("EDGE_VSS_KEEP_BUNDLES") or folder / "engines")
    folder.mkdir(parents=True, exist_ok=True)
    return finder(folder)


@pytest.fixture(scope="session")
def labels_bundle(made: Made) -> tuple[Path, Manifest]:
    """The bundle of a network that gives labels, for ONNX Runtime."""
    path = made("onnxruntime")
    return path, bundle.read(path)
