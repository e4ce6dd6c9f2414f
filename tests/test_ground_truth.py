import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from edge_vss.errors import SourceError
from edge_vss.runtimes.sinks.labels import encode_png
from edge_vss.runtimes.timing import peak_rss_mb
from edge_vss.runtimes.tools.ground_truth import GroundTruth, read_labels

LABELS = np.random.default_rng(0).integers(0, 11, (33, 47), np.uint8)


def palette_png(path: Path, labels: NDArray[np.uint8], bits: int) -> Path:
    """A palette PNG as another program writes it, with filters and 1, 2, 4 or 8 bits per id."""
    image = Image.new("P", labels.shape[::-1])
    image.putdata(labels.ravel().tolist())
    image.putpalette([(37 * i + 11) % 256 for i in range(3 * 2**bits)])
    image.save(path, bits=bits)
    assert path.read_bytes()[24] == bits
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_ids_of_a_palette_png_are_its_indices_not_its_colours(tmp_path: Path, bits: int) -> None:
    labels = LABELS & (2**bits - 1)
    assert np.array_equal(read_labels(palette_png(tmp_path / "a.png", labels, bits)), labels)


def test_ids_of_a_grey_png(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), LABELS)
    assert np.array_equal(read_labels(tmp_path / "a.png"), LABELS)


@settings(max_examples=20, deadline=None)
@given(labels=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_what_run_writes_is_read_back(
    labels: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("labels") / "a.png"
    path.write_bytes(encode_png(labels, ((1, 2, 3), (4, 5, 6))))
    assert np.array_equal(read_labels(path), labels)


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("seq10_f2.png", "seq2_f10.png", "seq2_f9.png", "a.txt", "SEQ.PNG"):
        cv2.imencode(".png", LABELS)[1].tofile(tmp_path / name)
    truth = GroundTruth(tmp_path)
    assert [path.name for path in truth.files] == ["SEQ.PNG", "seq2_f9.png", "seq2_f10.png", "seq10_f2.png"]
    assert len(truth) == 4
    assert np.array_equal(truth.of_file(truth.files[0], (33, 47)), LABELS)


def with_transparent(path: Path, value: int) -> Path:
    """A grey PNG in which one value stands for transparent, as image editors write it."""
    data = path.read_bytes()
    body = b"tRNS" + value.to_bytes(2, "big")
    end = 8 + 25
    path.write_bytes(data[:end] + b"\0\0\0\2" + body + zlib.crc32(body).to_bytes(4, "big") + data[end:])
    return path


def test_ids_of_a_grey_png_in_which_one_is_transparent(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), LABELS)
    path = with_transparent(tmp_path / "a.png", 3)
    with Image.open(path) as image:
        assert image.info["transparency"] == 3
    assert np.array_equal(read_labels(path), LABELS)


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_labels(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_colour_and_16_bit_pictures_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "rgb.png"), np.zeros((4, 4, 3), np.uint8))
    assert "8-bit colour: class ids are read from 8-bit grey or palette" in refused(tmp_path / "rgb.png")
    cv2.imwrite(str(tmp_path / "deep.png"), np.zeros((4, 4), np.uint16))
    assert "16-bit grey" in refused(tmp_path / "deep.png")
    Image.new("1", (4, 4)).save(tmp_path / "bit.png")
    assert "1-bit grey" in refused(tmp_path / "bit.png")


def test_files_that_are_no_png_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a" + bytes(100))
    assert "not a PNG" in refused(tmp_path / "a.png")
    (tmp_path / "empty.png").touch()
    assert "not a PNG" in refused(tmp_path / "empty.png")
    assert "cannot be read" in refused(tmp_path / "absent.png")


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    data = bytearray(encode_png(LABELS, ((0, 0, 0),)))
    start = data.index(b"IDAT") + 4
    data[start : start + 40] = zlib.compress(b"x" * 4000)[:20].ljust(40, b"\0")
    (tmp_path / "a.png").write_bytes(data)
    assert "damaged" in refused(tmp_path / "a.png")


def png(size: tuple[int, int], pixels: bytes, depth: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    """A PNG file of these compressed bytes, whatever its header says; all checksums are right."""
    header = struct.pack(">IIBB2xB", size[1], size[0], depth, colour, interlaced)
    chunks = ((b"IHDR", header), (b"PLTE", bytes(768)), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
        if kind != b"PLTE" or colour == 3
    )


@pytest.mark.parametrize("rows", [0, 20, 32, 34, 4000])
def test_a_png_with_too_few_or_too_many_rows_is_refused(tmp_path: Path, rows: int) -> None:
    (tmp_path / "a.png").write_bytes(png((33, 47), zlib.compress(bytes(48 * rows))))
    assert "damaged" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (5, 3), (33, 47)])
def test_an_interlaced_png_is_read(tmp_path: Path, size: tuple[int, int], bits: int) -> None:
    # Pillow cannot write these.
    labels = np.random.default_rng(1).integers(0, 2**bits, size, np.uint8)
    raw = b""
    for left, top, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        for row in labels[top::down, left::across]:
            if len(row):
                digits = "".join(f"{value:0{bits}b}" for value in row)
                digits += "0" * (-len(digits) % 8)
                raw += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
    (tmp_path / "a.png").write_bytes(png(size, zlib.compress(raw), bits, 3, 1))
    assert np.array_equal(read_labels(tmp_path / "a.png"), labels)


def test_a_large_map_that_packs_well_is_read(tmp_path: Path) -> None:
    labels = np.zeros((2160, 3840), np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(labels, ((0, 0, 0),)))
    assert np.array_equal(read_labels(tmp_path / "a.png"), labels)


def test_a_label_map_of_another_size_says_both_sizes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), LABELS)
    with pytest.raises(
        SourceError, match=r"0\.png is 33x47 \(height x width\), but the video's frames are 360x480"
    ):
        GroundTruth(tmp_path).of_file(tmp_path / "0.png", (360, 480))


def test_a_folder_without_label_maps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no PNG"):
        GroundTruth(tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        GroundTruth(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file"):
        GroundTruth(tmp_path / "file")


@pytest.mark.parametrize(("kind", "before"), [(b"zTXt", b"note\0\0"), (b"iCCP", b"note\0\0")])
def test_what_is_beside_the_picture_is_not_unpacked(tmp_path: Path, kind: bytes, before: bytes) -> None:
    body = before + zlib.compress(bytes(300_000_000), 9)
    beside = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    data = png((4, 4), zlib.compress(bytes(20)))
    (tmp_path / "a.png").write_bytes(data[:33] + beside + data[33:])
    held = peak_rss_mb()
    assert read_labels(tmp_path / "a.png").shape == (4, 4)
    assert not peak_rss_mb() > held + 100


def test_a_folder_of_maps_may_be_called_as_a_video_is(tmp_path: Path) -> None:
    folder = tmp_path / "drive.mkv"
    folder.mkdir()
    cv2.imwrite(str(folder / "000000.png"), np.zeros((4, 6), np.uint8))
    assert len(GroundTruth(folder)) == 1
