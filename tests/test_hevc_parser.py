"""The motion of HEVC: equal to a reference, block by block, and to the pixels where there is no reference."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edge_vss.errors import MissingExtra
from edge_vss.runtimes.motion._hevc import parser as hevc
from edge_vss.runtimes.motion._hevc.build import build
from tests.helpers.hevc import encode_hevc, luma, packets, parse, pixel_proof, scene, units

pytest.importorskip("wasmtime", reason="the extra hevc is not installed")

BLA_W_LP, CRA, EOS = 16, 21, 36
"""Types of NAL units (table 7-1)."""

REFERENCES = (
    "0016E5_hevc_default",
    "0016E5_hevc_p_refs1_crf30",
    "x_odd",
    "x_opengop",
    "x_rect_amp",
    "x_ref6b8",
    "x_slices_wpp",
    "x_tskip_weight",
)

ENCODINGS = {
    "defaults": "",
    "p_only": "bframes=0:ref=1",
    "p_refs4": "bframes=0:ref=4",
    "slices": "slices=3:ctu=16",
    "wavefronts": "wpp=1:ctu=16",
    "slices_and_wavefronts": "slices=2:wpp=1:ctu=32",
    "ctu16": "ctu=16:min-cu-size=8",
    "ctu32_cu16": "ctu=32:min-cu-size=16",
    "ctu64_cu32": "ctu=64:min-cu-size=32:max-tu-size=32",
    "amp": "rect=1:amp=1:rd=4",
    "b8": "bframes=8:b-adapt=0:b-pyramid=1:ref=5",
    "b_flat": "bframes=3:b-adapt=0:no-b-pyramid=1",
    "open_gop": "keyint=6:min-keyint=6:open-gop=1:bframes=2:b-adapt=0",
    "closed_gop": "keyint=5:min-keyint=5:no-open-gop=1",
    "intra_refresh": "intra-refresh=1:keyint=12:bframes=0",
    "tskip": "tskip=1:qp=30",
    "lossless": "lossless=1",
    "cu_lossless": "cu-lossless=1:qp=20",
    "no_signhide": "no-signhide=1:tu-intra-depth=3:tu-inter-depth=3",
    "constrained_intra": "constrained-intra=1:max-merge=1",
    "no_temporal_mvp": "no-temporal-mvp=1:max-merge=3",
    "aq": "aq-mode=3:qg-size=8:crf=24",
    "b_intra": "b-intra=1:limit-refs=0:crf=38",
    "scaling_lists": "scaling-list=default",
    "hrd": "hrd=1:vbv-maxrate=800:vbv-bufsize=800:bitrate=400:aud=1:repeat-headers=1",
}


def reference_video(data: Path, name: str) -> Path:
    beside = data / "hevc_reference" / f"{name}.mp4"
    return beside if beside.exists() else data / "video" / f"{name}.mp4"


@pytest.mark.parametrize("name", REFERENCES)
def test_every_block_equals_the_reference(data: Path, name: str) -> None:
    pictures, reasons = parse(reference_video(data, name))
    assert reasons == []
    with np.load(data / "hevc_reference" / f"{name}_motion.npz") as reference:
        assert [pts for pts, _ in pictures] == reference["packet_pts"].tolist()
        assert [picture.poc for _, picture in pictures] == reference["poc"].tolist()
        blocks = np.stack([picture.blocks for _, picture in pictures if picture.blocks is not None])
        np.testing.assert_array_equal(blocks["mode"], reference["mode"])
        np.testing.assert_array_equal(blocks["lists"], reference["lists"])
        np.testing.assert_array_equal(blocks["poc_difference"], reference["poc_difference"])
        np.testing.assert_array_equal(blocks["mv_quarter_px"], reference["mv_quarter_px"])


@pytest.mark.parametrize("name", ENCODINGS)
def test_skipped_blocks_have_the_pixels_that_their_motion_predicts(tmp_path: Path, name: str) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(14), ENCODINGS[name])
    pictures, reasons = parse(path)
    assert reasons == [] and len(pictures) == 14
    assert all(picture.complete and not picture.missing_references for _, picture in pictures)
    equal, total = pixel_proof(pictures, luma(path))
    assert equal == total
    assert total > 1000 or name == "lossless"  # noise leaves nothing to skip


@pytest.mark.parametrize(("pix_fmt", "bits"), [("yuv420p10le", 10), ("gray", 8)])
def test_other_formats_of_version_1_and_grey(tmp_path: Path, pix_fmt: str, bits: int) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(10), pix_fmt=pix_fmt)
    pictures, reasons = parse(path)
    assert reasons == [] and all(picture.complete for _, picture in pictures)
    equal, total = pixel_proof(pictures, luma(path), bits=bits)
    assert equal == total > 1000


@pytest.mark.parametrize("size", [(66, 82), (64, 64), (130, 194), (16, 16), (40, 250)])
def test_odd_sizes_are_read_to_the_last_block(tmp_path: Path, size: tuple[int, int]) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(6, (192, 256)), size=size)
    pictures, reasons = parse(path)
    assert reasons == [] and len(pictures) == 6
    for _, picture in pictures:
        left, right, top, bottom = picture.crop_px
        assert (picture.coded_size[0] - top - bottom, picture.coded_size[1] - left - right) == size
        assert picture.complete


def test_a_cell_tells_one_of_its_blocks(data: Path) -> None:
    pictures, _ = parse(reference_video(data, "x_rect_amp"))
    split = 0
    for _, picture in pictures:
        blocks, cells = picture.blocks, picture.cells
        assert blocks is not None
        fine = (
            blocks.reshape(cells.shape[0], 2, cells.shape[1], 2)
            .transpose(0, 2, 1, 3)
            .reshape(*cells.shape, 4)
        )
        same = np.stack(
            [(fine[..., k]["mv_quarter_px"] == cells["mv_quarter_px"]).all((-1, -2)) for k in range(4)], -1
        )
        assert same.any(-1).all()
        whole = (cells["flags"] & hevc.SPLIT) == 0
        assert same[whole].all()
        split += int((~whole).sum())
    assert split > 100


def test_packets_with_start_codes_and_packets_with_lengths_say_the_same(tmp_path: Path) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(8))
    extradata, found = packets(path)
    with_codes = [
        b"".join(b"\x00\x00\x00\x01" + unit for unit in units(b"", [packet])) for _, packet in found
    ]
    one, other = hevc.Parser(extradata), hevc.Parser(extradata)
    for (_, packet), coded in zip(found, with_codes, strict=True):
        for mine, its in zip(one.read(packet), other.read(coded), strict=True):
            np.testing.assert_array_equal(mine.cells, its.cells)
    assert one.new_reasons() == other.new_reasons() == []


def test_a_lost_packet_is_known_exactly(tmp_path: Path) -> None:
    path = encode_hevc(
        tmp_path / "clip.mp4", scene(10), "bframes=0:ref=1:keyint=6:min-keyint=6:no-open-gop=1"
    )
    extradata, found = packets(path)
    parser = hevc.Parser(extradata)
    pictures = [picture for n, (_, packet) in enumerate(found) if n != 3 for picture in parser.read(packet)]
    assert [picture.missing_references > 0 for picture in pictures] == [n == 3 for n in range(9)]
    flags = pictures[3].cells["flags"]
    inter = pictures[3].cells["lists"] > 0
    assert (flags[inter] & hevc.MISSING_REFERENCE).all()
    assert (pictures[4].cells["flags"] & hevc.INEXACT).any(), "predicted from vectors that may be wrong"
    assert not (pictures[6].cells["flags"]).any(), "behind an I-frame all is well"


def test_leading_pictures_without_their_references_are_not_shown(tmp_path: Path) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(14), ENCODINGS["open_gop"])
    extradata, found = packets(path)
    parser = hevc.Parser(extradata)
    starts = [
        n
        for n, (_, packet) in enumerate(found)
        for picture in parser.read(packet)
        if picture.picture_type == "I"
    ]
    joined = hevc.Parser(extradata)
    pictures = [picture for _, packet in found[starts[1] :] for picture in joined.read(packet)]
    assert pictures[0].starts
    hidden = [picture for picture in pictures if not picture.shown]
    assert hidden and all(picture.missing_references for picture in hidden)


@pytest.mark.parametrize("how", ["broken link", "end of sequence"])
def test_a_broken_link_starts_anew(tmp_path: Path, how: str) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(14), ENCODINGS["open_gop"])
    extradata, found = packets(path)
    links = [n for n, (_, packet) in enumerate(found) if any(u[0] >> 1 == CRA for u in units(b"", [packet]))]
    assert links
    changed = []
    for n, (pts, packet) in enumerate(found):
        parts = units(b"", [packet])
        if n == links[0] and how == "broken link":
            parts = [bytes((BLA_W_LP << 1, *u[1:])) if u[0] >> 1 == CRA else u for u in parts]
        if n == links[0] - 1 and how == "end of sequence":
            parts.append(bytes((EOS << 1, 1)))
        changed.append((pts, b"".join(len(u).to_bytes(4, "big") + u for u in parts)))
    whole, cut = hevc.Parser(extradata), hevc.Parser(extradata)
    hidden = 0
    for n, ((_, packet), (_, other)) in enumerate(zip(found, changed, strict=True)):
        (mine,), (its,) = whole.read(packet), cut.read(other)
        assert its.starts == (n in (0, links[0]))
        hidden += not its.shown
        if its.shown:
            np.testing.assert_array_equal(its.cells, mine.cells)
    assert hidden and cut.new_reasons() == []


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p"])
def test_what_cannot_be_read_is_named_once(tmp_path: Path, pix_fmt: str) -> None:
    path = encode_hevc(tmp_path / "clip.mp4", scene(4), pix_fmt=pix_fmt)
    extradata, found = packets(path)
    parser = hevc.Parser(extradata)
    assert [picture for _, packet in found for picture in parser.read(packet)] == []
    assert "a chroma format other than 4:2:0 and 4:0:0" in parser.new_reasons()
    for _, packet in found:
        parser.read(packet)
    assert parser.new_reasons() == []


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    hevc._module.cache_clear()
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(MissingExtra, match=r'pip install "edge-vss\[hevc\]"'):
        hevc.Parser()


def test_the_committed_file_is_what_the_source_compiles_to(tmp_path: Path) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: it compiles the parser")
    build(tmp_path / "hevc.wasm")
    assert (tmp_path / "hevc.wasm").read_bytes() == hevc.WASM.read_bytes(), (
        "run the build again and commit it"
    )
