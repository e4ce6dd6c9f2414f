"""Pictures of strange shapes and formats: read as they are, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from edge_vss.errors import OptionError, SourceError
from edge_vss.orientation import UPRIGHT
from edge_vss.runtimes.drawing.contact_sheet import Tile, draw
from edge_vss.runtimes.drawing.video_file import VideoFile
from edge_vss.runtimes.sources import MOST_EXTENT_PX, open_source
from edge_vss.runtimes.sources import _sps as sps
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture
from edge_vss.runtimes.tools.label_video import LabelVideoWriter
from tests.helpers.logs import listening
from tests.helpers.videos import P_ONLY, Image, encode, pan, texture

COLOUR = (200, 40, 40)


def moving_square(count: int, size: tuple[int, int], step: int = 4) -> list[Image]:
    """64 pixels of another texture move right over a still one, from (64, 64) on."""
    back, thing = texture(size, 1), texture((64, 64), 2)
    frames = []
    for number in range(count):
        image = back.copy()
        image[64:128, 64 + step * number : 128 + step * number] = thing
        frames.append(image)
    return frames


def cropped(path: Path, source: Path, **sides: int) -> Path:
    """The same stream, of which its header shows a part."""
    said = ":".join(f"crop_{side}={pixels}" for side, pixels in sides.items())
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        into: Any = written.add_stream_from_template(stream)
        change = BitStreamFilterContext(f"h264_metadata={said}", stream, into)
        for packet in read.demux(stream):
            for changed in change.filter(packet if packet.size else None):
                changed.stream = into
                written.mux(changed)
    return path


# FFmpeg cuts off less at the left than it is told where rows would not be aligned.
@pytest.mark.parametrize(("top", "left"), [(48, 64), (16, 32), (34, 64), (16, 16), (0, 64)])
def test_vectors_of_a_cropped_picture_lie_where_it_moves(top: int, left: int, tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", moving_square(6, (192, 256)), options=P_ONLY | {"crf": "10"})
    path = cropped(tmp_path / "cropped.mp4", whole, top=top, left=left)
    places = {}
    for file in (whole, path):
        with open_source(file, motion="codec") as source:
            frame = list(source)[4]
        assert frame.motion is not None and frame.vectors is not None
        rows, columns = np.nonzero(np.abs(frame.motion.displacement_px[0] + 4) < 1)
        places[file] = (8 * np.median(rows), 8 * np.median(columns)), frame.size
    (row, column), size = places[whole]
    (row_here, column_here), shown = places[path]
    assert abs(row_here - (row - (size[0] - shown[0]))) <= 4
    assert abs(column_here - (column - (size[1] - shown[1]))) <= 4


def test_the_window_of_a_header(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", pan(2, (192, 256)), options=P_ONLY)
    for path, cropping in (
        (whole, None),
        (cropped(tmp_path / "c.mp4", whole, top=2, left=4, bottom=6, right=8), sps.Cropping(2, 186, 4, 248)),
    ):
        with av.open(str(path)) as container:
            found = sps.read_extradata(bytes(container.streams.video[0].codec_context.extradata or b""))
        assert found is not None and found.cropping == cropping
    assert sps.Cropping(16, 192, 32, 256).corner_of((176, 224)) == (16, 32)
    assert sps.Cropping(16, 192, 16, 256).corner_of((176, 256)) == (16, 0)
    assert sps.Cropping(16, 192, 16, 256).corner_of((96, 128)) == (0, 0)


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("yaf32le", 16, 16),
        ("yaf32be", 16, 16),
        ("bayer_rggb8", 64, 5),
        ("bayer_bggr16le", 1, 1),
        ("rgb4", 16, 16),
    ],
)
@pytest.mark.parametrize("wanted", ["rgb24", "gray"])
def test_formats_that_cannot_be_converted_are_refused(
    name: str, width: int, height: int, wanted: str
) -> None:
    # FFmpeg's scaler ends the process over most of these.
    with pytest.raises(SourceError, match=name):
        Converters().convert(av.VideoFrame(width, height, name), (height, width), wanted)


def test_sizes_that_cannot_be_scaled_are_refused() -> None:
    with pytest.raises(SourceError, match="8x8192"):
        Converters().convert(av.VideoFrame(8, 8192, "yuv420p"), (655360, 640), "rgb24")


@pytest.mark.parametrize(("limited", "least", "most"), [(1, 0, 255), (2, 16, 235), (0, 16, 235)])
def test_grey_of_limited_range_is_stretched(limited: int, least: int, most: int) -> None:
    ramp = np.linspace(16, 235, 64).round().astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(np.tile(ramp, (16, 1)), "gray")
    picture.color_range = limited
    shown = DecodedPicture(picture, UPRIGHT, Converters())
    assert (shown.rgb().min(), shown.rgb().max()) == (least, most)
    assert (shown.luma().min(), shown.luma().max()) == (16, 235)


def test_grey_in_half_floats_is_not_taken_for_whole_numbers() -> None:
    picture = av.VideoFrame(32, 8, "grayf16le")
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.float16).reshape(8, -1)
    rows[:, :32] = np.linspace(0, 1, 32)
    shown = DecodedPicture(picture, UPRIGHT, Converters())
    assert np.abs(shown.luma()[0].astype(int) - shown.rgb()[0, :, 0]).max() <= 1
    assert (np.diff(shown.luma()[0].astype(int)) >= 0).all()


def test_frames_too_large_for_16_bits_are_refused() -> None:
    wide = np.zeros((4, MOST_EXTENT_PX + 1, 3), np.uint8)
    with open_source([wide, wide], motion="none") as source, pytest.raises(SourceError, match="32767x4"):
        next(source)
    with open_source([wide[:, :-1], wide[:, :-1]], motion="none") as source:
        assert len(list(source)) == 2


@pytest.mark.parametrize("size", [(1, 64), (64, 1), (2, 2), (8, 20000)])
def test_what_no_encoder_takes_has_no_vectors(size: tuple[int, int], tmp_path: Path) -> None:
    import cv2

    for number in range(3):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"),
            texture((8, 8), number)[:1, :1].repeat(size[0], 0).repeat(size[1], 1),
        )
    with open_source(f"encode:{tmp_path}") as source:
        frames = list(source)
    assert [frame.size for frame in frames] == [size] * 3


def test_maps_that_no_video_holds_are_refused(tmp_path: Path) -> None:
    with (
        LabelVideoWriter(tmp_path / "maps.mkv") as writer,
        pytest.raises(SourceError, match=r"1x64.*write png"),
    ):
        writer.write(np.zeros((64, 1), np.uint8), 0.0)


@pytest.mark.parametrize("size", [(1, 8192), (8192, 1), (8, 16)])
def test_a_sheet_of_extreme_pictures_stays_a_sheet(size: tuple[int, int]) -> None:
    tile = Tile(np.zeros((*size, 3), np.uint8), "frame 0")
    sheet = draw("title", ["video"], [[tile]], [("road", COLOUR)])
    assert sheet.shape[0] < 2000 and sheet.shape[1] < 2000


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_long_pause_loses_no_times(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"daily.{suffix}"
    seconds = [0.0, 0.1, 86_400.0, 86_400.1, 172_800.0]
    with listening() as said:
        video = VideoFile(path, (32, 32), 10)
        for number, each in enumerate(seconds):
            video.write(np.full((32, 32, 3), 40 * number, np.uint8), each)
        video.close()
    with open_source(path, motion="none") as source:
        found = [frame.pts_seconds for frame in source]
    if suffix == "mkv":
        assert found == pytest.approx(seconds, abs=0.01) and not said
    else:
        steps = [0.1, 18_000.0, 0.1, 18_000.0]
        assert np.diff(found) == pytest.approx(steps, abs=0.11) and "written as 5" in "".join(said)


def test_a_video_of_pictures_too_large_for_its_codec(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="16384 pixels a side"):
        VideoFile(tmp_path / "wide.mp4", (8, 16386), 10)
