import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from edge_vss.errors import SourceError
from edge_vss.runtimes.sinks.labels import encode_png
from edge_vss.runtimes.tools.ground_truth import GroundTruth, read_labels
from edge_vss.runtimes.tools.timing import peak_rss_mb

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
    assert np.array_equal(truth.matching(0, (33, 47)), LABELS)


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


def test_a_label_map_of_another_size_says_both_sizes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), LABELS)
    with pytest.raises(
        SourceError, match=r"0\.png is 33x47 \(height x width\), but the video's frames are 360x480"
    ):
        GroundTruth(tmp_path).matching(0, (360, 480))


def test_a_folder_without_label_maps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no PNG"):
        GroundTruth(tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        GroundTruth(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file"):
        GroundTruth(tmp_path / "file")


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(width: int, height: int, rows: bytes, *more: bytes) -> bytes:
    """A grey PNG that says what it likes of its size."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_small_file_that_promises_a_huge_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2**31 - 1, 2**31 - 1, b""))
    assert "67108864 pixels at most" in refused(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(4, 4, bytes(200_000_000)))
    assert "damaged" in refused(tmp_path / "b.png")


def test_what_is_beside_the_picture_is_not_unpacked(tmp_path: Path) -> None:
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(200_000_000), 9))
    rows = b"".join(bytes((0, *row)) for row in LABELS.tolist())
    (tmp_path / "a.png").write_bytes(png(47, 33, rows, bomb, chunk(b"acTL", bytes(8))))
    before = peak_rss_mb()
    assert np.array_equal(read_labels(tmp_path / "a.png"), LABELS)
    assert not peak_rss_mb() > before + 100


@pytest.mark.parametrize("missing", [1, 12, 13, 30, 500])
def test_a_torn_file_is_never_half_a_label_map(tmp_path: Path, missing: int) -> None:
    data = encode_png(LABELS, ((0, 0, 0),))
    (tmp_path / "a.png").write_bytes(data[:-missing])
    assert "damaged" in refused(tmp_path / "a.png")


def test_rows_that_are_missing_are_noticed(tmp_path: Path) -> None:
    rows = b"".join(bytes((0, *row)) for row in LABELS.tolist())
    (tmp_path / "a.png").write_bytes(png(47, 33, rows[: 48 * 20]))
    assert "damaged" in refused(tmp_path / "a.png")


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
"""First row, first column, and the steps down and across, of each pass."""


def test_an_interlaced_label_map_is_read(tmp_path: Path) -> None:
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    parts = [LABELS[top::down, left::across] for top, left, down, across in passes]
    rows = b"".join(bytes((0, *row)) for part in parts for row in part.tolist() if len(row))
    data = bytearray(png(47, 33, rows))
    data[28] = 1
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(read_labels(tmp_path / "a.png"), LABELS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "no plain file" in refused(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    assert "no plain file" in refused(tmp_path / "b.png")


EXAMPLES = 20_000 if os.environ.get("EDGE_VSS_SOAK") else 300


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(drawn=st.data())
def test_a_mutated_file_is_a_label_map_or_a_source_error(
    drawn: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(encode_png(LABELS[:8, :9], ((1, 2, 3),)))
    for _ in range(drawn.draw(st.integers(1, 3))):
        place = drawn.draw(st.integers(0, len(content) - 1))
        content[place : place + drawn.draw(st.integers(0, 4))] = drawn.draw(st.binary(max_size=6))
    path = tmp_path_factory.getbasetemp() / "mutated.png"
    path.write_bytes(content)
    try:
        labels = read_labels(path)
    except SourceError as error:
        assert "\n" not in str(error)
    else:
        assert labels.dtype == np.uint8 and labels.ndim == 2
