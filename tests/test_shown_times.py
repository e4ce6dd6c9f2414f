"""Presentation times of streams whose container has none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_vss.runtimes.motion import Feed
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame, Packet
from tests.helpers.losses import without
from tests.helpers.videos import encode, pan, remux, retimed
from tests.test_packets import Pairing

FORMATS = {"avi": "v.avi", "asf": "v.asf", "mxf": "v.mxf", "mpeg": "v.mpg", "mkv": "v.mkv"}
CODECS = {
    "h264": ("libx264", {"bf": "2", "g": "9", "x264-params": "b-adapt=0:scenecut=0"}),
    "h264 pyramid": ("libx264", {"bf": "3", "g": "250", "x264-params": "b-adapt=0:b-pyramid=normal"}),
    "hevc": ("libx265", {"x265-params": "log-level=none:bframes=2:b-adapt=0:keyint=9"}),
    "mpeg4": ("mpeg4", {"bf": "2", "g": "9"}),
    "mpeg2": ("mpeg2video", {"bf": "2", "g": "9"}),
}
CANNOT = {("avi", "hevc"), ("asf", "hevc"), ("asf", "mpeg2"), ("mxf", "hevc"), ("mxf", "mpeg4")}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("format", FORMATS)
def test_frames_are_evenly_apart(format: str, codec: str, tmp_path: Path) -> None:
    if (format, codec) in CANNOT:
        pytest.skip("FFmpeg does not write this, or not well")
    name, options = CODECS[codec]
    path = encode(tmp_path / FORMATS[format], pan(30), name, options, format={"mpeg": "vob"}.get(format))
    reference = encode(tmp_path / "reference.mp4", pan(30), name, options)
    with open_source(path, motion="none") as source, open_source(reference, motion="none") as other:
        frames, expected = list(source), list(other)
    assert len(frames) == 30
    assert np.diff([frame.pts_seconds for frame in frames]) == pytest.approx(1 / 25, abs=1.1e-3)
    assert [frame.start for frame in frames[1:]] == [""] * 29
    if name.startswith("libx26"):
        assert all(np.array_equal(a.luma, b.luma) for a, b in zip(frames, expected, strict=True))
    with open_source(path, motion="none") as source:
        for frame in frames:
            source.seek(frame.pts_seconds)
            found = next(source)
            assert found.index == frame.index
            assert found.pts_seconds == pytest.approx(frame.pts_seconds)
            assert np.array_equal(found.luma, frame.luma)


def test_a_lost_frame_shifts_no_times(tmp_path: Path) -> None:
    name, options = CODECS["h264"]
    whole = encode(tmp_path / "whole.avi", pan(40), name, options)

    def damage(number: int, content: bytes) -> bytes:
        return b"\x00\x00\x01\x09" if number in (5, 6) else content

    path = remux(whole, tmp_path / "v.avi", damage)
    with open_source(whole, motion="none") as source:
        expected = {round(frame.pts_seconds, 3): frame.luma for frame in source}
    with open_source(path, motion="none") as source:
        frames = list(source)
    assert 36 <= len(frames) < 40
    # From the next key frame on, everything is in its place again.
    after = [frame for frame in frames if frame.pts_seconds > 0.8]
    assert len(after) >= 18
    assert all(np.array_equal(frame.luma, expected[round(frame.pts_seconds, 3)]) for frame in after)


def test_a_packet_and_its_frame_have_one_time_or_none(tmp_path: Path) -> None:
    name, options = CODECS["h264"]
    path = encode(tmp_path / "h264.avi", pan(20), name, options)
    packets: list[Packet] = []
    with open_source(path, motion=partial(keep, packets)) as source:
        frames = list(source)
    assert len(packets) == len(frames) == 20
    assert {packet.pts for packet in packets} == {None} == {frame.pts for frame in frames}
    # FFmpeg works the times of MPEG-4 out, and without reordering there is nothing to work out.
    name, options = CODECS["mpeg4"]
    encode(tmp_path / "mpeg4.avi", pan(20), name, options)
    encode(tmp_path / "p.avi", pan(20))
    for file in ("mpeg4.avi", "p.avi"):
        provider = Pairing()
        with open_source(tmp_path / file, motion=provider) as source:
            assert len(list(source)) == len(provider.pairs) == 20


def keep(packets: list[Packet], feed: Feed) -> Iterator[Frame]:
    feed.listen(packets.append)
    yield from feed.frames


@pytest.mark.parametrize("codec", ["h264", "h264 pyramid", "hevc"])
def test_first_packets_without_a_time_are_shown_before_the_others(codec: str, tmp_path: Path) -> None:
    name, options = CODECS[codec]
    whole = encode(tmp_path / "whole.mkv", pan(30), name, options)
    # Matroska cannot say a time below 0.
    early = without(whole, tmp_path / "early.mkv", [], earlier_seconds=0.12)
    with open_source(whole) as source, open_source(early) as other:
        expected, frames = list(source), list(other)
        assert other.info.time_base is not None
        assert [frame.pts for frame in frames[:4]] == [None, None, None, 0]
        for number in (0, 2, 3, 20):
            other.seek(frames[number].pts_seconds)
            found = next(other)
            assert found.index == number and found.pts_seconds == pytest.approx(frames[number].pts_seconds)
    assert [frame.pts_seconds + 0.12 for frame in frames] == pytest.approx(
        [frame.pts_seconds for frame in expected], abs=2e-3
    )
    assert all(np.array_equal(a.luma, b.luma) for a, b in zip(frames, expected, strict=True))


@pytest.mark.parametrize("codec", CODECS)
def test_times_that_stand_still_say_nothing(codec: str, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mkv", pan(30), *CODECS[codec])
    still = retimed(whole, tmp_path / "still.mkv", lambda number: 7)
    with open_source(whole) as source, open_source(still) as other:
        expected, frames = list(source), list(other)
        assert other.info.time_base is None and other.info.duration_seconds is None
        times = [frame.pts_seconds for frame in frames]
        assert times == pytest.approx([number / other.info.fps for number in range(30)])
        for number in (0, 3, 20):
            other.seek(times[number])
            assert next(other).index == number
    for one, two in zip(frames, expected, strict=True):
        assert np.array_equal(one.luma, two.luma) and one.start == two.start
        assert one.motion is two.motion or (
            one.motion is not None
            and two.motion is not None
            and np.array_equal(one.motion.displacement_px, two.motion.displacement_px)
        )


def test_times_that_move_on_late_are_times(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mkv", pan(30))
    path = retimed(whole, tmp_path / "late.mkv", lambda number: max(0, number - 2))
    with open_source(path, motion="none") as source:
        times = [frame.pts_seconds for frame in source]
    assert times == pytest.approx([max(0, number - 2) / 25 for number in range(30)], abs=2e-3)
