"""Pictures that are shown turned or mirrored: all eight ways, in videos and in images."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vss.orientation import UPRIGHT, Orientation, of_display_matrix, of_webp
from edge_vss.runtimes.sources import open_source
from tests.helpers.frames import same
from tests.helpers.videos import encode, pan, texture
from tests.test_vectors import block, together

WAYS = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def shown(image: NDArray[np.uint8], turns: int, mirrored: bool) -> NDArray[np.uint8]:
    """The picture mirrored left to right and then turned counterclockwise."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, turns))


def held(image: NDArray[np.uint8], turns: int, mirrored: bool) -> NDArray[np.uint8]:
    """What the camera saw, where `shown` makes the picture of it."""
    before = np.rot90(image, -turns)
    return np.ascontiguousarray(before[:, ::-1] if mirrored else before)


@pytest.mark.parametrize(("turns", "mirrored"), WAYS)
def test_a_video_is_shown_as_its_display_matrix_says(turns: int, mirrored: bool, tmp_path: Path) -> None:
    if not hasattr(av.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write a display matrix")
    upright = pan(10, (96, 128), (3, 1))
    # FFmpeg mirrors after it has turned. Turning the other way before is the same.
    degrees = 90 * (-turns if mirrored else turns)
    path = encode(
        tmp_path / "v.mp4",
        [held(image, turns, mirrored) for image in upright],
        rotation=degrees,
        mirrored=mirrored,
    )
    with open_source(path, motion="codec") as source:
        frames = list(source)
        info = source.info
    assert (info.rotation, info.mirrored, info.size) == (90 * turns, mirrored, (96, 128))
    for frame, image in zip(frames, upright, strict=True):
        assert frame.size == frame.luma.shape == (96, 128)
        assert np.abs(frame.image.astype(int) - image).mean() < 12
        small = cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.picture.rgb((48, 64)).astype(int) - small).mean() < 12
        grey = image.astype(float) @ [0.299, 0.587, 0.114]
        assert np.corrcoef(frame.luma.ravel(), grey.ravel())[0, 1] > 0.99
    for frame in frames[1:]:
        vectors = frame.vectors
        assert vectors is not None and frame.motion is not None
        assert np.median(vectors.displacement_px, axis=1).tolist() == [-3, -1]
        assert vectors.left_px.min() >= 0 and (vectors.left_px + vectors.width_px).max() <= 128
        assert vectors.top_px.min() >= 0 and (vectors.top_px + vectors.height_px).max() <= 96
        assert np.median(frame.motion.displacement_px, axis=(1, 2)).tolist() == [-3, -1]


@pytest.mark.parametrize(("turns", "mirrored"), WAYS)
def test_a_block_moves_with_its_pixels(turns: int, mirrored: bool) -> None:
    picture = np.zeros((48, 80), np.uint8)
    picture[8:16, 16:32] = 1
    before = np.zeros_like(picture)
    before[8 + 5 : 16 + 5, 16 - 3 : 32 - 3] = 1
    way = Orientation(turns, mirrored)
    vectors = way.vectors(block(16, 8, 16, 8, (-3, 5)), picture.shape)
    (x,), (y,), (w,), (h,) = vectors.left_px, vectors.top_px, vectors.width_px, vectors.height_px
    now = way.pixels(picture)
    assert now.shape == way.size((48, 80))
    assert now[y : y + h, x : x + w].all() and now.sum() == w * h == 128
    dx, dy = vectors.displacement_px[:, 0].astype(int)
    assert way.pixels(before)[y + dy : y + dy + h, x + dx : x + dx + w].all()


@given(st.integers(0, 3), st.booleans(), st.integers(0, 500), st.integers(0, 500))
@settings(derandomize=True)
def test_turning_back_loses_nothing(turns: int, mirrored: bool, x: int, y: int) -> None:
    way, size = Orientation(turns, mirrored), (601, 833)
    # A mirrored turn is its own way back.
    back = way if mirrored else Orientation(-turns % 4)
    both = together(block(x, y, 16, 8, (0.25, -3.75)), block(y, x, 8, 8, (-7, 1.5), direction=1))
    assert same(back.vectors(way.vectors(both, size), way.size(size)), both)
    image = texture((33, 47))
    assert np.array_equal(back.pixels(way.pixels(image)), image)


@pytest.mark.parametrize("name", ["hflip", "vflip", "rot90hflip"])
def test_matrices_as_ffmpeg_writes_them(name: str) -> None:
    one = 1 << 16
    matrices = {"hflip": (-one, 0, 0, one), "vflip": (one, 0, 0, -one), "rot90hflip": (0, one, one, 0)}
    a, b, c, d = matrices[name]
    found = of_display_matrix(struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    assert found.mirrored
    # Where the matrix sends a pixel, the picture shows it.
    decoded = np.zeros((3, 5), np.uint8)
    decoded[0, 1] = 1
    y, x = np.argwhere(found.pixels(decoded))[0]
    height, width = found.size((3, 5))
    from_centre = np.array([1 - (5 - 1) / 2, 0 - (3 - 1) / 2])
    there = np.array([[a, c], [b, d]]) / one @ from_centre
    assert (x, y) == (there[0] + (width - 1) / 2, there[1] + (height - 1) / 2)


@given(st.binary(max_size=40))
@settings(derandomize=True)
def test_no_matrix_can_make_it_fail(matrix: bytes) -> None:
    found = of_display_matrix(matrix)
    assert found.quarter_turns in range(4)
    assert found == UPRIGHT or len(matrix) >= 36


def exif(orientation: int) -> bytes:
    """A block of EXIF (JEITA CP-3451) that says nothing but the orientation."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def with_exif(suffix: str, content: bytes, size: tuple[int, int], block: bytes) -> bytes:
    """An image file with the block put where its kind wants it."""
    if suffix == ".jpg":
        block = b"Exif\0\0" + block
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]
    if suffix == ".png":
        chunk = b"eXIf" + block
        chunk = struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return content[:33] + chunk + content[33:]
    height, width = (side - 1 for side in size)
    extended = (
        struct.pack("<4sIB3x", b"VP8X", 10, 8) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    )
    padded = block + bytes(len(block) % 2)
    body = b"WEBP" + extended + content[12:] + struct.pack("<4sI", b"EXIF", len(block)) + padded
    return struct.pack("<4sI", b"RIFF", len(body)) + body


EXIF = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (3, False),
    7: (3, True),
    8: (1, False),
}
"""Orientation of EXIF → how the picture is shown: turns counterclockwise, mirrored before."""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", EXIF)
def test_an_image_is_shown_as_its_exif_says(orientation: int, suffix: str, tmp_path: Path) -> None:
    image = texture((48, 64), 3)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(suffix, bgr)[1].tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(with_exif(suffix, content, (48, 64), exif(orientation)))
    (frame,) = open_source(path, motion="none")
    expected = shown(image, *EXIF[orientation])
    assert frame.size == frame.luma.shape == expected.shape[:2]
    assert np.abs(frame.image.astype(int) - expected).mean() < 5


@given(st.binary(max_size=60), st.sampled_from([b"II*\0", b"MM\0*", b""]))
@settings(derandomize=True)
def test_no_exif_can_make_it_fail(block: bytes, order: bytes) -> None:
    content = b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", len(order + block)) + order + block
    assert of_webp(content).quarter_turns in range(4)
    assert of_webp(content[12:]).quarter_turns in range(4)
