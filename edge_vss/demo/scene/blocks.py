"""Filling one block of a street."""

from __future__ import annotations

import math

import numpy as np

from edge_vss.demo.scene import movers, textures
from edge_vss.demo.scene.canvas import Panel, Texture, rectangle
from edge_vss.demo.scene.street import (
    AHEAD,
    BLOCK_M,
    BUILDING,
    CROSSING_M,
    DOWN,
    FRONT_M,
    KERB_M,
    LANE_M,
    MARKING,
    PAVEMENT,
    POLE,
    RIGHT,
    ROAD,
    VEGETATION,
    Block,
    Street,
    flat,
    pick_vehicle,
    upright,
)
from edge_vss.demo.scene.textures import Random

LIMB_M = 0.16


def build(street: Street, index: int) -> Block:
    """Everything in block ``index``."""
    rng = np.random.default_rng([street.seed, 2, index + 1000])
    block = Block()
    start = index * BLOCK_M
    crossing = start + CROSSING_M if rng.random() < 0.7 or index == 1 else None
    _markings(street, block, start, crossing)
    for side in (-1, 1):
        end = crossing - 8 if crossing else start + BLOCK_M
        _houses(street, block, rng, side, start, end)
        if crossing:
            _houses(street, block, rng, side, crossing + 8, start + BLOCK_M)
        _kerbside(street, block, rng, side, start, crossing)
    if crossing:
        _crossing(street, block, rng, crossing)
    movers.fill(street, block, rng, start)
    return block


def _markings(street: Street, block: Block, start: float, crossing: float | None) -> None:
    paint = street.paint
    for i in range(12):
        z = start + i * 6.0
        if crossing is None or not crossing - 12 < z + 1.5 < crossing + 8:
            block.ground.append(flat(-0.09, 0.09, z, z + 3.2, paint, MARKING))
            if i % 2 == 0:
                for x in (-KERB_M, LANE_M + 0.1):
                    bay = flat(x, x + KERB_M - LANE_M - 0.1, z, z + 0.12, paint, MARKING)
                    block.ground.append(bay)
    end = start + BLOCK_M if crossing is None else crossing - 10
    for side in (-1, 1):
        for z in np.arange(start, end - 11.9, 12):
            block.ground.append(flat(side * LANE_M - 0.07, side * LANE_M + 0.07, z, z + 12, paint, MARKING))


def _houses(street: Street, block: Block, rng: Random, side: int, start: float, end: float) -> None:
    style = rng.choice(["terrace", "houses", "park"], p=[0.5, 0.32, 0.18])
    block.stand(end + 0.5, _wall(side, 23.0, start, end, 7.0, street.woods, VEGETATION, 0.8))
    if style == "park":
        block.stand(end, *_hedge(street, rng, side, start, end))
        for z in np.arange(start + 2, end - 2, 4.5):
            x, along = side * rng.uniform(10.5, 18), float(z + rng.uniform(-1, 1))
            _tree(street, block, rng, x, along, rng.uniform(1, 1.5))
        return
    set_back = 0.0 if style == "terrace" else float(rng.uniform(2.5, 4.5))
    z = start
    while end - z > 5:
        width = min(float(rng.uniform(7, 15)), end - z)
        if end - z - width < 5:
            width = end - z
        house = width if style == "terrace" else width - 2.0
        high = float(rng.uniform(7.5, 17) if style == "terrace" else rng.uniform(5.2, 7))
        _house(street, block, rng, side, FRONT_M + set_back, z, z + house, high, style == "houses")
        if style == "houses":
            block.stand(z + house, *_hedge(street, rng, side, z, z + width))
        z += width


