"""A street without end, block by block: houses, trees, posts, traffic and walkers, all from one seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from edge_vss.demo.scene import textures, vehicles
from edge_vss.demo.scene.canvas import Floats, Panel, Texture, rectangle
from edge_vss.demo.scene.textures import CAR_PAINTS, Random

SKY, BUILDING, VEGETATION, ROAD, PAVEMENT, MARKING, POLE, VEHICLE, PERSON = range(9)

BLOCK_M = 72.0
LANE_M = 3.2
KERB_M = 5.4
FRONT_M = 8.6
CROSSING_M = 60.0
TILE_M = 64.0

RIGHT, DOWN, AHEAD = (1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)
Draw = Callable[[float, Floats], Iterator[Panel]]
Where = Callable[[float], float]


def flat(
    x0: float, x1: float, z0: float, z1: float, texture: Texture, label: int, shade: float = 1.0
) -> Panel:
    """A rectangle on the ground."""
    return Panel((x0, 0, z0), RIGHT, AHEAD, rectangle(x1 - x0, z1 - z0), texture, label, shade)


def upright(x: float, z: float, width: float, low: float, high: float, texture: Texture, label: int) -> Panel:
    """A rectangle that faces the traffic, centred on ``x``."""
    return Panel((x - width / 2, high, z), RIGHT, DOWN, rectangle(width, high - low), texture, label)


@dataclass(frozen=True)
class Item:
    """Something upright: how far along the street it is, and its panels at a time as seen from an eye."""

    ahead: Where
    draw: Draw
    under: Callable[[float], Panel] | None = None
    """The shadow it stands in."""


@dataclass
class Block:
    """One stretch of the street."""

    ground: list[Panel] = field(default_factory=list)
    """Flat on the ground, in the order of painting."""
    shadows: list[Panel] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)

    def stand(self, ahead_m: float, *panels: Panel) -> None:
        """Add something that does not move."""
        self.items.append(Item(lambda _: ahead_m, lambda _, __: iter(panels)))


@dataclass(frozen=True)
class Ride:
    """How the car moves: never backwards, faster and slower, drifting and swaying a little."""

    seed: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 1])
        object.__setattr__(self, "pace", float(rng.uniform(6.5, 10.5)))
        object.__setattr__(self, "phase", rng.uniform(0, 2 * math.pi, 8).tolist())

    pace: float = field(init=False)
    """Mean speed in metres per second."""
    phase: list[float] = field(init=False)

    def ahead(self, seconds: float) -> float:
        """Metres travelled."""
        wave = 0.7 * self.pace * 9 / (2 * math.pi)
        start = math.sin(self.phase[0])
        return self.pace * seconds + wave * (math.sin(2 * math.pi * seconds / 9 + self.phase[0]) - start)

    def arrival(self, metres: float) -> float:
        """When the car gets there, in seconds."""
        low, high = metres / self.pace - 9, metres / self.pace + 9
        for _ in range(24):
            middle = (low + high) / 2
            low, high = (middle, high) if self.ahead(middle) < metres else (low, middle)
        return low

    def pose(self, t: float) -> tuple[tuple[float, float, float], float, float, float]:
        """Position in metres, and yaw, pitch and roll in radians."""
        a, b, c, d, e, f, g = self.phase[1:]
        side = LANE_M / 2 + 0.35 * math.sin(2 * math.pi * t / 11 + a)
        lift = 1.42 + 0.02 * math.sin(2 * math.pi * 1.3 * t + b) + 0.008 * math.sin(2 * math.pi * 4.7 * t + c)
        yaw = 0.035 * math.sin(2 * math.pi * t / 6.1 + d) + 0.012 * math.sin(2 * math.pi * t / 1.9 + e)
        pitch = (
            -0.012 + 0.004 * math.sin(2 * math.pi * 1.3 * t + f) + 0.002 * math.sin(2 * math.pi * 3.9 * t + g)
        )
        return (side, lift, self.ahead(t)), yaw, pitch, 0.006 * math.sin(2 * math.pi * t / 2.7 + a)


class Street:
    """What all blocks of a street share: its ground, light and stock of things, from one seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 0])
        self.seed = seed
        self.ride = Ride(seed)
        self.sunny = bool(rng.random() < 0.65)
        self.sun_side = int(rng.choice([-1, 1]))
        self.asphalt = textures.asphalt(rng, 2 * KERB_M, TILE_M)
        self.slabs = textures.slabs(rng)
        self.grass = textures.grass(rng)
        self.kerb = textures.plain(rng, (182, 180, 174))
        self.paint = textures.plain(rng, (226, 226, 216), 12.0)
        self.steel = textures.plain(rng, ((112, 118, 122), (70, 84, 78), (58, 58, 62))[rng.integers(3)])
        self.shade = Texture(np.zeros((1, 1, 3), np.uint8), 1.0)
        self.walkers = [textures.person(rng) for _ in range(8)]
        self.crowns = [textures.foliage(rng, 4.6, 4.2) for _ in range(5)]
        self.hedges = [textures.foliage(rng, 8.0, 1.1, hedge=True) for _ in range(2)]
        self.woods = textures.foliage(rng, 24.0, 7.0, hedge=True)
        self.trunk = textures.plain(rng, (84, 66, 50), 12.0)
        self.oncoming_pace = float(rng.uniform(7, 11))
        self.lead = bool(rng.random() < 0.7)
        self.lead_kind, self.lead_paint = pick_vehicle(rng)
        self.lead_gap = float(rng.uniform(15, 26))

    def floor(self, ahead: float) -> Iterator[Panel]:
        """Grass, pavements, kerbs and road around the camera, far to near."""
        base = math.floor(ahead / TILE_M) * TILE_M
        strips = (
            (-600.0, 600.0, self.grass, VEGETATION),
            (-FRONT_M, FRONT_M, self.slabs, PAVEMENT),
            (-KERB_M - 0.2, KERB_M + 0.2, self.kerb, PAVEMENT),
            (-KERB_M, KERB_M, self.asphalt, ROAD),
        )
        for left, right, texture, label in strips:
            outline = rectangle(right - left, 2400) + np.array([0, ahead - base + 1.5])
            yield Panel((left, 0, base), RIGHT, AHEAD, outline, texture, label)

    def leader(self, t: float) -> float:
        """How far along the street the vehicle in front is."""
        return self.ride.ahead(t) + self.lead_gap * (1 + 0.3 * math.sin(0.55 * t + self.seed))


def pick_vehicle(rng: Random) -> tuple[str, int]:
    """A kind and a paint."""
    kind = str(rng.choice(list(vehicles.KINDS), p=[0.4, 0.27, 0.15, 0.1, 0.08]))
    return kind, int(rng.integers(len(CAR_PAINTS)))
