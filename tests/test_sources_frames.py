from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame
from tests.helpers import toys
from tests.helpers.videos import pan


def write(folder: Path, name: str, image: NDArray[np.uint8]) -> None:
    assert cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def test_one_array() -> None:
    images = np.stack(pan(4))
    with open_source(images, fps=10, motion="none") as source:
        info, frames = source.info, list(source)
    assert (info.codec, info.size, info.fps, info.frames) == ("", (96, 128), 10.0, 4)
    assert not info.exports_vectors
    assert info.duration_seconds == pytest.approx(0.4)
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [frame.start for frame in frames] == ["first frame", "", "", ""]
    assert {frame.picture_type for frame in frames} == {"?"}
    assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, images, strict=True))


def test_arrays_as_they_come_are_read_once_and_lazily() -> None:
    taken = []

    def camera() -> Iterator[NDArray[np.uint8]]:
        for number, image in enumerate(pan(5)):
            taken.append(number)
            yield image

    with open_source(camera(), motion="none") as source:
        assert source.info.frames is None
        assert taken == [0]
        assert next(source).index == 0
        assert taken == [0]
        assert [frame.index for frame in source] == [1, 2, 3, 4]


def test_flow_is_the_motion_of_arrays() -> None:
    with open_source(pan(4, step=(3, 0))) as source:
        frames = list(source)
    assert frames[0].motion is None
    for frame in frames[1:]:
        assert frame.motion is not None
        assert np.median(frame.motion.displacement_px[0]) == pytest.approx(-3, abs=0.5)


def test_luma_and_scaling() -> None:
    image = pan(1)[0]
    frame = next(open_source(image, motion="none"))
    assert np.abs(frame.luma - image.astype(float) @ [0.299, 0.587, 0.114]).max() <= 1
    blocks = image.reshape(24, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(frame.picture.rgb((24, 32)) - blocks).max() <= 1
    assert frame.picture.rgb((200, 300)).shape == (200, 300, 3)


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    images = pan(12)
    for number, image in enumerate(images):
        write(tmp_path, f"frame{number}.png", image)
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_source(tmp_path, motion="none") as source:
        assert source.info.frames == 12
        assert all(np.array_equal(a.image, b) for a, b in zip(source, images, strict=True))
    with open_source(str(tmp_path / "frame1*.png"), motion="none") as source:
        shown = [frame.image for frame in source]
    assert len(shown) == 3
    assert all(np.array_equal(shown[i], images[number]) for i, number in enumerate([1, 10, 11]))


def test_one_image_and_its_kinds(tmp_path: Path) -> None:
    image = pan(1)[0]
    for name in ("a.png", "b.jpg", "c.bmp", "d.webp"):
        write(tmp_path, name, image)
        (frame,) = open_source(tmp_path / name, motion="none")
        assert np.abs(frame.image.astype(int) - image).mean() < 12


def tiff(pages: list[NDArray[np.uint8]], kinds: list[int], order: str, big: bool) -> bytes:
    """A TIFF file of grey pages, each with its NewSubfileType (TIFF 6.0; BigTIFF of AWare Systems)."""
    wide = "Q" if big else "I"
    content = bytearray(struct.pack(f"{order}2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16))
    if not big:
        content = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8))
    for page, kind in zip(pages, kinds, strict=True):
        height, width = page.shape
        tags = {254: kind, 256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: height}
        tags[279] = page.size
        counted = "Q" if big else "H"
        end = len(content) + struct.calcsize(f"={counted}") + len(tags) * (20 if big else 12)
        tags[273] = end + struct.calcsize(f"={wide}")
        content += struct.pack(f"{order}{counted}", len(tags))
        for tag, value in sorted(tags.items()):
            content += struct.pack(f"{order}HH{wide}{wide}", tag, 4, 1, value if not big else 0)
            if big:
                content[-8:] = struct.pack(f"{order}I", value) + bytes(4)
        after = tags[273] + page.size
        last = page is pages[-1]
        content += struct.pack(f"{order}{wide}", 0 if last else after) + page.tobytes()
    return bytes(content)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("kinds", "pages"), [([0], 1), ([0, 1], 1), ([0, 4], 1), ([0, 0], 2), ([2, 2, 1], 2)]
)
def test_pages_of_a_tiff(kinds: list[int], pages: int, big: bool, order: str, tmp_path: Path) -> None:
    grey = [np.full((20, 30), 40 * number, np.uint8) for number in range(1, 1 + len(kinds))]
    path = tmp_path / "a.tiff"
    path.write_bytes(tiff(grey, kinds, order, big))
    assert cv2.imcount(str(path)) == len(kinds)
    if pages > 1:
        with pytest.raises(SourceError, match="is a TIFF of several pages: save one file per picture"):
            open_source(path)
    else:
        (frame,) = open_source(path, motion="none")
        assert np.array_equal(frame.image, np.stack([grey[0]] * 3, 2))


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_an_animation_is_no_picture(name: str, tmp_path: Path) -> None:
    if not hasattr(cv2, "Animation"):
        pytest.skip("OpenCV writes animations since 4.11")
    for count in (1, 3):
        animation = cv2.Animation()
        animation.frames, animation.durations = pan(count), [40] * count
        assert cv2.imwriteanimation(str(tmp_path / f"{count}{name}"), animation)
    assert len(list(open_source(tmp_path / f"1{name}", motion="none"))) == 1
    with pytest.raises(SourceError, match=r"is an animated (PNG|WebP): save one file per picture, or"):
        open_source(tmp_path / f"3{name}")


