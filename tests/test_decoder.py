"""H.264 decoded by several threads, a frame each: the same in every byte as slice by slice, or not done."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import _decoder, open_source
from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._decoded import DecodedPicture
from edge_vss.runtimes.sources._decoder import Decoder
from edge_vss.video import Frame, StartReason
from tests.fuzzing.soak import damaged
from tests.helpers.logs import listening
from tests.helpers.videos import B_FRAMES, P_ONLY, encode, pan

Seen = tuple[object, ...]
SHORT_GOP = P_ONLY | {"g": "12"}
AGAIN = "decoded again"


@pytest.fixture
def by_slices(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Seen]]:
    """What a file gives where every frame is decoded slice by slice."""

    def found(path: Path, **options: Any) -> list[Seen]:
        with monkeypatch.context() as patch:
            patch.setattr(Decoder, "_may_be_quick", lambda self: False)
            return seen(path, **options)

    return found


def seen(path: Path, seek: float | None = None, first: int | None = None, **options: Any) -> list[Seen]:
    """All that a frame says, of all frames or the ``first``; with ``seek``, of those after it too."""
    with open_source(path, motion="codec", **options) as source:
        begun = [of_frame(frame) for frame in islice(source, first)]
        if seek is not None:
            source.seek(seek)
        return [*begun, *(of_frame(frame) for frame in source), (source.errors, source.untold_losses)]


def of_frame(frame: Frame) -> Seen:
    vectors, motion = frame.vectors, frame.motion
    arrays: list[NDArray[Any]] = [frame.luma] if frame.has_picture else []
    if vectors is not None:
        arrays += [vectors.left_px, vectors.top_px, vectors.displacement_px, vectors.direction]
    if motion is not None:
        arrays += [motion.displacement_px, motion.known, motion.reference]
    told = frame.index, frame.pts, frame.picture_type, frame.start
    return *told, *(array.tobytes() for array in arrays)


def is_quick(path: Path, **options: Any) -> bool:
    with open_source(path, motion="codec", **options) as source:
        decoder: Decoder = source._reader._decoding.coded.decoder  # type: ignore[attr-defined]
        list(source)
        return decoder.delayed


def joined(path: Path, *parts: Path) -> Path:
    """MPEG-TS can be joined byte by byte."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("references", ["1", "3"])
def test_frames_that_look_back_are_the_same(
    suffix: str, references: str, tmp_path: Path, by_slices: Callable[..., list[Seen]]
) -> None:
    path = encode(tmp_path / f"p.{suffix}", pan(40), options=SHORT_GOP | {"refs": references})
    assert is_quick(path)
    for options in ({}, {"pictures": "key"}, {"pictures": "none"}, {"seek": 0.9}):
        assert seen(path, **options) == by_slices(path, **options)


@pytest.mark.parametrize("name", ["udacity_solidWhiteRight.mp4", "0016E5_h264_p_refs1_g250.mp4"])
def test_real_drives_are_the_same_in_every_run(
    name: str, data: Path, by_slices: Callable[..., list[Seen]]
) -> None:
    path = data / "video" / name
    assert is_quick(path)
    expected = by_slices(path)
    for _ in range(3):
        assert seen(path) == expected


def test_what_may_look_ahead_is_decoded_by_slices(tmp_path: Path) -> None:
    assert not is_quick(encode(tmp_path / "b.mp4", pan(12), options=B_FRAMES))
    assert not is_quick(encode(tmp_path / "i.mp4", pan(12), options=P_ONLY | {"x264-params": "tff=1"}))
    path = encode(tmp_path / "p.ts", pan(12), options=P_ONLY)
    assert is_quick(path) and not is_quick(path, live=True)


