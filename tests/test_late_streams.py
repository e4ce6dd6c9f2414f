"""Streams that appear after a file was opened: sound that begins late, and another recording."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from edge_vss.runtimes.sources import open_source
from tests.helpers.flv import flv_tag
from tests.helpers.logs import listening
from tests.helpers.videos import P_ONLY, encode, pan

FLV_AUDIO, MP3_44KHZ_STEREO = 8, b"\x2f"
MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
SMALL_PROBE = {"probesize": "4096"}
"""A short file counts as a long one then: FFmpeg looks at 5 MB before it says which streams there are."""


@pytest.fixture(scope="module")
def late_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = encode(tmp_path_factory.mktemp("late") / "late.flv", pan(40, (144, 176)), options=P_ONLY)
    sound = flv_tag(FLV_AUDIO, 1600, MP3_44KHZ_STEREO + MP3_FRAME)
    path.write_bytes(path.read_bytes() + 3 * sound)
    with av.open(str(path), options=SMALL_PROBE) as container:
        assert len(container.streams) == 1, "FFmpeg has found the sound at once"
    return path


@pytest.mark.parametrize("motion", ["codec", "flow"])
def test_sound_that_begins_late_is_passed_over(motion: str, late_sound: Path) -> None:
    with open_source(late_sound, motion=motion, options=SMALL_PROBE) as source:
        assert len(list(source)) == 40 and source.errors == 0
        source.seek(1.0)
        assert next(source).index == 25
        assert len(list(source)) == 14


OWN_NUMBERS = {"mpegts_start_pid": "300", "mpegts_pmt_start_pid": "5000"}


@pytest.mark.parametrize(
    ("suffix", "muxer", "read"),
    [
        ("ts", OWN_NUMBERS, 30),
        ("ts", {}, 60),
        ("mkv", {}, 60),
        ("avi", {}, 60),
        ("mp4", {}, 30),
        ("mp4", {"movflags": "faststart"}, 30),
        ("mov", {}, 30),
        ("flv", {}, 30),
    ],
)
def test_another_recording_is_read_or_told(
    suffix: str, muxer: dict[str, str], read: int, tmp_path: Path
) -> None:
    first = encode(tmp_path / f"first.{suffix}", pan(30), options=P_ONLY)
    second = encode(tmp_path / f"second.{suffix}", pan(30, seed=1), options=P_ONLY, muxer=muxer)
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with listening() as said, open_source(both, motion="codec") as source:
        count = len(list(source))
    told = [line for line in said if "another recording begins at byte" in line]
    assert (count, len(told)) == (read, int(read < 60))
    if read < 60 and suffix != "ts":
        assert f"byte {first.stat().st_size}," in told[0]


@pytest.mark.parametrize("suffix", ["ts", "mp4", "mov", "flv"])
@pytest.mark.parametrize("muxer", [{}, {"movflags": "frag_keyframe+empty_moov"}], ids=["plain", "in parts"])
def test_one_recording_tells_of_no_other(suffix: str, muxer: dict[str, str], tmp_path: Path) -> None:
    muxer = muxer if suffix in ("mp4", "mov") else {}
    path = encode(tmp_path / f"one.{suffix}", pan(30), options=P_ONLY | {"g": "10"}, muxer=muxer)
    path.write_bytes(path.read_bytes() + bytes(1_000))
    with listening() as said, open_source(path) as source:
        assert len(list(source)) == 30
    assert not [line for line in said if "another recording" in line]
