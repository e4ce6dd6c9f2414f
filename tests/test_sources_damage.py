"""Streams that lost something, that change in the middle, or that end too early."""

from __future__ import annotations

import errno
import socket
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources._container import broke_off
from edge_vss.video import Frame
from tests.helpers.frames import read, starts
from tests.helpers.hanging_up import answering
from tests.helpers.videos import (
    P_ONLY,
    annex_b,
    drop,
    encode,
    pan,
    remux,
    texture,
)


@pytest.mark.parametrize("lost", [1, 7, 28])
def test_one_lost_packet_starts_anew_at_the_next_frame(p_only: Path, tmp_path: Path, lost: int) -> None:
    frames = read(drop(p_only, tmp_path / "v.mp4", [lost]))
    assert len(frames) == 29
    assert starts(frames) == {0: "first frame", lost: "lost packets"}


def test_lost_packets_among_b_frames(b_frames: Path, tmp_path: Path) -> None:
    whole = [frame.image for frame in read(b_frames)]
    # The clock is trusted after eight equal steps.
    for lost in range(9, 25):
        frames = read(drop(b_frames, tmp_path / f"{lost}.ts", [lost], "mpegts"))
        found = starts(frames)
        assert list(found.values()) == ["first frame", "lost packets"], (lost, found)
        start = list(found)[1]
        shown = [round((frame.pts_seconds - frames[0].pts_seconds) * 25) for frame in frames]
        # Nothing that is shown before the mark may be touched by the loss.
        for frame, number in list(zip(frames, shown, strict=True))[:start]:
            assert np.array_equal(frame.image, whole[number]), (lost, number)


def test_lost_transport_packets(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.ts", [texture((96, 128), i) for i in range(20)], options={**P_ONLY, "g": "5"})
    content = path.read_bytes()
    packets = [content[i : i + 188] for i in range(0, len(content), 188)]
    assert len(packets) > 100
    torn = tmp_path / "torn.ts"
    torn.write_bytes(b"".join(packets[:60] + packets[64:]))
    assert starts(read(path)) == {0: "first frame"}
    found = starts(read(torn))
    assert len(found) >= 2
    assert set(found.values()) <= {"first frame", "lost packets", "damaged packet"}


def test_damaged_packets_are_passed_over_and_counted(p_only: Path, tmp_path: Path) -> None:
    def damage(number: int, content: bytes) -> bytes:
        # A length prefix that points past the end: the decoder refuses the whole packet.
        return b"\xff\xff\xff\xf0" + content[4:] if number == 9 else content

    path = remux(p_only, tmp_path / "v.mp4", damage)
    with open_source(path, motion="codec") as source:
        frames = list(source)
        assert source.errors == 1
    assert len(frames) == 29
    assert starts(frames) == {0: "first frame", 9: "damaged packet"}


def test_random_damage_never_raises(p_only: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    for trial in range(12):

        def damage(number: int, content: bytes) -> bytes:
            noisy = bytearray(content)
            if number and random.random() < 0.3:
                for place in random.integers(4, len(noisy), 3):
                    noisy[place] = int(random.integers(256))
            return bytes(noisy)

        path = remux(p_only, tmp_path / f"{trial}.mkv", damage)
        frames = read(path, motion="auto")
        assert 1 <= len(frames) <= 30


def test_edit_list_frames_that_are_not_shown_are_not_given(p_only: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    with (
        av.open(str(p_only)) as before,
        av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as after,
    ):
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        shift = round(10 / 25 / Fraction(stream.time_base or 1))
        for packet in before.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                after.mux(packet)
    whole, frames = read(p_only), read(cut, motion="auto")
    assert len(frames) == 20
    assert frames[0].start == "first frame"
    assert frames[0].pts_seconds == pytest.approx(0, abs=0.001)
    assert np.array_equal(frames[0].luma, whole[10].luma)
    assert starts(frames) == {0: "first frame"}


def test_truncated_file_gives_what_is_there(p_only: Path, tmp_path: Path) -> None:
    for suffix in ("ts", "mkv", "h264"):
        whole = remux(p_only, tmp_path / f"whole.{suffix}", lambda number, content: content).read_bytes()
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(whole[: len(whole) * 2 // 3])
        frames = read(path)
        assert 5 < len(frames) < 30
    # An MP4 with its index in front survives, too.
    front = remux(
        p_only, tmp_path / "front.mp4", lambda number, content: content, None, {"movflags": "faststart"}
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(front.read_bytes()[:-2000])
    assert 5 < len(read(cut)) < 30


def test_a_file_from_the_network_that_breaks_off_is_an_error(p_only: Path, tmp_path: Path) -> None:
    whole = remux(p_only, tmp_path / "v.ts", lambda number, content: content).read_bytes()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    asked: list[int] = []

    def answer(connection: socket.socket, number: int) -> bool:
        connection.recv(4096)
        connection.sendall(head + whole[: len(whole) * asked[-1] // 100])
        # Reading to the end leaves nothing that would make this hanging up a reset.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
        return True

    frames: list[Frame] = []
    with answering(answer) as port:
        asked.append(100)
        with open_source(f"http://127.0.0.1:{port}/v.ts", motion="none") as source:
            assert len(list(source)) == 30
        asked.append(60)
        with (
            open_source(f"http://127.0.0.1:{port}/v.ts", motion="none") as source,
            pytest.raises(SourceError, match=r"v\.ts broke off \(.*\): check the network"),
        ):
            frames.extend(source)
    # What came before that was handed out.
    assert 5 < len(frames) < 30


def test_what_is_a_break_and_what_a_file_that_is_cut_short(p_only: Path, tmp_path: Path) -> None:
    def error(number: int) -> av.error.FFmpegError:
        return av.error.FFmpegError(number, "")

    for number, remote, whole in (
        (errno.EIO, True, False),
        (errno.ECONNRESET, True, True),
        (errno.ETIMEDOUT, True, True),
        (errno.EINVAL, False, False),
    ):
        assert broke_off("http://host/v.ts", error(number)) is remote
        assert broke_off(str(p_only), error(number)) is whole
        assert broke_off("pipe:0", error(number)) is whole
    # Nothing of it can be read, as on a disk that fails.
    assert broke_off(str(tmp_path), error(errno.EIO))
    assert not broke_off(str(p_only), av.error.InvalidDataError(1, ""))


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = np.cumsum([0] + [0.04, 0.12, 0.04, 0.4, 0.04, 0.04, 0.08] * 4)
    for suffix in ("mp4", "mkv"):
        path = encode(tmp_path / f"v.{suffix}", pan(len(times)), times=list(times))
        frames = read(path)
        assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=0.002)
        assert starts(frames) == {0: "first frame"}


def test_size_change(tmp_path: Path) -> None:
    small = annex_b(encode(tmp_path / "a.mp4", pan(6, (64, 80))), tmp_path / "a.h264")
    large = annex_b(encode(tmp_path / "b.mp4", pan(6, (96, 128))), tmp_path / "b.h264")
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    frames = read(both, motion="auto")
    assert [frame.size for frame in frames] == [(64, 80)] * 6 + [(96, 128)] * 6
    assert starts(frames) == {0: "first frame", 6: "size changed"}
    assert frames[6].motion is None
    assert frames[7].image.shape == (96, 128, 3)
