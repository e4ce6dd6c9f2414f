"""Motion vectors as a product: one form for every codec, saved, loaded, composed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_vss as vss
from edge_vss.cli import app
from edge_vss.errors import MissingExtra, OptionError, SinkError, SourceError
from edge_vss.runtimes.motion._hevc import parser
from edge_vss.runtimes.sources._decoding import Decoding
from edge_vss.runtimes.tools import vectors as tool
from tests.helpers.cli import CliRunner
from tests.helpers.hevc import encode_hevc
from tests.helpers.videos import B_FRAMES, P_ONLY, drop, encode, pan, remux

STEP = (3, -1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Content that moves by STEP a frame, in several encodings."""
    folder, images = tmp_path_factory.mktemp("clips"), pan(20, (124, 188), STEP)
    found = {
        "h264": encode(folder / "p.mp4", images, options=P_ONLY),
        "h264 with B-frames": encode(folder / "b.mp4", images, options=B_FRAMES),
        "mpeg4": encode(folder / "m.mp4", images, "mpeg4", {"g": "250", "q:v": "2"}),
    }
    try:
        parser.check()
    except MissingExtra:
        return found
    found["hevc"] = encode_hevc(folder / "hp.mp4", images, "bframes=0:ref=1")
    found["hevc with B-frames"] = encode_hevc(folder / "hb.mp4", images, "bframes=4:b-adapt=0:ref=3")
    return found


KINDS = ("h264", "h264 with B-frames", "mpeg4", "hevc", "hevc with B-frames")


