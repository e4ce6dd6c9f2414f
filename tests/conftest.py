"""Inputs that several test files share, made once per run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.videos import B_FRAMES, encode, pan


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
    pytest.importorskip("torch", reason="the converter's half is not installed")
    from tests.helpers.bundles import make_bundle

    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of H.264, with their label maps in the folder ``truth`` beside it; do not change it."""
    from tests.helpers.bundles import make_video

    folder = tmp_path_factory.mktemp("video")
    return make_video(folder / "tiny.mp4", ground_truth=folder / "truth")