def test_another_size_starts_anew(tmp_path: Path) -> None:
    frames = list(open_source([*pan(2), *pan(2, (64, 80))]))
    assert [frame.size for frame in frames] == [(96, 128)] * 2 + [(64, 80)] * 2
    assert [frame.start for frame in frames] == ["first frame", "", "size changed", ""]
    assert frames[2].motion is None


def test_seek() -> None:
    with open_source(pan(10), motion="none", fps=10) as source:
        source.seek(0.35)
        frames = list(source)
        assert [frame.index for frame in frames] == [4, 5, 6, 7, 8, 9]
        assert frames[0].start == "seek"
    with open_source(iter(pan(3)), motion="none") as source, pytest.raises(SourceError, match="cannot seek"):
        source.seek(0)


def test_frames_of_the_wrong_kind() -> None:
    good = pan(1)[0]
    for wrong in (good.astype(np.float32), good[..., 0], good[..., :2], "frame", good[:0]):
        with pytest.raises(SourceError, match="uint8 RGB"):
            list(open_source([wrong], motion="none"))  # type: ignore[list-item]
        with pytest.raises(SourceError, match="frame 1 must be"):
            list(open_source([good, wrong], motion="none"))  # type: ignore[list-item]
    with pytest.raises(SourceError, match="empty"):
        open_source([])
    with pytest.raises(SourceError, match=r"\(N, H, W, 3\)"):
        open_source(np.zeros((3, 3), np.uint8))


def test_a_superscript_in_a_name_is_no_number(tmp_path: Path) -> None:
    for number, name in enumerate(("1²2.png", "1²10.png", "2²1.png")):
        write(tmp_path, name, np.full((16, 16, 3), 40 * number, np.uint8))
    with open_source(tmp_path, motion="none") as source:
        assert [int(frame.image[0, 0, 0]) for frame in source] == [0, 40, 80]


def camera(count: int = 12) -> Iterator[NDArray[np.uint8]]:
    """A camera that fills one buffer over and over."""
    buffer = np.empty((48, 64, 3), np.uint8)
    for number in range(count):
        buffer[:] = number * 20
        yield buffer


def shades(frames: list[Frame]) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_a_buffer_that_is_filled_again_gives_other_frames_each_time() -> None:
    with open_source(camera(), motion="none") as source:
        assert shades(list(source)) == [20 * number for number in range(12)]
    buffer = np.zeros((4, 48, 64, 3), np.uint8)
    views = [buffer[0], buffer[0][:, ::-1], buffer[1], buffer[0]]

    def refilled(source: Iterator[Frame]) -> list[Frame]:
        kept = []
        for number, frame in enumerate(source):
            kept.append(frame)
            buffer[:] = 20 * (number + 1)
        return kept

    for arrays in (views, buffer):
        buffer[:] = 0
        with open_source(arrays, motion="none") as source:
            assert shades(refilled(source)) == [0, 20, 40, 60]


def test_the_first_frame_is_the_one_of_the_opening() -> None:
    buffer = np.full((48, 64, 3), 7, np.uint8)
    source = open_source((buffer for _ in range(2)), motion="none")
    buffer[:] = 9
    assert shades(list(source)) == [7, 9]


def test_a_camera_through_the_pipeline_has_the_labels_of_its_own_frames() -> None:
    segmenter = toys.segmenter(policy="interval:1")
    shown: list[int] = []

    def alternating() -> Iterator[NDArray[np.uint8]]:
        buffer = np.empty((48, 64, 3), np.uint8)
        for number in range(30):
            buffer[:] = 255 * (number % 2)
            yield buffer

    def on_frame(frame: Frame, prediction: Prediction | None) -> None:
        assert prediction is not None
        shown.append(int(prediction.labels.max()))

    with open_source(alternating()) as source:
        run(source, segmenter.session(), on_frame=on_frame)
    assert shown == [0, 1] * 15


def test_drawing_on_a_picture_before_the_step_changes_nothing(p_only: Path) -> None:
    session = toys.segmenter((96, 128), policy="interval:1").session()
    dark = [np.zeros((96, 128, 3), np.uint8) for _ in range(3)]
    for source in (open_source(dark), open_source(np.stack(dark)), open_source(p_only)):
        for frame in source:
            expected = session.step(frame).labels
            frame.image[:] = 255
            for array in dark:
                array[:] = 255
            frame.picture.rgb()[:] = 255
            frame.picture.rgb((96, 128))[:] = 255
            assert np.array_equal(session.step(frame).labels, expected)
            for array in dark:
                array[:] = 0


def test_images_and_arrays_have_no_streams(tmp_path: Path) -> None:
    write(tmp_path, "0.png", pan(1)[0])
    for source in (pan(1), tmp_path):
        with pytest.raises(OptionError, match="stream 1 of images or arrays"):
            open_source(source, stream=1)