def the(clips: dict[str, Path], kind: str) -> Path:
    if kind not in clips:
        pytest.skip("the extra hevc is not installed")
    return clips[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_codec_tells_the_motion_in_one_form(kind: str, clips: dict[str, Path]) -> None:
    with vss.vectors(the(clips, kind)) as stream:
        assert stream.info.codec == kind.partition(" ")[0]
        frames = list(stream)
    assert [frame.index for frame in frames] == list(range(20))
    assert frames[0].start == "first frame" and frames[0].motion is None
    assert [frame.pts_seconds for frame in frames] == sorted(frame.pts_seconds for frame in frames)
    for frame in frames[2:]:
        assert frame.size == (124, 188) and frame.motion is not None and frame.vectors is not None
        inner = frame.motion.displacement_px[:, 2:-2, 2:-2]
        assert np.median(inner, axis=(1, 2)) == pytest.approx((-STEP[0], -STEP[1]), abs=0.3)
    if kind.startswith("hevc"):
        for frame in frames[2:]:
            assert frame.vectors is not None and frame.vectors.reference is not None
            told = frame.vectors.reference.astype(np.float32)
            assert (told != 0).all()
            assert np.median(frame.vectors.displacement_px[0] / told) == pytest.approx(-STEP[0], abs=0.2)


def test_hevc_is_not_decoded(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = vss.vectors(the(clips, "hevc with B-frames"))
    # Opening decodes one picture, to see how large it is and which way up.
    monkeypatch.delattr(Decoding, "frames")
    assert len(list(stream)) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_what_was_read(kind: str, clips: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "motion.npz"
    seen: list[int] = []
    assert vss.save_vectors(the(clips, kind), path, on_frame=lambda: seen.append(1)) == 20 == len(seen)
    assert os.listdir(tmp_path) == ["motion.npz"]
    with vss.vectors(clips[kind]) as stream, vss.load_vectors(path) as saved:
        info = stream.info
        assert (saved.codec, saved.size, saved.fps) == (info.codec, info.size, info.fps)
        assert saved.time_base == info.time_base and len(saved) == 20
        for frame, other in zip(stream, saved, strict=True):
            same(frame, other)
        same(saved[-1], saved[19])
        with pytest.raises(IndexError):
            saved[20]


def same(one: vss.FrameVectors, other: vss.FrameVectors) -> None:
    for name in ("index", "pts_seconds", "pts", "picture_type", "size", "start"):
        assert getattr(one, name) == getattr(other, name)
    assert (one.motion is None) == (other.motion is None)
    if one.motion is not None and other.motion is not None:
        for name in ("displacement_px", "known", "reference"):
            np.testing.assert_array_equal(getattr(one.motion, name), getattr(other.motion, name))
    if one.vectors is None or not len(one.vectors):
        assert other.vectors is None
        return
    assert other.vectors is not None
    for name in ("left_px", "top_px", "width_px", "height_px", "displacement_px", "direction"):
        np.testing.assert_array_equal(getattr(one.vectors, name), getattr(other.vectors, name))
    reference = (
        np.zeros(len(one.vectors), np.int8) if one.vectors.reference is None else one.vectors.reference
    )
    np.testing.assert_array_equal(reference, other.vectors.reference)


def test_numpy_alone_reads_the_file(clips: dict[str, Path], tmp_path: Path) -> None:
    vss.save_vectors(clips["h264"], tmp_path / "m.npz")
    arrays = np.load(tmp_path / "m.npz")
    first, end = arrays["offsets"][7:9]
    moved = arrays["displacement_px"][first:end]
    assert np.median(moved, axis=0) == pytest.approx((-STEP[0], -STEP[1]), abs=0.3)
    assert arrays["motion_px"].shape == (20, 2, 16, 24) and arrays["picture_type"][0] == b"I"


@pytest.mark.parametrize("kind", KINDS)
def test_motion_is_composed_to_any_earlier_frame(kind: str, clips: dict[str, Path], tmp_path: Path) -> None:
    vss.save_vectors(the(clips, kind), tmp_path / "m.npz")
    with vss.load_vectors(tmp_path / "m.npz") as saved:
        for frame, earlier in ((19, 18), (14, 5), (8, 1)):
            found = saved.compose(frame, earlier)
            assert found.frames == frame - earlier and found.cell_px == 8
            # Content that came into view has no earlier place.
            inner = found.displacement_px[:, 2:-2, 6:-6]
            expected = (-STEP[0] * found.frames, -STEP[1] * found.frames)
            assert np.median(inner, axis=(1, 2)) == pytest.approx(expected, abs=0.8)
        one = vss.compose_motion([saved.motion(place) for place in range(6, 15)])
        np.testing.assert_array_equal(one.displacement_px, saved.compose(14, 5).displacement_px)
        for frame, earlier in ((5, 5), (4, 9), (20, 3), (3, -1)):
            with pytest.raises(OptionError, match="motion leads to an earlier frame"):
                saved.compose(frame, earlier)
    with pytest.raises(OptionError, match="there is no motion to compose"):
        vss.compose_motion([])


def test_no_motion_leads_across_a_loss(clips: dict[str, Path], tmp_path: Path) -> None:
    cut = drop(clips["h264"], tmp_path / "cut.mp4", [9])
    vss.save_vectors(cut, tmp_path / "m.npz")
    with vss.load_vectors(tmp_path / "m.npz") as saved:
        (place,) = [i for i, frame in enumerate(saved) if i and frame.start]
        assert saved[place].motion is None
        with pytest.raises(OptionError, match=rf"frame {place} does not follow on .*lost packets"):
            saved.compose(place + 2, place - 2)
        assert saved.compose(place + 2, place).frames == 2


def test_codecs_whose_vectors_nobody_reads_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = encode(tmp_path / "v.webm", pan(3, (64, 64)), "libvpx-vp9")
    with pytest.raises(OptionError, match="vp9 gives no motion vectors: open_source measures"):
        vss.vectors(video)
    with pytest.raises(OptionError, match="pictures have no motion vectors"):
        vss.save_vectors(np.zeros((2, 16, 16, 3), np.uint8), tmp_path / "m.npz")
    strange = encode_hevc(tmp_path / "h.mp4", pan(3, (64, 64)), pix_fmt="yuv444p")
    with pytest.raises(SourceError, match="this kind of HEVC cannot be read"):
        vss.vectors(strange)
    parser._module.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "wasmtime", None)
    with pytest.raises(MissingExtra, match=r"edge-vss\[hevc\]"):
        vss.vectors(strange)
    assert sorted(os.listdir(tmp_path)) == ["h.mp4", "v.webm"]


def test_a_raw_stream_has_no_pts(clips: dict[str, Path], tmp_path: Path) -> None:
    raw = remux(clips["h264"], tmp_path / "r.h264", lambda _, content: content, format="h264")
    vss.save_vectors(raw, tmp_path / "m.npz")
    with vss.load_vectors(tmp_path / "m.npz") as saved:
        assert len(saved) == 20 and {frame.pts for frame in saved} == {None} and saved.time_base is None


def test_a_file_is_there_whole_or_not_at_all(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.npz"
    with pytest.raises(OptionError, match=r"saved as \.npz"):
        vss.save_vectors(clips["h264"], tmp_path / "m.bin")
    with pytest.raises(SinkError):
        vss.save_vectors(clips["h264"], tmp_path / "none" / "m.npz")
    changed = [(pan(3, (64, 64)), "a"), (pan(3, (64, 96)), "b")]
    parts = [encode(tmp_path / f"{name}.h264", images, format="h264") for images, name in changed]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(SourceError, match=r"frame 3 is \(64, 96\) .* save 3 frames"):
        vss.save_vectors(joined, path)
    assert not path.exists() and not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert vss.save_vectors(joined, path, limit=3) == 3
    before = path.read_bytes()
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt

    other = tmp_path / "other.npz"
    with pytest.raises(KeyboardInterrupt):
        vss.save_vectors(clips["h264"], other, on_frame=stop)
    with vss.load_vectors(other) as saved:
        assert len(saved) == 6
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(SinkError, match="make room"):
        vss.save_vectors(clips["h264"], path)
    assert path.read_bytes() == before


def test_the_same_video_gives_the_same_bytes(clips: dict[str, Path], tmp_path: Path) -> None:
    for name in "ab":
        vss.save_vectors(clips["h264 with B-frames"], tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_damaged_files_are_refused_in_one_line(clips: dict[str, Path], tmp_path: Path) -> None:
    good = tmp_path / "good.npz"
    vss.save_vectors(clips["h264"], good, limit=4)
    arrays = dict(np.load(good))

    def saved(**changed: object) -> Callable[[Path], object]:
        kept = {name: value for name, value in {**arrays, **changed}.items() if value is not None}
        return lambda path: np.savez(path, **kept)

    rising = arrays["offsets"].copy()
    rising[1], rising[2] = 10**12, 0
    bad: dict[str, Callable[[Path], object]] = {
        "empty": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("no vectors"),
        "cut": lambda path: path.write_bytes(good.read_bytes()[:-900]),
        "compressed": lambda path: np.savez_compressed(path, **arrays),
        "no index": saved(index=None),
        "no version": saved(version=None),
        "another version": saved(version=np.array(9)),
        "size": saved(size=np.array([-4, 10**9])),
        "pickle": saved(left_px=np.array([{}], object)),
        "shorter": saved(motion_px=arrays["motion_px"][:2]),
        "wider": saved(left_px=arrays["left_px"].astype(np.int64)),
        "offsets": saved(offsets=rising),
        "no end": saved(offsets=arrays["offsets"] + 1),
        "time base": saved(time_base=np.array([1, 0])),
    }
    for name, write in bad.items():
        path = tmp_path / f"{name}.npz"
        write(path)
        with pytest.raises(SourceError) as error:
            vss.load_vectors(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value), name
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(SourceError, match="cannot read"):
            vss.load_vectors(path)


def test_a_long_video_takes_little_memory(clips: dict[str, Path], tmp_path: Path) -> None:
    import tracemalloc

    long = encode(tmp_path / "long.mp4", pan(20, (360, 480), STEP) * 15)
    tracemalloc.start()
    vss.save_vectors(long, tmp_path / "m.npz")
    with vss.load_vectors(tmp_path / "m.npz") as saved:
        assert saved.compose(290, 200).frames == 90
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (tmp_path / "m.npz").stat().st_size
    assert len(list(pan(1))) and most < size / 3, (most, size)


def test_the_command_saves_and_draws(clips: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    done = CliRunner().invoke(app, ["motion", str(clips["h264"]), "--save", str(path), "--limit", "5"])
    assert done.exit_code == 0, done.stderr
    assert f"5 frames in {path}" in done.stderr
    with vss.load_vectors(path) as saved:
        assert len(saved) == 5
    refused = CliRunner().invoke(app, ["motion", str(clips["h264"]), "--save", str(tmp_path / "m.txt")])
    assert refused.exit_code == 1 and "saved as .npz" in refused.stderr
    over = CliRunner().invoke(app, ["motion", str(path), "--save", str(path)])
    assert over.exit_code == 1 and "choose another place" in over.stderr
    assert tool.check_name(path) is None  # type: ignore[func-returns-value]
