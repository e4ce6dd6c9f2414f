"""Files whose headers change on the way, and stand beside the packets: an encoder was set anew."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest

from edge_vss.motion_field import MotionVectors
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources._decoder import Decoder
from edge_vss.video import Frame
from tests.helpers.flv import continued
from tests.helpers.videos import P_ONLY, Image, encode, pan

FIRST, SECOND = 40, 30
KEYS = {"g": "12"}
HEVC = "log-level=none:keyint=12:bframes=0:ref=1"
OTHER_TREES = ":ctu=16:min-cu-size=16:max-tu-size=16:no-amp=1:no-strong-intra-smoothing=1"


def heavy(count: int) -> list[Image]:
    """So many bytes that opening does not read on to the other headers."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (192, 256, 3), dtype=np.uint8) for _ in range(count)]


def as_mp4(path: Path, source: Path) -> Path:
    """FFmpeg's muxer writes a sample description for each header."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        into = written.add_stream_from_template(stream)
        for packet in read.demux(stream):
            if packet.size:
                packet.stream = into
                written.mux(packet)
    return path


def handed_out(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [n for n, packet in enumerate(packets) if packet.has_sidedata("new_extradata")]


def both(folder: Path, codec: str, options: tuple[dict[str, str], dict[str, str]]) -> tuple[Path, Path, Path]:
    """FLV and MP4 with two headers, and what comes second by itself."""
    first = encode(folder / "first.flv", heavy(FIRST), codec, options[0])
    second = encode(folder / "second.flv", pan(SECOND, (192, 256), seed=2), codec, options[1])
    flv = continued(folder / "both.flv", first, second)
    mp4 = as_mp4(folder / "both.mp4", flv)
    assert handed_out(flv) == handed_out(mp4) == [FIRST]
    return flv, mp4, second


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    others = P_ONLY | KEYS | {"x264-params": "cabac=0"}
    return both(tmp_path_factory.mktemp("h264"), "libx264", (P_ONLY | KEYS | {"qp": "4"}, others))


@pytest.fixture(scope="module")
def hevc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    options = {"x265-params": f"{HEVC}:qp=8"}, {"x265-params": HEVC + OTHER_TREES}
    return both(tmp_path_factory.mktemp("hevc"), "libx265", options)


def same(one: MotionVectors | None, other: MotionVectors | None) -> bool:
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and bool((one.displacement_px == other.displacement_px).all())


@pytest.mark.parametrize("pictures", ["all", "key", "none"])
def test_hevc_is_read_by_the_headers_that_hold(hevc: tuple[Path, Path, Path], pictures: str) -> None:
    pytest.importorskip("wasmtime")
    *files, alone = hevc
    with open_source(alone, motion="hevc") as source:
        expected = [frame.vectors for frame in source]
    assert sum(vectors is not None for vectors in expected) >= SECOND - 3
    for path in files:
        with open_source(path, motion="hevc", pictures=pictures) as source:
            found = [frame.vectors for frame in source][FIRST:]
        assert len(found) == SECOND
        assert all(map(same, found, expected))


def test_h264_is_counted_by_the_headers_that_hold(h264: tuple[Path, Path, Path]) -> None:
    *files, alone = h264
    with open_source(alone) as source:
        expected = [frame.luma.tobytes() for frame in source]
    for path in files:
        with open_source(path) as source:
            frames = list(source)
        assert [frame.luma.tobytes() for frame in frames[FIRST:]] == expected
        assert not [frame.start for frame in frames[FIRST + 1 :] if frame.start]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_seeking_across_new_headers(codec: str, request: pytest.FixtureRequest) -> None:
    for path in request.getfixturevalue(codec)[:2]:
        with open_source(path, motion="none") as source:
            row = [(frame.pts_seconds, frame.luma.tobytes()) for frame in source]
        with open_source(path, motion="none") as source:
            # From one that is read ahead of the change to one behind it, and to and fro.
            for index in (FIRST - 15, FIRST + 14, FIRST + 3, 5, FIRST + 20, 30, FIRST):
                source.seek(row[index][0])
                frame: Frame = next(source)
                assert (frame.index, frame.luma.tobytes()) == (index, row[index][1])
                for _ in range(6):
                    next(source)


def test_damage_behind_new_headers(
    h264: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decoded again has the headers that hold there."""
    whole = h264[0].read_bytes()
    with av.open(str(h264[0])) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        place, size = packets[FIRST + 18].pos or 0, packets[FIRST + 18].size
    path = tmp_path / "damaged.flv"
    middle = place + 16 + size // 2
    path.write_bytes(whole[:middle] + random.Random(0).randbytes(8) + whole[middle + 8 :])

    def frames() -> list[tuple[int, str, bytes]]:
        with open_source(path, motion="codec") as source:
            return [(frame.index, frame.start, frame.luma.tobytes()) for frame in source]

    found = frames()
    monkeypatch.setattr(Decoder, "_may_be_quick", lambda self: False)
    expected = frames()
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    damaged = FIRST + 18
    assert found[:damaged] == expected[:damaged] and found[FIRST + 24 :] == expected[FIRST + 24 :]
