"""What moves in a street: vehicles and walkers, each on a straight line at a steady pace."""

from __future__ import annotations

from collections.abc import Iterator

from edge_vss.demo.scene import vehicles
from edge_vss.demo.scene.canvas import Floats, Panel, rectangle
from edge_vss.demo.scene.street import (
    BLOCK_M,
    DOWN,
    FRONT_M,
    KERB_M,
    LANE_M,
    PERSON,
    VEHICLE,
    Block,
    Item,
    Street,
    Where,
    flat,
    pick_vehicle,
)
from edge_vss.demo.scene.textures import Random


def line(at: float, pace: float = 0.0, when: float = 0.0) -> Where:
    """A coordinate that is ``at`` at the time ``when`` and changes by ``pace`` a second."""
    return lambda t: at + pace * (t - when)


def vehicle(street: Street, kind: str, paint: int, x: Where, z: Where, heading: tuple[float, float]) -> Item:
    """A vehicle whose middle is at (x, z), with the shadow beneath it."""
    long, wide = vehicles.KINDS[kind].length_m + 0.2, vehicles.KINDS[kind].width_m + 0.3
    dx, dz = (long / 2, wide / 2) if heading[0] else (wide / 2, long / 2)

    def draw(t: float, eye: Floats) -> Iterator[Panel]:
        yield from vehicles.panels(kind, paint, (x(t), z(t)), heading, VEHICLE, eye)

    def under(t: float) -> Panel:
        return flat(x(t) - dx, x(t) + dx, z(t) - dz, z(t) + dz, street.shade, 0, 0.45)

    return Item(z, draw, under)


def walker(street: Street, rng: Random, x: Where, z: Where, way: float) -> Item:
    """Somebody at (x, z), who faces right for ``way`` 1 and left for -1."""
    steps = street.walkers[rng.integers(len(street.walkers))]
    tall, beat = float(rng.uniform(0.9, 1.06)), float(rng.uniform(10, 14))
    first = int(rng.integers(12))

    def draw(t: float, eye: Floats) -> Iterator[Panel]:
        moving = abs(x(t + 0.1) - x(t)) + abs(z(t + 0.1) - z(t)) > 0.02
        art = steps[(first + int(t * beat)) % 12 if moving else 0]
        corner = (x(t) - way * 0.45 * tall, 1.8 * tall, z(t))
        yield Panel(corner, (way, 0, 0), DOWN, rectangle(0.9 * tall, 1.8 * tall), art.scaled(tall), PERSON)

    def under(t: float) -> Panel:
        return flat(x(t) - 0.35, x(t) + 0.35, z(t) - 0.15, z(t) + 0.15, street.shade, 0, 0.6)

    return Item(z, draw, under)


def fill(street: Street, block: Block, rng: Random, start: float) -> None:
    """Oncoming traffic and walkers, timed so that the camera meets them in this block."""
    ride = street.ride
    for slot in range(3):
        kind, paint = pick_vehicle(rng)
        meet = start + slot * 24 + float(rng.uniform(0, 10))
        if rng.random() < 0.5:
            along = line(meet, -street.oncoming_pace, ride.arrival(meet))
            block.items.append(vehicle(street, kind, paint, line(-LANE_M / 2), along, (0.0, -1.0)))
    for _ in range(int(rng.integers(5, 12))):
        side, way = (int(v) for v in rng.choice([-1, 1], 2))
        pace = float(rng.uniform(0.9, 1.6)) * way * (rng.random() < 0.85)
        meet = start + float(rng.uniform(0, BLOCK_M))
        along = line(meet, pace, ride.arrival(meet - 14))
        across = line(side * float(rng.uniform(KERB_M + 1.0, FRONT_M - 0.5)))
        block.items.append(walker(street, rng, across, along, float(rng.choice([-1, 1]))))


def cross(street: Street, block: Block, rng: Random, z: float) -> None:
    """Traffic in the side street and walkers on the zebra before it, out of the camera's way in time."""
    when = street.ride.arrival(z - float(rng.uniform(40, 58)))
    for lane in (-1, 1):
        for follow in range(int(rng.integers(0, 3))):
            kind, paint = pick_vehicle(rng)
            across = line(0, -lane * 8.0, when + float(follow * 1.9 + rng.uniform(-0.4, 0.4)))
            item = vehicle(street, kind, paint, across, line(z + lane * 1.7), (-float(lane), 0.0))
            block.items.append(item)
    for _ in range(int(rng.integers(1, 4))):
        way, pace = float(rng.choice([-1, 1])), float(rng.uniform(1.2, 1.9))
        gone = street.ride.arrival(z - 14) - float(rng.uniform(0, 2))
        across = line(LANE_M + 0.8 if way > 0 else -0.8, way * pace, gone)
        along = line(z - 8 + float(rng.uniform(-1.1, 1.1)))
        block.items.append(walker(street, rng, across, along, way))
