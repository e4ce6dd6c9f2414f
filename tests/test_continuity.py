from __future__ import annotations

from pathlib import Path

import av
import pytest

from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._continuity import LOST, Continuity, PacketHead
from tests.helpers.videos import B_FRAMES, P_ONLY, annex_b, encode, pan

Read = tuple[bytes, int | None, int | None, bool]


def heads(path: Path) -> tuple[str, bytes, list[Read]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = [
            (bytes(packet), packet.dts, packet.duration, packet.is_corrupt)
            for packet in container.demux(stream)
            if packet.size
        ]
        return stream.codec_context.name, bytes(stream.codec_context.extradata or b""), found


def breaks(path: Path, lost: set[int] = frozenset(), times: bool = True) -> list[int]:  # type: ignore[assignment]
    """Numbers (in the whole stream) of the packets where something is found missing."""
    codec, extradata, packets = heads(path)
    watch = Continuity(codec, extradata)
    found = []
    for number, (data, dts, duration, corrupt) in enumerate(packets):
        if number in lost:
            continue
        dts, duration = (dts, duration) if times else (None, None)
        if watch.check(watch.read(memoryview(data), dts, duration, corrupt=corrupt)) == LOST:
            found.append(number)
    return found


ENCODERS = {
    "p only": P_ONLY,
    "b pyramid": B_FRAMES,
    "short gop": {**P_ONLY, "g": "5"},
    "slices": {**P_ONLY, "slices": "4"},
    "interlaced": {"preset": "veryfast", "x264-params": "tff=1:interlaced=1", "bf": "2"},
    "intra refresh": {**P_ONLY, "intra-refresh": "1", "g": "20"},
    "open gop": {"preset": "medium", "x264-params": "open-gop=1", "g": "8", "bf": "3"},
}


@pytest.mark.parametrize("options", ENCODERS.values(), ids=ENCODERS.keys())
def test_a_whole_stream_has_no_break(tmp_path: Path, options: dict[str, str]) -> None:
    path = encode(tmp_path / "v.mp4", pan(40), options=options)
    assert breaks(path) == []
    assert breaks(annex_b(path, tmp_path / "v.h264")) == []


def test_every_lost_p_frame_is_seen_at_the_next_packet(p_only: Path) -> None:
    for lost in range(1, 29):
        assert breaks(p_only, {lost}, times=False) == [lost + 1]


def test_a_burst_is_one_break_even_across_the_wrap(p_only: Path) -> None:
    # frame_num has 4 bits here: 0 follows 15.
    assert breaks(p_only, {14, 15, 16, 17}, times=False) == [18]
    assert breaks(p_only, set(range(10, 24)), times=False) == [24]


def test_start_codes_tell_as_much(p_only: Path, tmp_path: Path) -> None:
    raw = annex_b(p_only, tmp_path / "v.h264")
    assert [breaks(raw, {lost}, times=False) for lost in (1, 7, 20)] == [[2], [8], [21]]


def test_lost_reference_and_disposable_b_frames(b_frames: Path) -> None:
    _, extradata, packets = heads(b_frames)
    parameters = sps.read_extradata(extradata)
    assert parameters is not None
    references: list[int] = []
    disposable: list[int] = []
    for number in range(10, 28):
        starts = [sps.read_slice_start(unit, parameters) for unit in sps.nal_units(packets[number][0], 4)]
        (references if any(start and start.reference for start in starts) else disposable).append(number)
    assert references
    assert disposable
    for lost in references:
        assert breaks(b_frames, {lost}, times=False) == [lost + 1]
    # Nothing refers to these, so only the clock can tell.
    for lost in disposable:
        assert breaks(b_frames, {lost}, times=False) == []


def steady(count: int, step: int = 40, duration: int | None = 40, start: int = 0) -> list[PacketHead]:
    return [PacketHead(start + i * step, duration) for i in range(count)]


def broken(packets: list[PacketHead], codec: str = "vp9") -> list[int]:
    watch = Continuity(codec, b"")
    return [number for number, head in enumerate(packets) if watch.check(head)]


def test_a_gap_in_the_clock_of_a_steady_stream() -> None:
    assert broken(steady(20)) == []
    assert broken(steady(20) + steady(20, start=21 * 40)) == [20]


def test_a_duration_that_foretells_the_gap_is_no_loss() -> None:
    packets = steady(20)
    packets[-1] = PacketHead(packets[-1].dts, 80)
    assert broken(packets + steady(20, start=21 * 40)) == []


def test_rounded_milliseconds_are_steady() -> None:
    thirty = [PacketHead(round(i * 1000 / 30), None) for i in range(40)]
    assert broken(thirty) == []
    assert broken(thirty[:20] + thirty[21:]) == [20]


def test_a_rate_that_changes_is_noted_once() -> None:
    assert broken(steady(20, duration=None) + steady(20, step=80, duration=None, start=21 * 40)) == [20]


def test_an_unsteady_rate_is_no_loss() -> None:
    times = [0, 40, 120, 160, 280, 300, 420, 440, 600, 610, 700, 900, 910, 1000]
    assert broken([PacketHead(time, None) for time in times]) == []


def test_a_clock_that_goes_back_is_a_break() -> None:
    assert broken(steady(20) + steady(20, start=100)) == [20]


def test_the_demuxer_knows_best() -> None:
    packets = [*steady(3), PacketHead(120, 40, corrupt=True)]
    assert broken(packets) == [3]


def test_variable_rate_h264_proves_itself_whole(tmp_path: Path) -> None:
    times = [i / 25 + (0.4 if i >= 20 else 0) for i in range(40)]
    path = encode(tmp_path / "v.mkv", pan(40), times=times)
    assert breaks(path) == []
    assert breaks(path, {25}) == [26]