def _house(
    street: Street,
    block: Block,
    rng: Random,
    side: int,
    x: float,
    z0: float,
    z1: float,
    high: float,
    gabled: bool,
) -> None:
    """One house: its front towards the road, the end wall that faces the camera, a roof, and a shadow."""
    light = 0.82 if side == street.sun_side and street.sunny else 1.0
    texture = textures.facade(rng, z1 - z0, high, shop=not gabled and rng.random() < 0.6)
    red, green, blue = texture.pixels[40, 2].tolist()
    plaster = textures.plain(rng, (red, green, blue))
    front = [_wall(side, x, z0, z1, high, texture, BUILDING, light)]
    end, top = rectangle(9, high), high
    if gabled:
        top = high + 3.0
        end = np.array([[0, 3], [4.5, 0], [9, 3], [9, top], [0, top]], np.float64)
        slope = math.hypot(4.5, 3)
        ridge, fall = (side * (x + 4.5), top, z0 - 0.3), (-side * 4.5 / slope, -3 / slope, 0.0)
        tiles = rectangle(z1 - z0 + 0.6, slope + 0.3)
        front.insert(0, Panel(ridge, AHEAD, fall, tiles, textures.roof(rng), BUILDING, light))
    block.stand(z1, *front)
    # Painted before the front of the house nearer by, which hides it.
    block.stand(
        z0 + 0.05, Panel((side * x, top, z0), (side, 0, 0), DOWN, end, plaster, BUILDING, 0.7 * light)
    )
    if street.sunny and side == street.sun_side:
        reach = min(high * 0.62, FRONT_M + KERB_M - 1)
        near, far = sorted((side * x, side * (x - reach)))
        block.shadows.append(flat(near, far, z0, z1, street.shade, 0, 0.6))


def _wall(
    side: int, x: float, z0: float, z1: float, high: float, texture: Texture, label: int, light: float = 1.0
) -> Panel:
    # A texture that repeats also meets its other edge at the top: leave that row of texels out.
    top = 0.1 * high if texture.wrap else 0.0
    outline = rectangle(z1 - z0, high - top) + np.array([0, top])
    return Panel((side * x, high, z0), AHEAD, DOWN, outline, texture, label, light)


def _hedge(street: Street, rng: Random, side: int, z0: float, z1: float) -> list[Panel]:
    texture = street.hedges[rng.integers(len(street.hedges))]
    steps = np.arange(z0, z1 - 0.5, 8.0)
    return [_wall(side, FRONT_M + 0.3, z, min(z + 8, z1), 1.1, texture, VEGETATION) for z in steps[::-1]]


def _tree(street: Street, block: Block, rng: Random, x: float, z: float, scale: float) -> None:
    foot = 2.1 * scale
    block.stand(z, upright(x, z, 0.3 * scale, 0, foot + 1, street.trunk, VEGETATION))
    for dx, dz, up in ((0.7, 0.9, 0.2), (-0.7, 0.3, 0.5), (0.1, -0.4, 1.0)):
        crown = street.crowns[rng.integers(len(street.crowns))]
        corner = (x + (dx - 2.3) * scale, foot + (4.2 - 0.6 + up) * scale, z + dz)
        outline, light = rectangle(4.6 * scale, 4.2 * scale), 1.1 - 0.12 * dz
        panel = Panel(corner, RIGHT, DOWN, outline, crown.scaled(scale), VEGETATION, light)
        block.stand(z + dz, panel)


