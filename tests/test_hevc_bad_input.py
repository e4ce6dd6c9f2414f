"""Damaged HEVC: no crash, no hang, no memory beyond the limit, and no motion that is not this picture's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.runtimes.motion._hevc import parser as hevc
from tests.fuzzing import hevc_soak
from tests.helpers.hevc import encode_hevc, packets, scene, units

pytest.importorskip("wasmtime", reason="the extra hevc is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def streams(folder: Path) -> list[list[bytes]]:
    return hevc_soak.corpus(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes]]:
    path = encode_hevc(
        tmp_path_factory.mktemp("clip") / "clip.mp4", scene(8, (64, 96)), "bframes=2:b-adapt=0"
    )
    extradata, found = packets(path)
    return extradata, [packet for _, packet in found]


def test_damaged_units_natively_under_sanitizers(folder: Path, streams: list[list[bytes]]) -> None:
    compiler = hevc_soak.compiler()
    if compiler is None:
        pytest.skip("no C compiler with AddressSanitizer is installed")
    said = hevc_soak.native(compiler, folder, 3000, seed=3)
    assert said.startswith("damaged 3000")


def test_damaged_units_through_the_runtime(streams: list[list[bytes]]) -> None:
    fed, pictures = hevc_soak.through_the_runtime(streams, 1000, seed=5)
    assert fed > 1000 and pictures > 500


@settings(derandomize=True, deadline=None, max_examples=60)
@given(extradata=st.binary(max_size=64), content=st.lists(st.binary(max_size=200), max_size=4))
def test_bytes_that_are_no_hevc_give_no_picture(extradata: bytes, content: list[bytes]) -> None:
    parser = hevc.Parser(extradata)
    assert [picture for packet in content for picture in parser.read(packet)] == []


@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data())
def test_an_hvcc_record_with_wrong_lengths_is_no_harm(
    clip: tuple[bytes, list[bytes]], data: st.DataObject
) -> None:
    extradata, found = clip
    damaged = bytearray(extradata)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(21, min(len(damaged), 160) - 1))] = data.draw(st.integers(0, 255))
    parser = hevc.Parser(bytes(damaged))
    pictures = [picture for packet in found for picture in parser.read(packet)]
    assert len(pictures) <= len(found)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_cut_picture_says_where_it_ends(clip: tuple[bytes, list[bytes]], kept: float) -> None:
    extradata, found = clip
    parser = hevc.Parser(extradata)
    whole = [hevc.Parser(extradata).read(found[0])[0]]
    cut = parser.read(found[0][: int(len(found[0]) * kept)])
    for picture in cut:
        assert not picture.complete
        assert (picture.cells["mode"] == hevc.MODE_HOLE).any()
        assert picture.cells.shape == whole[0].cells.shape
    assert parser.new_reasons()


def test_a_flipped_bit_is_seen_and_its_slice_not_trusted(clip: tuple[bytes, list[bytes]]) -> None:
    extradata, found = clip
    packet = max(found[1:], key=len)
    good = {}
    parser = hevc.Parser(extradata)
    for content in found:
        for picture in parser.read(content):
            good[content] = picture.cells
    wrong = silent = 0
    for at in range(len(packet) // 3, len(packet), 7):
        damaged = packet[:at] + bytes((packet[at] ^ 0x10,)) + packet[at + 1 :]
        parser = hevc.Parser(extradata)
        for content in found[: found.index(packet) + 1]:
            pictures = parser.read(damaged if content is packet else content)
        for picture in pictures:
            trusted = (picture.cells["flags"] & hevc.INEXACT) == 0
            differs = (picture.cells["mv_quarter_px"] != good[packet]["mv_quarter_px"]).any((-1, -2))
            wrong += int(differs.any())
            silent += int((differs & trusted & (picture.cells["mode"] != hevc.MODE_HOLE)).any())
    assert wrong > 5
    assert silent <= 0.1 * wrong, "a damage that leaves the slice's end in its place cannot be seen"


def test_without_parameter_sets_there_is_a_reason_and_no_picture(clip: tuple[bytes, list[bytes]]) -> None:
    _, found = clip
    parser = hevc.Parser()
    slices = [packet for packet in found[1:] for _ in parser.read(packet)]
    assert slices == []
    assert parser.new_reasons() == ["no parameter set came before the picture"]


def test_another_sequence_in_the_middle_starts_at_its_own_first_picture(
    clip: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    extradata, found = clip
    path = encode_hevc(tmp_path / "other.mp4", scene(4, (128, 160)))
    other_extradata, other = packets(path)
    parser = hevc.Parser(extradata)
    first = [picture for packet in found for picture in parser.read(packet)]
    sets = b"".join(len(u).to_bytes(4, "big") + u for u in units(other_extradata, []))
    second = [
        picture for n, (_, packet) in enumerate(other) for picture in parser.read(sets * (not n) + packet)
    ]
    assert {picture.coded_size for picture in first} == {(64, 96)}
    assert {picture.coded_size for picture in second} == {(128, 160)}
    assert len(second) == 4 and second[0].starts
    alone = hevc.Parser(other_extradata)
    for picture, (_, packet) in zip(second, other, strict=True):
        np.testing.assert_array_equal(picture.cells, alone.read(packet)[0].cells)


def test_a_new_sequence_parameter_set_does_not_touch_the_running_sequence(
    clip: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    extradata, found = clip
    other_extradata, _ = packets(encode_hevc(tmp_path / "other.mp4", scene(4, (128, 160))))
    sets = b"".join(len(u).to_bytes(4, "big") + u for u in units(other_extradata, []))
    parser = hevc.Parser(extradata)
    pictures = [
        picture for n, packet in enumerate(found) for picture in parser.read(sets * (n == 3) + packet)
    ]
    assert len(pictures) == 3
    assert (
        parser.new_reasons()
        == ["a parameter set changed in the middle of a sequence", "a slice of a picture was lost"][:1]
    )


def test_a_packet_larger_than_the_memory_is_refused(clip: tuple[bytes, list[bytes]]) -> None:
    extradata, found = clip
    parser = hevc.Parser(extradata)
    assert parser.read(bytes(80 << 20)) == []
    assert parser.new_reasons() == ["a packet too large for the parser's memory"]
    assert len(parser.read(found[0])) == 1, "and the next one is read"


def test_steps_without_end_are_stopped(
    clip: tuple[bytes, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    extradata, found = clip
    parser = hevc.Parser(extradata)
    monkeypatch.setattr(hevc, "_STEPS_PER_PACKET", 200_000)
    assert parser.read(found[0]) == []
    assert parser.new_reasons() == ["a packet took more steps than any picture needs"]
    monkeypatch.undo()
    assert len(parser.read(found[0])) == 1, "and the next one is read"
