"""A motion provider that asks for the packets gets every one of them, and can pair it with its frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from edge_vss.runtimes.motion import Feed
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame, Packet
from tests.helpers.videos import B_FRAMES, drop, encode, pan


class Pairing:
    """A motion provider that counts packets and notes the packet of every frame."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.pairs: list[tuple[Frame, Packet]] = []

    def __call__(self, feed: Feed) -> Iterator[Frame]:
        waiting: dict[int | None, Packet] = {}

        def take(packet: Packet) -> None:
            self.packets.append(packet)
            waiting[packet.pts] = packet

        feed.listen(take)
        for frame in feed.frames:
            # The decoder has had the packet before it gives the frame.
            self.pairs.append((frame, waiting.pop(frame.pts)))
            yield frame


def in_the_file(path: Path) -> list[tuple[bytes, int | None, bool]]:
    with av.open(str(path)) as container:
        return [
            (bytes(packet), packet.pts, packet.is_keyframe)
            for packet in container.demux(video=0)
            if packet.size
        ]


CODECS = {
    "h264": ("libx264", None),
    "h264 with B-frames": ("libx264", B_FRAMES),
    "hevc": ("libx265", {"x265-params": "log-level=none:bframes=3"}),
    "mpeg4": ("mpeg4", {"g": "6", "bf": "2"}),
}


@pytest.mark.parametrize(("codec", "options"), CODECS.values(), ids=CODECS.keys())
def test_every_packet_comes_once_and_has_its_frame(
    codec: str, options: dict[str, str] | None, tmp_path: Path
) -> None:
    path = encode(tmp_path / "v.mp4", pan(30), codec, options)
    provider = Pairing()
    with open_source(path, motion=provider) as source:
        frames = list(source)
        info = source.info
    assert [(packet.data, packet.pts, packet.key) for packet in provider.packets] == in_the_file(path)
    assert [frame for frame, _ in provider.pairs] == frames and len(frames) == 30
    assert {packet.start for packet in provider.packets} == {""}
    assert info.time_base is not None and info.extradata
    for frame, packet in provider.pairs:
        assert packet.pts is not None
        assert frame.pts_seconds == pytest.approx(float(packet.pts * info.time_base))
        assert packet.key or frame.picture_type != "I" or codec == "libx265"


def test_the_packets_after_a_seek_are_those_from_there_on(b_frames: Path, tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", pan(40), options={**B_FRAMES, "g": "10", "x264-params": "open-gop=0"})
    provider = Pairing()
    with open_source(path, motion=provider) as source:
        for _ in range(5):
            next(source)
        provider.packets.clear()
        provider.pairs.clear()
        source.seek(1.0)
        rest = list(source)
    assert rest[0].start == "seek" and [frame for frame, _ in provider.pairs] == rest
    # Decoding begins at the key frame before the frame that is shown first.
    first = provider.packets[0]
    assert first.key and first.start == "seek"
    whole = in_the_file(path)
    begin = [pts for _, pts, _ in whole].index(first.pts)
    assert [(packet.data, packet.pts, packet.key) for packet in provider.packets] == whole[begin:]


def test_a_loss_is_told_with_the_packet_after_it(p_only: Path, tmp_path: Path) -> None:
    provider = Pairing()
    with open_source(drop(p_only, tmp_path / "v.mp4", [7, 8]), motion=provider) as source:
        frames = list(source)
    assert [n for n, packet in enumerate(provider.packets) if packet.start] == [7]
    assert provider.packets[7].start == "lost packets"
    assert len(provider.pairs) == len(frames) == 28
    assert frames[7].start == "lost packets" and provider.pairs[7][1] is provider.packets[7]


def test_packets_are_copied_for_a_listener_only(p_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Packet] = []

    def packet(*fields: object) -> Packet:
        made.append(Packet(*fields))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("edge_vss.runtimes.sources._listening.Packet", packet)
    with open_source(p_only) as source:
        assert len(list(source)) == 30 and not made
    with open_source(p_only, motion=Pairing()) as source:
        assert len(list(source)) == 30 and len(made) == 30


def test_a_provider_that_asks_late_gets_the_packets_from_then_on(p_only: Path) -> None:
    late: list[int | None] = []

    def provider(feed: Feed) -> Iterator[Frame]:
        for frame in feed.frames:
            if frame.index == 9:
                feed.listen(lambda packet: late.append(packet.pts))
            yield frame

    with open_source(p_only, motion=provider) as source:
        frames = list(source)
    assert late and late == [frame.pts for frame in frames[-len(late) :]] and len(late) <= 20


def test_images_have_no_packets() -> None:
    packets: list[Packet] = []

    def measure(feed: Feed) -> Iterator[Frame]:
        feed.listen(packets.append)
        yield from feed.frames

    with open_source(pan(3), motion=measure) as source:
        assert [frame.pts for frame in source] == [None] * 3
        assert source.info.time_base is None
    assert not packets
