"""A live stream that comes back as another camera: everything that depends on the stream begins anew."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from edge_vss.runtimes.sources import Source, open_source
from edge_vss.video import Frame, Packet
from tests.helpers.cameras import coming_back
from tests.helpers.hevc import encode_hevc, scene
from tests.helpers.videos import encode, pan

LONG = 120.0
"""Seconds that nothing takes which goes well."""


@pytest.fixture(autouse=True)
def extra() -> None:
    pytest.importorskip("wasmtime", reason="the extra hevc is not installed")


def watch(url: str, motion: str = "auto", pictures: str = "all") -> Source:
    return open_source(url, motion=motion, pictures=pictures, timeout_seconds=LONG, reconnect_seconds=LONG)


def packets_in_memory() -> int:
    gc.collect()
    return sum(type(each) is Packet for each in gc.get_objects())


def test_no_packet_is_kept_for_a_parser_of_the_codec_before(tmp_path: Path) -> None:
    before = encode_hevc(tmp_path / "before.ts", scene(6), "bframes=0:ref=1")
    after = encode(tmp_path / "after.ts", pan(80))
    others = packets_in_memory()
    with coming_back(before, after) as url, watch(url) as source:
        frames = [next(source) for _ in range(80)]
        assert source.info.codec == "h264"
        assert packets_in_memory() <= others
    assert [frame.index for frame in frames if frame.start] == [0, 6]
    assert all(frame.motion is not None for frame in frames if not frame.start)


def alone(clip: Path) -> list[Frame]:
    with open_source(clip, motion="codec") as source:
        return list(source)


def same_motion(frame: Frame, other: Frame) -> bool:
    if frame.motion is None or other.motion is None:
        return frame.motion is other.motion
    one, two = frame.motion, other.motion
    return (
        np.array_equal(one.displacement_px, two.displacement_px)
        and np.array_equal(one.known, two.known)
        and np.array_equal(one.reference, two.reference)
    )


@pytest.mark.parametrize("options", [{"refs": "4"}, {"refs": "1", "bf": "2"}])
def test_vectors_of_several_frames_are_told_apart_once_a_camera_has_them(
    options: dict[str, str], tmp_path: Path
) -> None:
    before = encode(tmp_path / "before.ts", scene(8))
    # Every second picture is dark: what moves is found two frames before.
    scenes = [image // 4 if number % 2 else image for number, image in enumerate(scene(24))]
    after = encode(tmp_path / "after.ts", scenes, options={"bf": "0", "preset": "medium", **options})
    expected = alone(after)
    with coming_back(before, after) as url, watch(url, motion="codec") as source:
        frames = [next(source) for _ in range(32)]
    assert [frame.index for frame in frames if frame.start] == [0, 8]
    assert source.info.has_b_frames == ("bf" in options)
    assert all(same_motion(*pair) for pair in zip(frames[8:], expected, strict=True))


def test_vectors_of_several_frames_are_told_apart_from_a_new_header_on(tmp_path: Path) -> None:
    before = encode(tmp_path / "before.ts", scene(30))
    scenes = [image // 4 if number % 2 else image for number, image in enumerate(scene(24))]
    after = encode(tmp_path / "after.ts", scenes, options={"bf": "0", "preset": "medium", "refs": "4"})
    both = tmp_path / "both.ts"
    both.write_bytes(before.read_bytes() + after.read_bytes())
    with open_source(both, motion="codec") as source:
        assert source.info.references == 1
        frames = list(source)
        assert source.info.references == 4
    # The header is seen as soon as its packet is read, 16 packets ahead: what follows it must be right.
    assert [frame.index for frame in frames] == list(range(54))
    assert all(frame.motion is not None for frame in frames[1:30])
    assert all(same_motion(*pair) for pair in zip(frames[31:], alone(after)[1:], strict=True))


def test_a_parser_hears_the_first_packet_of_the_camera_that_came_back(tmp_path: Path) -> None:
    before = encode(tmp_path / "before.ts", pan(6))
    # One I-frame: whoever misses it knows no vector up to the end.
    after = encode_hevc(tmp_path / "after.ts", scene(12), "bframes=0:ref=1")
    other = encode_hevc(tmp_path / "other.ts", scene(12, (96, 128)), "bframes=0:ref=3")
    with coming_back(before, after, other) as url, watch(url) as source:
        frames = [next(source) for _ in range(30)]
    assert [frame.index for frame in frames if frame.start] == [0, 6, 18]
    assert all(frame.vectors is not None for frame in frames if not frame.start)


def test_encoding_goes_on_where_a_camera_comes_back_with_another_codec(tmp_path: Path) -> None:
    before = encode(tmp_path / "before.ts", pan(6))
    after = encode(tmp_path / "after.ts", pan(6, (48, 64)), "mpeg2video", {"bf": "0"})
    with coming_back(before, after) as url, watch(f"encode:{url}", motion="codec") as source:
        frames = [next(source) for _ in range(12)]
    assert [frame.index for frame in frames if frame.start] == [0, 6]
    assert [frame.size for frame in frames] == [(96, 128)] * 6 + [(48, 64)] * 6
    assert all((frame.motion is None) == bool(frame.start) for frame in frames)
    assert all(frame.motion.coverage > 0.5 for frame in frames if frame.motion)


@pytest.mark.parametrize("pictures", ["key", "none"])
def test_a_camera_that_was_only_read_is_decoded_once_it_comes_back_with_another_codec(
    pictures: str, tmp_path: Path
) -> None:
    before = encode_hevc(tmp_path / "before.ts", scene(6), "bframes=0:ref=1")
    after = encode(tmp_path / "after.ts", scene(8, (96, 128)))
    expected = alone(after)
    with coming_back(before, after) as url, watch(url, "codec", pictures) as source:
        frames = [next(source) for _ in range(14)]
        assert (source.info.codec, source.info.size, source.info.pictures) == ("h264", (96, 128), pictures)
    assert [frame.index for frame in frames] == list(range(14))
    assert [frame.index for frame in frames if frame.start] == [0, 6]
    assert frames[6].start in ("reconnected", "size changed")
    assert [frame.index for frame in frames if frame.has_picture] == ([0, 6] if pictures == "key" else [])
    assert all(same_motion(*pair) for pair in zip(frames[6:], expected, strict=True))


def test_a_camera_that_is_only_read_comes_back_as_another_of_its_codec(tmp_path: Path) -> None:
    before = encode_hevc(tmp_path / "before.ts", scene(6), "bframes=0:ref=1")
    after = encode_hevc(tmp_path / "after.ts", scene(8, (96, 128)), "bframes=0:ref=3")
    with coming_back(before, after) as url, watch(url, pictures="key") as source:
        frames = [next(source) for _ in range(14)]
    assert [frame.index for frame in frames if frame.has_picture] == [0, 6]
    assert all(frame.vectors is not None for frame in frames if not frame.start)
