"""HEVC streams for tests, their motion, and the pixel proof that needs no reference to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.motion._hevc.parser import MODE_SKIP, Parser, Picture, _configuration
from edge_vss.video import Size
from tests.helpers.videos import Image, encode, texture

PROVABLE = "no-sao=1:no-deblock=1:weightp=0:weightb=0:log-level=none:pools=1:frame-threads=1"
"""What x265 must leave out, so that the pixels of a skipped block are those of its prediction."""

_TAPS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ],
    np.int64,
)
"""The luma filter by quarter (table 8-11)."""


def scene(count: int, size: Size = (128, 192), seed: int = 0) -> list[Image]:
    """Three things that move differently, one of which turns up late, and a little noise."""
    random = np.random.default_rng(seed)
    back = texture((size[0] + 64, size[1] + 64), seed)
    objects = [texture((40, 48), seed + 1), texture((24, 24), seed + 2)]
    frames = []
    for i in range(count):
        frame = back[i : i + size[0], 2 * i % 60 : 2 * i % 60 + size[1]].astype(np.int16)
        for k, thing in enumerate(objects):
            if i < 3 * k:
                continue
            y, x = (10 + 3 * i * (1 - 2 * k)) % (size[0] - 48), (20 + 5 * i + 60 * k) % (size[1] - 48)
            frame[y : y + thing.shape[0], x : x + thing.shape[1]] = thing
        frame += random.integers(-2, 3, frame.shape, dtype=np.int16)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return frames


def encode_hevc(
    path: Path, frames: list[Image], parameters: str = "", pix_fmt: str = "yuv420p", size: Size | None = None
) -> Path:
    """Encodes with x265, provable by pixels; ``size`` takes the top left corner only."""
    if size is not None:
        frames = [np.ascontiguousarray(frame[: size[0], : size[1]]) for frame in frames]
    options = {"x265-params": f"{PROVABLE}:{parameters}" if parameters else PROVABLE, "preset": "medium"}
    return encode(path, frames, "libx265", options, pix_fmt=pix_fmt)


def packets(path: Path) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The container's word on the stream, and each packet with its pts, in decoding order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        found = [(p.pts or 0, bytes(p)) for p in container.demux(stream) if p.size]
        return bytes(stream.codec_context.extradata or b""), found


def units(extradata: bytes, packets: list[bytes]) -> list[bytes]:
    """The NAL units of a stream whose packets have lengths, its parameter sets first."""
    found = [unit[3:] for unit in _configuration(extradata)[1]]
    for packet in packets:
        at = 0
        while at < len(packet):
            size = int.from_bytes(packet[at : at + 4], "big")
            found.append(packet[at + 4 : at + 4 + size])
            at += 4 + size
    return found


def parse(path: Path, *, blocks: bool = True) -> tuple[list[tuple[int, Picture]], list[str]]:
    """The pts and the picture of every packet, in decoding order, and what could not be read."""
    extradata, found = packets(path)
    parser = Parser(extradata, blocks=blocks)
    pictures = [(pts, picture) for pts, packet in found for picture in parser.read(packet)]
    return pictures, parser.new_reasons()


def luma(path: Path) -> dict[int, NDArray[np.int64]]:
    """The brightness of every frame that FFmpeg decodes, by pts."""
    found = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane: Any = frame.planes[0]
            kind = np.dtype("<u2") if frame.format.components[0].bits > 8 else np.dtype("u1")
            rows = np.frombuffer(plane, kind).reshape(frame.height, -1)
            found[int(frame.pts or 0)] = rows[:, : frame.width].astype(np.int64)
    return found


def predict(
    references: list[NDArray[np.int64]],
    which: NDArray[Any],
    y: NDArray[Any],
    x: NDArray[Any],
    mv: NDArray[Any],
    bits: int,
) -> NDArray[np.int64]:
    """8.5.3.3.3: 4×4 samples at (y, x) from one list, before rounding: (n, 4, 4)."""
    stack = np.stack(references)
    mv = mv.astype(np.int64)
    rows = (y + (mv[:, 1] >> 2))[:, None] + np.arange(-3, 8)
    columns = (x + (mv[:, 0] >> 2))[:, None] + np.arange(-3, 8)
    rows, columns = np.clip(rows, 0, stack.shape[1] - 1), np.clip(columns, 0, stack.shape[2] - 1)
    samples = stack[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    across, down = _TAPS[mv[:, 0] & 3], _TAPS[mv[:, 1] & 3]
    wide = sum(across[:, k, None, None] * samples[:, :, k : k + 4] for k in range(8)) >> min(4, bits - 8)
    return np.asarray(sum(down[:, k, None, None] * wide[:, k : k + 4] for k in range(8)) >> 6)


def pixel_proof(
    pictures: list[tuple[int, Picture]],
    shown: dict[int, NDArray[np.int64]],
    *,
    bits: int = 8,
    mode: tuple[int, ...] = (MODE_SKIP,),
) -> tuple[int, int]:
    """How many samples of blocks without a residual equal the prediction that the motion says, and how many
    there are. Needs ``blocks``, no filters and no weights."""
    equal, total = 0, 0
    frames: dict[int, NDArray[np.int64]] = {}
    for pts, picture in pictures:
        if picture.starts:
            frames = {}
        if pts not in shown:
            continue
        frames[picture.poc] = shown[pts]
        blocks = picture.blocks
        assert blocks is not None
        chosen = np.isin(blocks["mode"], mode) & ((blocks["flags"] & 6) == 0)
        order = sorted(frames)
        row, column = np.nonzero(chosen)
        if not len(row):
            continue
        cell = blocks[row, column]
        sums, count = np.zeros((len(row), 4, 4), np.int64), np.zeros(len(row), np.int64)
        for X in range(2):
            used = (cell["lists"] >> X & 1).astype(bool)
            if not used.any():
                continue
            poc = picture.poc + cell["poc_difference"][used, X].astype(int)
            which = np.searchsorted(order, poc)
            assert (np.asarray(order)[which] == poc).all(), "a reference that was never shown"
            sums[used] += predict(
                [frames[key] for key in order],
                which,
                4 * row[used],
                4 * column[used],
                cell["mv_quarter_px"][used, X],
                bits,
            )
            count[used] += 1
        shift = 14 - bits + (count > 1)
        made = np.clip((sums + (1 << (shift - 1))[:, None, None]) >> shift[:, None, None], 0, (1 << bits) - 1)
        real = shown[pts].reshape(blocks.shape[0], 4, blocks.shape[1], 4).transpose(0, 2, 1, 3)[row, column]
        equal += int((made == real).sum())
        total += real.size
    return equal, total
