"""What ``edge-vss motion`` finds out about a stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss.errors import OptionError, SinkError, SourceError
from edge_vss.metrics import miou
from edge_vss.runtimes import opening
from edge_vss.runtimes.motion._hevc import parser
from edge_vss.runtimes.sinks.labels import encode_png
from edge_vss.runtimes.sources import Source, open_source
from edge_vss.runtimes.tools.motion_video import draw
from edge_vss.runtimes.tools.stream_report import Findings, report
from tests.helpers.hevc import encode_hevc
from tests.helpers.videos import decoded, encode, stills


def test_a_clean_stream(p_only: Path) -> None:
    found = report(p_only)
    assert found.codec == "h264" and found.frames == 30
    assert found.picture_types == {"I": 1, "P": 29}
    assert found.references == 1 and found.has_b_frames is False
    assert found.coverage > 0.8 and found.longest_gop == 30
    assert found.advice == ("the vectors say everything they can: one reference, no B-frames",)


def test_a_stream_with_b_frames_and_its_digest(b_frames: Path) -> None:
    found = report(b_frames)
    assert found.has_b_frames is True and found.picture_types["B"] > 5
    assert "-bf 0" in " ".join(found.advice)
    assert {report(b_frames).digest for _ in range(20)} == {found.digest}


def test_the_digest_tells_streams_apart(p_only: Path, b_frames: Path) -> None:
    assert report(p_only).digest != report(b_frames).digest


def test_a_codec_without_vectors_says_so_and_advises_no_transcoding(p_only: Path, tmp_path: Path) -> None:
    found = report(encode(tmp_path / "v.webm", decoded(p_only)[:4], "libvpx-vp9"))
    assert found.exports_vectors is False and found.provider is None and found.coverage == 0
    assert found.advice == (
        "vp9 gives no motion vectors, so motion comes from optical flow; "
        "a camera that can be set to H.264 or HEVC saves that",
    )
    assert report(decoded(p_only)[:4]).advice == (
        "pictures have no motion vectors, so motion comes from optical flow",
    )


def test_hevc_is_told_what_h264_is(p_only: Path, tmp_path: Path) -> None:
    pytest.importorskip("wasmtime", reason="the extra hevc is not installed")
    images = decoded(p_only)[:16]
    plain = report(encode_hevc(tmp_path / "p.mp4", images, "bframes=0:ref=1:keyint=8:min-keyint=8"))
    assert plain.provider == "hevc" and plain.exports_vectors is False
    assert plain.picture_types == {"I": 2, "P": 14} and plain.longest_gop == 8
    assert plain.references == 1 and plain.has_b_frames is False and plain.coverage > 0.7
    assert plain.advice == ("the vectors say everything they can: each names its frame, no B-frames",)
    video = encode_hevc(tmp_path / "b.mp4", images, "bframes=3:b-adapt=0:ref=3")
    mixed = report(video)
    assert mixed.has_b_frames and (mixed.references or 0) > 1 and mixed.picture_types["B"] > 5
    assert "-bf 0" in " ".join(mixed.advice) and mixed.digest != plain.digest
    assert {report(video).digest for _ in range(5)} == {mixed.digest}


def test_without_its_extra_hevc_is_told_what_to_install(
    p_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = encode_hevc(tmp_path / "h.mp4", decoded(p_only)[:4])
    parser._module.cache_clear()
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    found = report(video)
    assert found.provider is None and found.coverage == 0
    assert 'pip install "edge-vss[hevc]"' in found.advice[0] and "264" not in found.advice[0]


def test_hevc_that_the_parser_cannot_read_is_said_to_be_so(p_only: Path, tmp_path: Path) -> None:
    pytest.importorskip("wasmtime", reason="the extra hevc is not installed")
    found = report(encode_hevc(tmp_path / "h.mp4", decoded(p_only)[:4], pix_fmt="yuv444p"))
    assert found.coverage == 0 and "no vector could be read" in found.advice[0]


def test_the_drawing_is_a_video_of_every_frame(p_only: Path, tmp_path: Path) -> None:
    assert draw(p_only, tmp_path / "vectors.mp4") == 30
    drawn, plain = decoded(tmp_path / "vectors.mp4"), decoded(p_only)
    assert len(drawn) == 30 and drawn[0].shape == plain[0].shape
    assert (drawn[10].astype(int) - plain[10]).std() > 5


def test_label_maps_of_another_video_are_refused(p_only: Path, data: Path) -> None:
    with pytest.raises(SourceError, match="numbered 7959 to 8159, and the source has 30 frames"):
        report(p_only, data / "camvid" / "valannot")


# Streams of the 101 CamVid frames → least mIoU to reach, in percent, at intervals 5 and 12: codec, auto.
REACH = {
    "0016E5_h264_p_refs1_g250.mp4": ((87.0, 79.0), (87.0, 79.0)),
    "0016E5_h264_p_refs1_g12.mp4": ((87.0, 79.0), (87.0, 79.0)),
    "0016E5_mpeg4_g12.mp4": ((86.3, 77.5), (86.3, 77.5)),
    "0016E5_hevc_default.mp4": ((87.0, 78.0), (87.0, 78.0)),
    "x264 defaults": ((85.0, 75.5), (85.7, 75.9)),
}


@pytest.mark.parametrize("name", REACH)
def test_carried_labels_on_real_streams(name: str, data: Path, tmp_path: Path) -> None:
    video = data / "video" / name
    if not video.exists():
        images = stills(data / "camvid" / "val")
        video = encode(tmp_path / "default.mp4", images, options={"preset": "medium"}, fps=15)
    codec, auto = REACH[name]
    for i, interval in enumerate((5, 12)):
        miou = report(video, data / "camvid" / "valannot", interval, ignore=11).miou or {}
        reached = {row: value for row, value in miou.items() if value is not None}
        assert reached["hold"] == pytest.approx((67.51, 53.56)[i], abs=0.02)
        assert reached["codec"] >= codec[i]
        assert reached["auto"] >= auto[i]
        assert reached["auto"] >= max(reached.get("codec", 0), reached["flow"]) - 0.3


def test_a_limit_ends_the_reading_and_the_drawing(p_only: Path, tmp_path: Path) -> None:
    assert report(p_only, limit=7).frames == 7
    assert report(p_only, limit=300).frames == 30
    assert draw(p_only, tmp_path / "vectors.mp4", limit=7) == 7
    with pytest.raises(OptionError, match="limit must be a whole number of 1 or more, got 0"):
        report(p_only, limit=0)
    with pytest.raises(OptionError, match="interval must be a whole number of 1 or more, got 0"):
        report(p_only, interval=0)


def test_label_maps_of_a_whole_video_fit_its_beginning(p_only: Path, tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index}.png").write_bytes(encode_png(np.zeros((96, 128), np.uint8), ((0, 0, 0),)))
    assert (report(p_only, tmp_path, limit=7).miou or {})["auto"] == 100
    assert (report(p_only, tmp_path, interval=40).miou or {})["auto"] == 100
    for index in range(30):
        (tmp_path / f"{index}.png").rename(tmp_path / ("a" * (index + 1) + ".png"))
    (tmp_path / "aaaaaaa.png").unlink()
    with pytest.raises(SourceError, match=r"29 label maps, but .*p_only\.mp4 has 30 frames"):
        report(p_only, tmp_path)
    for path in list(tmp_path.glob("aaaaaaa*.png")):
        path.unlink()
    with pytest.raises(SourceError, match=r"6 label maps, but .* has 7 frames"):
        report(p_only, tmp_path, limit=7)


def test_label_maps_of_some_frames_are_carried_from_one_to_the_next(p_only: Path, tmp_path: Path) -> None:
    for index in (3, 9, 29):
        labels = np.zeros((96, 128), np.uint8)
        labels[:, : 64 + 10 * (index == 29)] = 1
        (tmp_path / f"{index}.png").write_bytes(encode_png(labels, ((0, 0, 0),)))
    found = report(p_only, tmp_path)
    assert found.ground_truth is not None and found.ground_truth.labelled == 3
    # What is held from frame 3 is right in frame 9, and wrong by 10 columns in frame 29.
    counts = 96 * np.array([[64 + 64 + 54, 0], [10, 64 + 64 + 64]])
    assert (found.miou or {})["hold"] == pytest.approx(miou(counts), abs=0.01)


def test_a_live_source_is_not_compared_with_label_maps(
    p_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def live(uri: Path, **options: Any) -> Source:
        return open_source(uri, **{**options, "live": True})

    monkeypatch.setattr(opening, "open_source", live)
    assert report(p_only).frames == 30
    with pytest.raises(OptionError, match="live and cannot be compared"):
        report(p_only, tmp_path)


def test_what_was_read_before_an_interruption_is_kept(p_only: Path) -> None:
    findings, seen = Findings(), []

    def stop() -> None:
        seen.append(1)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report(p_only, on_frame=stop, findings=findings)
    assert findings.result() == report(p_only, limit=5)
    with pytest.raises(SourceError, match="no frame"):
        Findings().result()


def test_the_drawing_is_not_drawn_over_its_source(p_only: Path) -> None:
    before = p_only.read_bytes()
    with pytest.raises(SinkError, match="choose another place"):
        draw(p_only, p_only)
    assert p_only.read_bytes() == before