@pytest.mark.parametrize("later", [B_FRAMES, P_ONLY | {"refs": "3"}], ids=["b-frames", "references"])
def test_what_comes_in_the_middle_is_the_same(
    later: dict[str, str], tmp_path: Path, by_slices: Callable[..., list[Seen]]
) -> None:
    first = encode(tmp_path / "first.ts", pan(30), options=SHORT_GOP)
    second = encode(tmp_path / "second.ts", pan(30, seed=1), options=later)
    path = joined(tmp_path / "both.ts", first, second, first)
    with listening() as said:
        for options in ({}, {"pictures": "key"}, {"pictures": "none"}, {"seek": 0.9}):
            assert seen(path, **options) == by_slices(path, **options)
    assert AGAIN in "".join(said)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_damaged_files_are_the_same(
    suffix: str, tmp_path: Path, by_slices: Callable[..., list[Seen]]
) -> None:
    whole = encode(tmp_path / f"p.{suffix}", pan(40, (144, 208)), options=SHORT_GOP).read_bytes()
    path, again = tmp_path / f"damaged.{suffix}", 0
    for seed in range(12):
        path.write_bytes(damaged(whole, random.Random(seed)))
        with listening() as said:
            found = told(lambda: seen(path))
        expected = told(lambda: by_slices(path))
        # What a decoder shows of missing blocks is whatever the memory held before.
        assert [each[:4] for each in found] == [each[:4] for each in expected]
        whole_frames = next((n for n, each in enumerate(found) if n and each[3:4] != ("",)), 0)
        assert found[:whole_frames] == expected[:whole_frames]
        again += AGAIN in "".join(said)
    assert again


def told(call: Callable[[], list[Seen]]) -> list[Seen]:
    try:
        return call()
    except SourceError as error:
        return [(str(error),)]


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_what_would_have_to_be_decoded_again_is_bounded(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_slices: Callable[..., list[Seen]]
) -> None:
    monkeypatch.setattr(_decoder, "_MOST_AGAIN", 15)
    often = encode(tmp_path / f"often.{suffix}", pan(40), options=SHORT_GOP)
    assert is_quick(often)
    seldom = encode(tmp_path / f"seldom.{suffix}", pan(40), options=P_ONLY)
    assert not is_quick(seldom)
    assert seen(seldom, seek=0.4) == by_slices(seldom, seek=0.4)


def test_what_the_container_says_of_pictures_holds_when_they_are_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_slices: Callable[..., list[Seen]]
) -> None:
    monkeypatch.setattr(_decoder, "_MOST_AGAIN", 15)
    turned = encode(tmp_path / "turned.mp4", pan(40), options=P_ONLY, rotation=90)
    assert not is_quick(turned) and seen(turned) == by_slices(turned)
    coloured = tmp_path / "coloured.mkv"
    with av.open(str(turned)) as read, av.open(str(coloured), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 2
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = stream
                written.mux(packet)
    with open_source(coloured, motion="codec") as source:
        colours = {
            (frame.size, frame.picture.colour)
            for frame in source
            if isinstance(frame.picture, DecodedPicture)
        }
    assert [colour.full_range for _, colour in colours] == [True]


def with_its_own_sets(path: Path, out: Path, damaged_frame: int) -> Path:
    """Two recordings in Matroska. The second has its PPS before its first picture alone, and damage."""
    first, second = (
        encode(path / f"{qp}.ts", pan(30), options=SHORT_GOP | {"qp": qp}) for qp in ("20", "34")
    )
    data = list[tuple[bytes, bool]]()
    with av.open(str(first)) as one, av.open(str(second)) as other, av.open(str(out), "w") as written:
        stream = written.add_stream_from_template(one.streams.video[0])
        for container in (one, other):
            for number, packet in enumerate(packet for packet in container.demux(video=0) if packet.size):
                units = list(sps.nal_units(bytes(packet)))
                kept = [
                    unit for unit in units if number == 0 or unit[0] & 31 not in (sps.NAL_SPS, sps.NAL_PPS)
                ]
                data.append((b"".join(b"\0\0\0\1" + unit for unit in kept), packet.is_keyframe))
        for number, (each, key) in enumerate(data):
            if number == damaged_frame:
                middle = len(each) // 2
                each = each[:middle] + random.Random(1).randbytes(10) + each[middle + 10 :]
            made: Any = av.Packet(each)
            made.pts = made.dts = 40 * number
            made.time_base, made.is_keyframe, made.stream = Fraction(1, 1000), key, stream
            written.mux(made)
    return out


def test_parameter_sets_that_came_once_hold_when_pictures_are_decoded_again(
    tmp_path: Path, by_slices: Callable[..., list[Seen]]
) -> None:
    path = with_its_own_sets(tmp_path, tmp_path / "sets.mkv", damaged_frame=50)
    found, expected = seen(path), by_slices(path)
    assert [each[:4] for each in found] == [each[:4] for each in expected]
    assert found[:50] == expected[:50] and found[54:] == expected[54:]


def test_seeking_to_what_may_look_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_slices: Callable[..., list[Seen]]
) -> None:
    first = encode(tmp_path / "first.ts", pan(60), options=SHORT_GOP)
    later = {"output_ts_offset": "2.4"}
    goes_on = encode(tmp_path / "on.ts", pan(60, seed=1), options=B_FRAMES | {"g": "12"}, muxer=later)
    path = joined(tmp_path / "both.ts", first, goes_on)
    # Nothing was decoded since the seek when the first B-frame comes.
    found = seen(path, first=1, seek=3.0)
    assert len(found) > 40 and found == by_slices(path, first=1, seek=3.0)
    second = encode(tmp_path / "second.ts", pan(30, seed=1), options=B_FRAMES)
    # The clock of the third recording begins again. What the demuxer guesses of decoding times depends on
    # how far it has read.
    path = joined(tmp_path / "three.ts", first, second, first)
    found = seen_from(path, (0.6, 41), (1.17, 41))
    monkeypatch.setattr(Decoder, "_may_be_quick", lambda self: False)
    assert found == seen_from(path, (0.6, 41), (1.17, 41))


