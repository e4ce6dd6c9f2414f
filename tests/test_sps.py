from __future__ import annotations

import os
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._continuity import Continuity
from tests.helpers.videos import P_ONLY, annex_b, encode, pan


def extradata(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return bytes(container.streams.video[0].codec_context.extradata or b"")


@pytest.mark.parametrize("references", [1, 2, 4])
def test_references_that_the_encoder_was_told(tmp_path: Path, references: int) -> None:
    path = encode(tmp_path / "v.mp4", pan(4), options={**P_ONLY, "refs": str(references)})
    found = sps.read_extradata(extradata(path))
    assert found is not None
    assert found.max_references == references


@pytest.mark.parametrize(
    ("pix_fmt", "options", "profile", "size"),
    [
        ("yuv420p", {"profile": "baseline", "preset": "veryfast"}, 66, (96, 128)),
        ("yuv420p", {"x264-params": "cqm=jvt:8x8dct=1"}, 100, (96, 128)),
        ("yuv420p10le", {}, 110, (96, 128)),
        ("yuv422p", {}, 122, (96, 128)),
        ("yuv444p", {"x264-params": "cqm=jvt:8x8dct=1"}, 244, (96, 128)),
        ("yuv420p", {"x264-params": "tff=1"}, 100, (96, 128)),
    ],
)
def test_profiles(
    tmp_path: Path, pix_fmt: str, options: dict[str, str], profile: int, size: tuple[int, int]
) -> None:
    path = encode(tmp_path / "v.mp4", pan(4), options={"refs": "2", "bf": "0", **options}, pix_fmt=pix_fmt)
    found = sps.read_extradata(extradata(path))
    assert found is not None
    assert (found.profile, found.size, found.separate_planes) == (profile, size, False)
    assert not found.gaps_allowed


def test_coded_size_is_whole_macroblocks(tmp_path: Path) -> None:
    found = sps.read_extradata(extradata(encode(tmp_path / "v.mp4", pan(2, (90, 110)))))
    assert found is not None
    assert found.size == (96, 112)


def test_avc_and_annex_b_say_the_same(p_only: Path, tmp_path: Path) -> None:
    raw = annex_b(p_only, tmp_path / "v.h264").read_bytes()
    units = [unit for unit in sps.nal_units(raw) if unit[0] & 31 == sps.NAL_SPS]
    assert sps.read_sps(units[0]) == sps.read_extradata(extradata(p_only))
    assert sps.read_extradata(raw) == sps.read_extradata(extradata(p_only))
    assert sps.length_bytes(extradata(p_only)) == 4
    assert sps.length_bytes(raw) == 0


def test_frame_num_counts_reference_frames(p_only: Path) -> None:
    found = sps.read_extradata(extradata(p_only))
    assert found is not None
    starts = []
    with av.open(str(p_only)) as container:
        for packet in container.demux(video=0):
            starts += [
                start
                for unit in sps.nal_units(bytes(packet), 4)
                if (start := sps.read_slice_start(unit, found)) is not None
            ]
    assert [start.idr for start in starts] == [True] + [False] * 29
    assert [start.frame_num for start in starts] == [i % 2**found.log2_max_frame_num for i in range(30)]


def test_emulation_prevention_is_taken_out() -> None:
    # Profile, flags, level; id, log2_max_frame_num - 4, order count type, its bits, references as ue(v); no
    # gaps; and a width whose code has more than two bytes of zeros, so that the stream needs an escape.
    width = f"{1 << 26:053b}"
    bits = f"{66:08b}{0:08b}{30:08b}" + "1" + "1" + "1" + "1" + "010" + "0" + width + "1" + "1" + "100"
    bits += "0" * (-len(bits) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    escaped = bytearray()
    for byte in payload:
        if escaped[-2:] == b"\x00\x00" and byte <= 3:
            escaped.append(3)
        escaped.append(byte)
    assert len(escaped) > len(payload)
    found = sps.read_sps(b"\x67" + bytes(escaped))
    assert found is not None
    assert found.size == (16, 16 * (1 << 26))
    assert found.max_references == 1


def test_cut_short_is_none(p_only: Path) -> None:
    unit = extradata(p_only)[8:]
    assert sps.read_sps(unit[:4]) is None
    assert sps.read_extradata(b"") is None
    assert sps.read_extradata(extradata(p_only)[:7]) is None
    assert sps.read_extradata(b"\x00\x00\x01\x09\x10\x00\x00\x01") is None


SOAK = bool(os.environ.get("EDGE_VSS_SOAK"))
hard = settings(derandomize=not SOAK, max_examples=20_000 if SOAK else 300, deadline=None)
"""Fixed examples in every run; other ones, and many, with EDGE_VSS_SOAK=1."""


@hard
@given(st.data())
def test_no_change_of_a_real_header_can_make_it_fail(p_only: Path, data: st.DataObject) -> None:
    real = bytearray(extradata(p_only))
    for _ in range(data.draw(st.integers(1, 8))):
        real[data.draw(st.integers(0, len(real) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(real[: data.draw(st.integers(0, len(real)))])
    found = sps.read_extradata(changed)
    assert found is None or (4 <= found.log2_max_frame_num <= 16 and found.max_references <= 16)
    watch = Continuity("h264", changed)
    for number in range(3):
        watch.check(watch.read(memoryview(changed), number, 1))


def test_counts_that_the_standard_forbids_are_not_counted_to() -> None:
    # Profile, flags, level; id, log2_max_frame_num - 4, order count type 1, its flag and two offsets; then a
    # cycle of 2^31 offsets, and a long row of them.
    bits = f"{66:08b}{0:08b}{30:08b}" + "1" + "1" + "010" + "0" + "1" + "1" + "0" * 31 + "1" + "0" * 31
    payload = int(bits.ljust(-(-len(bits) // 8) * 8, "1"), 2).to_bytes(-(-len(bits) // 8), "big")
    long = b"\x67" + payload + b"\xff" * 10_000_000
    assert sps.read_sps(long) is None
    # Nothing but zeros: an Exp-Golomb code that never ends.
    assert sps.read_sps(b"\x67" + bytes([66, 0, 30]) + bytes(10_000_000)) is None
    lists = sps.Bits(b"\xff" * 1000)
    sps._skip_scaling_list(lists, 64)
    assert lists.position <= 64


@hard
@given(st.binary(max_size=200))
def test_no_bytes_can_make_it_fail(content: bytes) -> None:
    parameters = sps.SequenceParameters(100, 8, 8, 1, False, False, True, (16, 16))
    sps.read_extradata(content)
    for prefix in (0, 1, 4):
        for unit in sps.nal_units(content, prefix):
            sps.read_sps(unit)
            sps.read_slice_start(unit, parameters)
