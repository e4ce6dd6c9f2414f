"""Motion providers on real streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_vss.errors import OptionError
from edge_vss.runtimes.motion import MOTIONS
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame
from tests.helpers.videos import B_FRAMES, P_ONLY, encode, pan, texture

INNER = (slice(None), slice(2, -2), slice(2, -2))


def frames(video: Path, motion: str) -> list[Frame]:
    with open_source(video, motion=motion) as source:
        return list(source)


def test_the_providers_are_there() -> None:
    assert MOTIONS.names() == ["auto", "codec", "flow", "hevc", "none"]
    with pytest.raises(OptionError, match="choose one of auto, codec, flow, hevc, none"):
        open_source("nothing.mp4", motion="magic")


@pytest.mark.parametrize("motion", ["auto", "codec", "flow", "none"])
def test_the_frames_go_through_in_order_and_timed(motion: str, p_only: Path) -> None:
    found = frames(p_only, motion)
    assert [frame.index for frame in found] == list(range(30))
    assert found[0].motion is None
    assert all("motion" in frame.seconds for frame in found)
    assert all((frame.motion is None) == (motion == "none") for frame in found[1:])


@pytest.mark.parametrize("step", [(2, 0), (-3, 2)])
def test_flow_finds_a_known_pan(step: tuple[int, int], tmp_path: Path) -> None:
    video = encode(tmp_path / "pan.mp4", pan(6, (192, 256), step))
    for frame in frames(video, "flow")[1:]:
        assert frame.motion is not None and frame.motion.provider == "flow"
        assert frame.motion.coverage > 0.9
        median = np.median(frame.motion.displacement_px[INNER], axis=(1, 2))
        assert median == pytest.approx((-step[0], -step[1]), abs=0.25)


def test_flow_does_not_know_what_it_cannot_match(tmp_path: Path) -> None:
    stills = [texture((192, 256), 1)] * 2 + [255 - texture((192, 256), 9)] * 2
    coverage = [
        frame.motion.coverage
        for frame in frames(encode(tmp_path / "cut.mp4", stills), "flow")
        if frame.motion
    ]
    assert coverage[0] > 0.9 and coverage[1] < 0.6 and coverage[2] > 0.9


def test_flow_is_reduced_on_a_large_frame_but_speaks_its_pixels(tmp_path: Path) -> None:
    video = encode(tmp_path / "large.mp4", pan(3, (720, 1280), (6, -4)))
    last = frames(video, "flow")[-1].motion
    assert last is not None and last.displacement_px.shape == (2, 90, 160)
    assert np.median(last.displacement_px[INNER], axis=(1, 2)) == pytest.approx((-6, 4), abs=0.4)


def test_auto_takes_flow_where_the_codec_exports_nothing(tmp_path: Path) -> None:
    video = encode(tmp_path / "pan.webm", pan(5, (128, 160), (3, 0)), "libvpx-vp9")
    for frame in frames(video, "auto")[1:]:
        assert frame.motion is not None and frame.motion.provider == "flow"
    for frame in frames(video, "codec")[1:]:
        assert frame.motion is not None and frame.motion.coverage == 0


def test_an_i_frame_inside_the_interval_keeps_moving(tmp_path: Path) -> None:
    video = encode(tmp_path / "gop.mp4", pan(12, (128, 160), (3, 0)), options={**P_ONLY, "g": "6"})
    for motion, provider, known in (("codec", "codec", 0.0), ("auto", "flow", 0.8)):
        found = frames(video, motion)
        assert [frame.picture_type for frame in found].count("I") == 2
        at_i_frame = found[6].motion
        assert at_i_frame is not None and at_i_frame.provider == provider
        assert np.median(at_i_frame.displacement_px[0][2:-2, 2:-2]) == pytest.approx(-3, abs=0.3)
        assert at_i_frame.coverage >= known and (known > 0 or at_i_frame.coverage == 0)


def test_b_frame_vectors_are_the_same_in_every_run(tmp_path: Path) -> None:
    video = encode(tmp_path / "b.mp4", pan(20, (192, 256), (3, 1)), options=B_FRAMES)
    first = frames(video, "codec")
    assert "B" in {frame.picture_type for frame in first}
    for _ in range(4):
        for one, other in zip(first, frames(video, "codec"), strict=True):
            if one.motion is None:
                assert other.motion is None
            else:
                assert other.motion is not None
                assert np.array_equal(one.motion.displacement_px, other.motion.displacement_px)


@pytest.mark.parametrize("size", [(97, 131), (34, 50), (16, 16)])
def test_odd_and_tiny_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    pictures = pan(4, size, (1, 0))
    video = encode(tmp_path / "odd.mkv", pictures, pix_fmt="yuv444p")
    for motion in ("codec", "flow", "auto"):
        for frame in frames(video, motion):
            assert frame.size == size
            if frame.motion is not None:
                assert frame.motion.known.shape == (-(-size[0] // 8), -(-size[1] // 8))


def test_vectors_that_the_mpeg4_decoder_does_not_store_are_not_taken(tmp_path: Path) -> None:
    # It exports zeros for B-frames.
    clip = encode(tmp_path / "b.avi", pan(16, (96, 128), (3, 0)), "mpeg4", {"bf": "2", "b": "4000000"})
    for motion in ("auto", "codec"):
        with open_source(clip, motion=motion) as source:
            frames = list(source)
        assert {"P", "B"} <= {frame.picture_type for frame in frames}
        for frame in frames:
            if frame.picture_type == "B":
                assert frame.vectors is None
            if frame.motion is not None and (motion == "auto" or frame.picture_type == "P"):
                across = float(np.median(frame.motion.displacement_px[0]))
                assert abs(abs(across) - 3) < 0.5
