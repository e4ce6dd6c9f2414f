"""Streets seen from a moving car, drawn with exact labels: `scene` gives frames one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np

from edge_vss.demo.sample import FPS, SIZE
from edge_vss.demo.scene.blocks import build
from edge_vss.demo.scene.canvas import Bytes, Canvas
from edge_vss.demo.scene.movers import line, vehicle
from edge_vss.demo.scene.street import BLOCK_M, BUILDING, LANE_M, SKY, VEGETATION, Block, Street
from edge_vss.demo.scene.textures import Random, fractal
from edge_vss.errors import OptionError
from edge_vss.video import Size

SIGHT_M = 150.0
SPAN = 2.2


def scene(
    seed: int = 0, size: Size = SIZE, frames: int = 250, every: int = 1
) -> Iterator[tuple[Bytes, Bytes]]:
    """Yield the ``frames`` of one drive, 25 a second: (H, W, 3) uint8 RGB and (H, W) uint8 class ids.

    Everything is a textured plane in one world, seen through one moving pinhole camera, so pictures move as
    the real thing does: parallax, occlusion, looming. Picture and labels are drawn from the same outlines; a
    pixel takes the class of what covers at least half of it. The same arguments give the same bytes, and a
    longer drive begins with the shorter one. ``every`` leaves out the frames in between, at no cost. Raises
    OptionError for a size under 32 × 32 or a negative number.
    """
    if min(size) < 32 or min(frames, seed) < 0 or every < 1:
        raise OptionError(
            "a scene wants a size of 32x32 or more, frames and seed from 0 and every from 1 on; "
            f"got {size[0]}x{size[1]}, {frames}, {seed} and {every}"
        )
    return _drive(seed, size, frames, every)


def _drive(seed: int, size: Size, frames: int, every: int) -> Iterator[tuple[Bytes, Bytes]]:
    rng = np.random.default_rng([seed, 3])
    street = Street(seed)
    sky, skyline, haze = _panorama(rng, street.sunny)
    canvas = Canvas(size, haze)
    grain = np.clip(rng.normal(128, rng.uniform(1.5, 3), (size[0] + 64, size[1] + 64, 3)), 0, 255).astype(
        np.uint8
    )
    warmth = rng.uniform(-0.05, 0.07)
    phase = rng.uniform(0, 2 * math.pi, 3)
    blocks: dict[int, Block] = {}
    for number in range(0, frames * every, every):
        t = number / FPS
        canvas.look(*street.ride.pose(t))
        canvas.backdrop(sky, skyline, SPAN)
        _draw(canvas, street, _in_sight(street, blocks, t), t)
        picture = np.asarray(cv2.GaussianBlur(canvas.image, (3, 3), 0.55), np.uint8)
        gain = 1 + 0.09 * math.sin(t * 0.9 + phase[0]) + 0.1 * math.tanh(6 * math.sin(t * 0.37 + phase[1]))
        picture = _exposed(picture, gain, warmth)
        dx, dy = np.random.default_rng([seed, 4, number]).integers(0, 64, 2)
        speckle = grain[dy : dy + size[0], dx : dx + size[1]]
        yield np.asarray(cv2.addWeighted(picture, 1, speckle, 1, -128), np.uint8), canvas.labels.copy()


def _in_sight(street: Street, blocks: dict[int, Block], t: float) -> list[Block]:
    """The blocks around the camera, far to near; built on demand, and dropped when left behind."""
    ahead = street.ride.ahead(t)
    first, last = math.floor((ahead - 30) / BLOCK_M), math.floor((ahead + SIGHT_M) / BLOCK_M)
    for index in range(first, last + 1):
        if index not in blocks:
            blocks[index] = build(street, index)
    for index in [index for index in blocks if index < first]:
        del blocks[index]
    return [blocks[index] for index in range(last, first - 1, -1)]


def _draw(canvas: Canvas, street: Street, blocks: list[Block], t: float) -> None:
    eye = canvas.position
    ahead = float(eye[2])
    for panel in street.floor(ahead):
        canvas.paint(panel)
    items = [item for block in blocks for item in block.items]
    if street.lead:
        across = line(LANE_M / 2 - 0.1)
        items.append(vehicle(street, street.lead_kind, street.lead_paint, across, street.leader, (0.0, 1.0)))
    placed = sorted(((item.ahead(t), i) for i, item in enumerate(items)), reverse=True)
    near = [items[i] for z, i in placed if -6 < z - ahead < SIGHT_M + 20]
    for block in blocks:
        for panel in block.ground:
            canvas.paint(panel)
    for block in blocks:
        for panel in block.shadows:
            canvas.darken(panel)
    for item in near:
        if item.under:
            canvas.darken(item.under(t))
    for item in near:
        for panel in item.draw(t, eye):
            canvas.paint(panel)


def _exposed(picture: Bytes, gain: float, warmth: float) -> Bytes:
    level = np.arange(256, dtype=np.float32) * gain
    # A soft shoulder, as a camera has: highlights do not clip to flat white.
    level = np.where(level > 200, 200 + 55 * np.tanh((level - 200) / 70), level)
    table = np.stack([level * (1 + warmth), level, level * (1 - warmth)], axis=-1)
    return np.asarray(cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)[None]))


def _panorama(rng: Random, sunny: bool) -> tuple[Bytes, Bytes, tuple[int, int, int]]:
    """Sky with clouds over a far skyline, its labels, and the colour of the haze."""
    height, width = 640, 1536
    top, low = ((86, 138, 208), (196, 214, 232)) if sunny else ((150, 160, 172), (206, 210, 214))
    fade = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 1.3
    sky = np.array(top, np.float32) * (1 - fade) + np.array(low, np.float32) * fade
    cloud = fractal(rng, (height, width // 2), 1.6)
    cloud = np.asarray(cv2.resize(cloud, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    cover = np.clip((cloud - rng.uniform(-0.2, 0.9)) * 0.9, 0, 1)[..., None]
    body = np.array((244, 244, 246), np.float32) - 26 * np.clip(cloud - 1, 0, 2)[..., None]
    sky = sky * (1 - cover) + body * cover
    art, labels = sky.astype(np.uint8), np.full((height, width), SKY, np.uint8)
    x = 0
    while x < width:
        wide, high = int(rng.integers(14, 60)), int(rng.integers(6, 46))
        tone = np.array(low) * 0.8 - rng.integers(0, 26)
        if rng.random() < 0.35:
            high = high // 2 + 5
            cv2.ellipse(art, (x + wide // 2, height), (wide, high), 0, 180, 360, (118, 142, 116), -1)
            cv2.ellipse(labels, (x + wide // 2, height), (wide, high), 0, 180, 360, VEGETATION, -1)
        else:
            art[height - high :, x : x + wide] = tone
            art[height - high + 3 :: 5, x + 2 : x + wide - 2 : 4] = tone * 0.86
            labels[height - high :, x : x + wide] = BUILDING
        x += wide
    return art, labels, (low[0] - 6, low[1] - 6, low[2] - 6)