def _kerbside(
    street: Street, block: Block, rng: Random, side: int, start: float, crossing: float | None
) -> None:
    """Parked cars, trees, lamps, signs and bollards between the road and the pavement."""

    def clear(z: float, room: float) -> bool:
        return crossing is None or not crossing - room - 3 < z < crossing + room

    busy = rng.uniform(0.15, 0.7)
    for z in np.arange(start + 3, start + BLOCK_M - 2, 6.0):
        kind, paint = pick_vehicle(rng)
        place = float(z + rng.uniform(-0.4, 0.4))
        if rng.random() < busy and clear(float(z), 11) and kind in ("car", "hatchback", "van"):
            heading = (0.0, 1.0 if side > 0 else -1.0)
            spot = movers.line(side * (KERB_M - 1.02)), movers.line(place)
            block.items.append(movers.vehicle(street, kind, paint, *spot, heading))
    green = rng.uniform(0, 0.8)
    for z in np.arange(start + 6, start + BLOCK_M, 9.0):
        if rng.random() < green and clear(float(z), 9):
            _tree(street, block, rng, side * (KERB_M + 0.75), float(z), rng.uniform(0.75, 1.1))
    steel = street.steel
    x = side * (KERB_M + 0.45)
    for z in np.arange(start + 2 + 10 * (side > 0), start + BLOCK_M, 24.0):
        if clear(float(z), 6):
            arm = upright(x - side * 0.8, z, 1.7, 6.9, 7.02, steel, POLE)
            lamp = upright(x - side * 1.5, z, 0.7, 6.74, 6.94, street.kerb, POLE)
            block.stand(z, upright(x, z, LIMB_M, 0, 7, steel, POLE), arm, lamp)
    for z in rng.uniform(start, start + BLOCK_M, 3):
        if clear(float(z), 5):
            board = textures.plain(rng, ((40, 80, 170), (196, 40, 40), (230, 190, 40))[rng.integers(3)], 3.0)
            turn = np.arange(8) * math.pi / 4 + math.pi / 8
            disc = np.stack([0.34 + 0.34 * np.cos(turn), 0.34 + 0.34 * np.sin(turn)], axis=1)
            plate = Panel((x - 0.34, 2.75, z - 0.05), RIGHT, DOWN, disc, board, POLE)
            block.stand(z, upright(x, z, 0.09, 0, 2.5, steel, POLE), plate)
    if crossing:
        for near, high in (
            (crossing - 6.2, 3.4),
            (crossing - 9.8, 1.0),
            (crossing - 5.6, 1.0),
            (crossing + 5.6, 1.0),
        ):
            post = [upright(x, near, 0.14, 0, high, steel, POLE)]
            if high > 2:
                post.append(upright(x, near - 0.1, 0.34, 2.5, 3.5, street.shade, POLE))
                lights = textures.plain(rng, ((210, 40, 36), (60, 190, 90))[rng.integers(2)], 2.0)
                post.append(
                    upright(x, near - 0.12, 0.2, 3.15 if rng.random() < 0.5 else 2.65, 3.4, lights, POLE)
                )
            block.stand(near, *post)


def _crossing(street: Street, block: Block, rng: Random, z: float) -> None:
    """A side street, a zebra crossing before it, and who crosses."""
    thirds = ((-70.0, -18.0), (18.0, 70.0), (-18.0, 18.0))
    lanes = [flat(x0, x1, z - 8, z + 8, street.slabs, PAVEMENT) for x0, x1 in thirds]
    lanes += [flat(x0, x1, z - 5, z + 5, street.asphalt, ROAD) for x0, x1 in thirds]
    lanes.append(flat(-KERB_M, KERB_M, z - 8.1, z + 8.1, street.asphalt, ROAD))
    for x in np.arange(-KERB_M + 0.2, KERB_M - 0.5, 1.0):
        lanes.append(flat(x, x + 0.5, z - 9.4, z - 6.6, street.paint, MARKING))
    lanes.append(flat(0.1, LANE_M, z - 11, z - 10.6, street.paint, MARKING))
    for x in (-17.0, -12.0, -7.0, 7.0, 12.0, 17.0):
        lanes.append(flat(x - 1.2, x + 1.2, z - 0.08, z + 0.08, street.paint, MARKING))
    # Before the lane lines of this block, which stop short of it.
    block.ground[:0] = lanes
    for side in (-1, 1):
        x = FRONT_M + 9.0
        while x < 70:
            width, high = float(rng.uniform(9, 16)), float(rng.uniform(6, 13))
            texture = textures.facade(rng, width, high, shop=False)
            origin = (side * x, high, z + 8.2)
            block.stand(
                z + 8.2,
                Panel(origin, (float(side), 0, 0), DOWN, rectangle(width, high), texture, BUILDING, 0.92),
            )
            x += width
    movers.cross(street, block, rng, z)
