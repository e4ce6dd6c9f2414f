"""Pictures only where they are wanted: HEVC is read without decoding the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.motion import flow
from edge_vss.runtimes.motion._hevc import parser
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.policy import Gop, Interval
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sinks import SinkContext, open_sink
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.sources._decoding import Decoding
from edge_vss.video import Frame
from tests.helpers.cli import CliRunner
from tests.helpers.hevc import encode_hevc, scene
from tests.helpers.videos import drop, encode, pan, remux

SHAPES = {
    "P only": "bframes=0:ref=1:keyint=8:min-keyint=8:no-open-gop=1",
    "B-pyramid": "bframes=4:b-adapt=0:ref=4:keyint=12:min-keyint=12:no-open-gop=1",
    "open GOP": "bframes=4:b-adapt=0:ref=3:keyint=12:min-keyint=12:open-gop=1",
}


@pytest.fixture(autouse=True)
def extra() -> None:
    pytest.importorskip("wasmtime", reason="the extra hevc is not installed")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode_hevc(tmp_path / "clip.mp4", scene(30), SHAPES["P only"])


def frames(path: Path, pictures: str, motion: str = "auto") -> list[Frame]:
    with open_source(path, motion=motion, pictures=pictures) as source:
        assert source.info.pictures == pictures
        return list(source)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "hevc"])
@pytest.mark.parametrize("shape", SHAPES)
def test_frames_that_are_only_read_are_those_that_are_decoded(
    shape: str, container: str, tmp_path: Path
) -> None:
    clip = encode_hevc(tmp_path / "clip.mp4", scene(30), SHAPES[shape])
    if container != "mp4":
        clip = remux(clip, tmp_path / f"other.{container}", lambda _, content: content, format=container)
    read, decoded = frames(clip, "key"), frames(clip, "all", "hevc")
    assert len(read) == len(decoded) == 30
    keys = 0
    for mine, its in zip(read, decoded, strict=True):
        assert (mine.index, mine.pts, mine.size, mine.start) == (its.index, its.pts, its.size, its.start)
        assert mine.pts_seconds == pytest.approx(its.pts_seconds)
        assert mine.picture_type == its.picture_type
        assert mine.vectors is not None and its.vectors is not None
        np.testing.assert_array_equal(mine.vectors.displacement_px, its.vectors.displacement_px)
        np.testing.assert_array_equal(mine.vectors.reference, its.vectors.reference)
        assert mine.has_picture == (its.picture_type == "I")
        if mine.has_picture:
            keys += 1
            np.testing.assert_array_equal(mine.image, its.image)
    assert keys > 1


def test_an_i_frame_where_decoding_cannot_begin_has_its_picture(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        stream: Any = container.add_stream("libx265", rate=25)
        stream.height, stream.width, stream.pix_fmt = 128, 192, "yuv420p"
        stream.options = {"x265-params": "log-level=none:keyint=250:bframes=2:scenecut=0"}
        for place, image in enumerate(scene(20)):
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture.pts, picture.pict_type = place, 1 if place == 9 else 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with av.open(str(clip)) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1
    read, decoded = frames(clip, "key"), frames(clip, "all")
    assert [frame.index for frame in read if frame.has_picture] == [0, 9]
    np.testing.assert_array_equal(read[9].image, decoded[9].image)


def test_no_picture_is_decoded_but_those_of_i_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    with open_source(clip, pictures="none") as source:
        # Opening has decoded one, to see how large it is and which way up.
        monkeypatch.setattr(Decoding, "frames", lambda _: asked.append(1))
        assert len(list(source)) == 30 and not asked


def test_asking_for_a_picture_that_is_not_there_is_one_clear_error(clip: Path) -> None:
    second = frames(clip, "key")[1]
    assert not second.has_picture and second.nbytes < 10_000 and second.picture.device == ""
    says = r"frame 1 has no picture: .*pictures='key'; open it with pictures='all'"
    for name in ("image", "luma"):
        with pytest.raises(SourceError, match=says):
            getattr(second, name)
    with pytest.raises(SourceError, match=says):
        second.picture.rgb((8, 8))


def test_motion_without_pictures_is_that_of_the_pan(tmp_path: Path) -> None:
    clip = encode_hevc(tmp_path / "pan.mp4", pan(24, (128, 192), (4, 0)), "bframes=4:b-adapt=0:ref=3")
    for frame in frames(clip, "none")[1:]:
        assert frame.motion is not None
        inner = frame.motion.displacement_px[:, 3:-3, 3:-3]
        assert np.median(np.abs(inner - np.array([-4, 0], np.float32)[:, None, None])) <= 0.25


def test_h264_and_flow_measure_with_pictures_and_hand_out_the_same(p_only: Path, clip: Path) -> None:
    for path, motion in ((p_only, "codec"), (clip, "flow")):
        for mine, its in zip(frames(path, "key", motion), frames(path, "all", motion), strict=True):
            assert mine.has_picture == (its.picture_type == "I")
            assert (mine.motion is None) == (its.motion is None)
            if mine.motion is not None and its.motion is not None:
                np.testing.assert_array_equal(mine.motion.displacement_px, its.motion.displacement_px)


def test_encoding_needs_all_pictures_and_hands_out_the_same(clip: Path) -> None:
    with open_source(f"encode:{clip}", motion="codec", pictures="key") as source:
        found = list(source)
    assert len(found) == 30 and all(frame.motion is not None for frame in found[1:])
    assert [frame.has_picture for frame in found] == [frame.picture_type == "I" for frame in found]


def test_a_provider_of_ones_own_gets_all_pictures(clip: Path) -> None:
    with open_source(clip, motion=flow.measure, pictures="none") as source:
        assert all(frame.motion is not None and not frame.has_picture for frame in list(source)[1:])


def test_without_the_extra_every_picture_is_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser._module.cache_clear()
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    found = frames(clip, "key")
    assert len(found) == 30 and {frame.motion.provider for frame in found[1:] if frame.motion} == {"flow"}


def test_what_the_parser_cannot_read_is_decoded(tmp_path: Path) -> None:
    clip = encode_hevc(tmp_path / "clip.mp4", scene(6), pix_fmt="yuv444p")
    assert len(frames(clip, "key")) == 6


def test_a_seek_and_a_turn(tmp_path: Path) -> None:
    images = pan(40, (124, 188), (4, 0))
    options = {"x265-params": "log-level=none:bframes=2:keyint=10:min-keyint=10:no-open-gop=1"}
    clip = encode(tmp_path / "turned.mp4", images, "libx265", options, rotation=90)
    with open_source(clip, pictures="key") as read, open_source(clip, motion="hevc") as decoded:
        assert [next(read).index for _ in range(5)] == [next(decoded).index for _ in range(5)]
        for source in (read, decoded):
            source.seek(0.93)
        mine, its = list(read), list(decoded)
    assert [frame.pts for frame in mine] == [frame.pts for frame in its] and len(mine) > 10
    assert (mine[0].start, mine[0].index) == ("seek", its[0].index)
    assert [frame.start for frame in mine] == [frame.start for frame in its]
    for one, other in zip(mine, its, strict=True):
        assert one.size == other.size and one.vectors is not None and other.vectors is not None
        np.testing.assert_array_equal(one.vectors.displacement_px, other.vectors.displacement_px)


def test_values_that_make_no_sense_are_refused(clip: Path) -> None:
    with pytest.raises(OptionError, match="pictures must be one of all, key, none, got 'some'"):
        open_source(clip, pictures="some")
    with pytest.raises(OptionError, match="has no I-frames"):
        open_source(np.zeros((2, 16, 16, 3), np.uint8), pictures="key")


def test_a_session_on_key_pictures_gives_the_labels_of_one_on_all(tiny_bundle: Path, clip: Path) -> None:
    segmenter, found = load(tiny_bundle), {}
    for pictures in ("all", "key"):
        opening = Opening(motion="hevc", pictures=pictures)
        session = segmenter.session(Gop(4))
        with opening.open(clip, session, sinks=["labels", "jsonl"]) as source:
            made = [session.step(frame) for frame in source]
        keys = sum(prediction.decision.route != "nonkey" for prediction in made)
        found[pictures] = keys, [prediction.labels for prediction in made]
    # Without pictures in between, no key frame is forced after 4 frames.
    assert found["key"][0] == 4 < found["all"][0]
    assert len(found["key"][1]) == 30
    for place in (0, 8, 16, 24):
        np.testing.assert_array_equal(found["key"][1][place], found["all"][1][place])


def test_who_needs_more_pictures_is_refused_at_once(tiny_bundle: Path, clip: Path, tmp_path: Path) -> None:
    segmenter = load(tiny_bundle)
    opening = Opening(pictures="key")
    with pytest.raises(OptionError, match="the policy interval:5 makes key frames of others than I-frames"):
        opening.open(clip, segmenter.session(Interval(5)))
    with pytest.raises(OptionError, match="the sink video looks at every picture"):
        opening.open(clip, segmenter.session("gop"), sinks=["video"])
    with pytest.raises(OptionError, match="needs the pictures of key frames"):
        Opening(pictures="none").open(clip, segmenter.session("gop"))
    with (
        open_source(clip, pictures="key") as source,
        pytest.raises(OptionError, match="the policy interval:5"),
    ):
        run(source, segmenter.session("interval:5"))


def test_after_a_loss_frames_pass_until_an_i_frame_comes(
    tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    cut = drop(clip, tmp_path / "cut.mp4", [3])
    segmenter = load(tiny_bundle)
    session = segmenter.session("gop")
    with Opening(pictures="key").open(cut, session) as source:
        sink = open_sink("labels", tmp_path / "labels", SinkContext.of(segmenter.manifest, source.info))
        report = run(source, session, [sink])
    # Frames 0 to 2, then none before the I-frame 8 of the whole clip.
    assert report.losses >= 1 and report.skipped == 4 and report.frames == 25
    with Opening(pictures="key").open(cut) as source:
        session = segmenter.session("gop")
        for frame in source:
            if frame.start == "lost packets":
                with pytest.raises(OptionError, match="has to begin anew and has no picture: skip it"):
                    session.step(frame)
                break
            session.step(frame)


def test_run_with_key_pictures(tiny_bundle: Path, clip: Path, tmp_path: Path) -> None:
    from edge_vss.cli import app

    words = ["run", str(tiny_bundle), str(clip), "--pictures", "key", "--policy", "gop"]
    done = CliRunner().invoke(app, [*words, "--save-labels", str(tmp_path / "labels")])
    assert done.exit_code == 0, done.stderr
    assert "30 label maps" in done.stderr
    refused = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "seen.mp4")])
    assert refused.exit_code == 1 and "the sink video looks at every picture" in refused.stderr
    assert not (tmp_path / "seen.mp4").exists()