def seen_from(path: Path, *places: tuple[float, int]) -> list[Seen]:
    """So many frames from each of these seconds on, one place after another."""
    found = list[Seen]()
    with open_source(path, motion="codec") as source:
        for seconds, count in places:
            source.seek(seconds)
            found += [of_frame(frame) for frame in islice(source, count)]
    return found


def test_what_is_not_found_again_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode(tmp_path / "first.ts", pan(30), options=SHORT_GOP)
    second = encode(tmp_path / "second.ts", pan(30, seed=1), options=B_FRAMES)
    path = joined(tmp_path / "both.ts", first, second)
    with open_source(path, motion="codec") as source:
        next(source)
        # Another file of this name.
        path.write_bytes(second.read_bytes())
        with listening() as said:
            frames = list(source)
    assert "damaged packet" in "".join(said) and StartReason.DAMAGED_PACKET in {
        frame.start for frame in frames
    }


def test_a_file_that_is_gone_when_it_is_wanted_again(tmp_path: Path) -> None:
    first = encode(tmp_path / "first.ts", pan(30), options=SHORT_GOP)
    second = encode(tmp_path / "second.ts", pan(30, seed=1), options=B_FRAMES)
    path = joined(tmp_path / "both.ts", first, second)
    with open_source(path, motion="codec") as source:
        next(source)
        path.unlink()
        with pytest.raises(SourceError, match="no such file"):
            list(source)


def test_without_pixels_the_loop_filter_does_not_run(tmp_path: Path) -> None:
    path = encode(tmp_path / "p.mp4", pan(20), options=SHORT_GOP | {"crf": "40"})
    lumas: dict[str, list[bytes]] = {}
    for pictures in ("all", "key", "none"):
        with open_source(path, motion="codec", pictures=pictures) as source:
            # The decoder's own picture, whether it is to be seen or not.
            lumas[pictures] = [frame.luma.tobytes() for frame in source._reader.frames()]
    same = [a == b for a, b in zip(lumas["all"], lumas["key"], strict=True)]
    assert same[0] and same[12] and not all(same)
    assert lumas["none"][0] != lumas["all"][0]


def test_who_looks_at_pixels_gets_them(tmp_path: Path) -> None:
    path = encode(tmp_path / "p.mp4", pan(20), options=SHORT_GOP | {"crf": "40"})
    with open_source(path, motion="auto") as plain, open_source(path, motion="auto", pictures="key") as key:
        for one, other in zip(plain._reader.frames(), key._reader.frames(), strict=True):
            assert (one.luma == other.luma).all()
