"""Cars, vans, lorries and buses: a side profile drawn out to a width, with lights, glass and wheels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from edge_vss.demo.scene.canvas import Floats, Panel, Texture, rectangle
from edge_vss.demo.scene.textures import CAR_PAINTS, Colour

Point = tuple[float, float]
GLASS: Colour = (52, 66, 80)
TYRE: Colour = (26, 26, 28)
SCALE = 60.0


@dataclass(frozen=True)
class Kind:
    """A vehicle's shape; all points are (metres behind its nose, metres above the road)."""

    width_m: float
    profile: tuple[Point, ...]
    """From the nose's lower edge over the roof to the tail's lower edge."""
    faces: tuple[str, ...]
    """What each stretch of the profile is: ``front``, ``body``, ``glass`` or ``rear``."""
    windows: tuple[tuple[Point, ...], ...]
    wheels: tuple[float, ...]
    wheel_m: float = 0.33

    @property
    def length_m(self) -> float:
        return max(l for l, _ in self.profile)  # noqa: E741


KINDS = {
    "car": Kind(
        1.76,
        (
            (0, 0.28),
            (0.02, 0.72),
            (1.15, 0.94),
            (1.9, 1.44),
            (3.3, 1.44),
            (3.95, 1.0),
            (4.28, 0.94),
            (4.3, 0.3),
        ),
        ("front", "body", "glass", "body", "glass", "body", "rear"),
        (
            ((1.45, 0.96), (2.0, 1.36), (2.5, 1.36), (2.5, 0.96)),
            ((2.58, 0.96), (2.58, 1.36), (3.2, 1.36), (3.7, 0.98)),
        ),
        (0.85, 3.45),
    ),
    "hatchback": Kind(
        1.7,
        ((0, 0.28), (0.02, 0.78), (0.95, 0.98), (1.6, 1.52), (3.3, 1.5), (3.78, 0.98), (3.82, 0.3)),
        ("front", "body", "glass", "body", "glass", "rear"),
        (
            ((1.2, 1.0), (1.7, 1.43), (2.3, 1.43), (2.3, 1.0)),
            ((2.38, 1.0), (2.38, 1.43), (3.2, 1.42), (3.55, 1.02)),
        ),
        (0.75, 3.1),
    ),
    "van": Kind(
        1.95,
        ((0, 0.3), (0.02, 1.0), (0.75, 1.22), (1.45, 2.1), (5.1, 2.1), (5.15, 0.32)),
        ("front", "body", "glass", "body", "rear"),
        (((0.95, 1.2), (1.5, 1.95), (2.2, 1.95), (2.2, 1.2)),),
        (0.95, 4.15),
        0.36,
    ),
    "lorry": Kind(
        2.4,
        ((0, 0.45), (0.05, 1.3), (0.15, 2.5), (1.6, 2.6), (2.0, 3.3), (7.5, 3.3), (7.5, 0.6)),
        ("front", "glass", "body", "body", "body", "rear"),
        (((0.4, 1.5), (0.45, 2.3), (1.3, 2.3), (1.3, 1.5)),),
        (1.1, 5.4, 6.4),
        0.46,
    ),
    "bus": Kind(
        2.5,
        ((0, 0.35), (0.03, 1.2), (0.06, 2.7), (0.1, 3.0), (10.5, 3.0), (10.5, 0.4)),
        ("front", "glass", "body", "body", "rear"),
        tuple(((x, 1.3), (x, 2.5), (x + 1.5, 2.5), (x + 1.5, 1.3)) for x in (0.4, 2.1, 3.8, 5.5, 7.2, 8.8)),
        (2.3, 8.2),
        0.48,
    ),
}


@cache
def _coat(kind: str, paint: int) -> dict[str, Texture]:
    shape = KINDS[kind]
    colour = CAR_PAINTS[paint]
    tall = max(h for _, h in shape.profile)
    art = np.zeros((round(tall * SCALE), round(shape.length_m * SCALE), 4), np.uint8)
    art[..., :3] = colour

    def spots(points: tuple[Point, ...]) -> list[np.ndarray[tuple[int, int], np.dtype[np.int32]]]:
        return [np.array([(x * SCALE, (tall - y) * SCALE) for x, y in points], np.int32)]

    cv2.fillPoly(art, spots(shape.profile), (*colour, 255), cv2.LINE_AA)
    dim = tuple(v * 6 // 10 for v in colour)
    lower = min(h for _, h in shape.profile) + 0.16
    art[round((tall - lower) * SCALE) :, :, :3] = dim
    for window in shape.windows:
        cv2.fillPoly(art, spots(window), (*GLASS, 255), cv2.LINE_AA)
    for x in (1.35, 2.54, 3.72):
        if x < shape.length_m and kind in ("car", "hatchback", "van"):
            top, foot = spots(((x, 0.95), (x, 0.4)))[0].tolist()
            cv2.line(art, top, foot, (*dim, 255), 1, cv2.LINE_AA)
    for x in shape.wheels:
        centre = tuple(spots(((x, shape.wheel_m),))[0][0].tolist())
        cv2.circle(art, centre, round(shape.wheel_m * SCALE), (*TYRE, 255), -1, cv2.LINE_AA)
        cv2.circle(art, centre, round(shape.wheel_m * SCALE * 0.55), (150, 152, 156, 255), -1, cv2.LINE_AA)
    flat = np.full((16, 16, 3), colour, np.uint8)
    glass = np.full((16, 16, 3), GLASS, np.uint8)
    glass[:6] = (86, 102, 116)
    return {
        "side": Texture(art, SCALE),
        "body": Texture(flat, 16.0),
        "glass": Texture(glass, 16.0),
        "front": _end(shape, colour, (238, 236, 214), (40, 42, 46)),
        "rear": _end(shape, colour, (196, 30, 30), dim),
    }


def _end(shape: Kind, colour: Colour, lamps: Colour, grille: tuple[int, ...]) -> Texture:
    tall = shape.profile[1][1] - shape.profile[0][1]
    if lamps[1] < 100:
        tall = shape.profile[-2][1] - shape.profile[-1][1]
    height, width = round(tall * SCALE), round(shape.width_m * SCALE)
    art = np.full((height, width, 3), colour, np.uint8)
    low = height - round(0.42 * SCALE)
    if tall > 1.4:
        art[height // 8 : height // 2, width // 8 : -width // 8] = GLASS
    art[max(low, 0) :, width // 4 : -width // 4] = grille
    art[max(low, 0) : max(low, 0) + 11, 4 : width // 5] = lamps
    art[max(low, 0) : max(low, 0) + 11, -width // 5 : -4] = lamps
    art[-10:] = (48, 48, 50)
    art[-17:-8, width // 2 - 15 : width // 2 + 15] = (232, 232, 226)
    return Texture(art, SCALE)


def panels(kind: str, paint: int, place: Point, heading: Point, label: int, eye: Floats) -> Iterator[Panel]:
    """A vehicle's faces as seen from ``eye``, far to near; ``place`` and ``heading`` are (x, z)."""
    shape = KINDS[kind]
    coat = _coat(kind, paint)
    forward = np.array([heading[0], 0, heading[1]])
    right = np.array([heading[1], 0, -heading[0]])
    nose = np.array([place[0], 0, place[1]]) + forward * shape.length_m / 2
    half, tall = shape.width_m / 2, max(h for _, h in shape.profile)
    faces: list[tuple[float, Panel]] = []

    def add(origin: Floats, across: Floats, down: Floats, outline: Floats, name: str, shade: float) -> None:
        middle = origin + outline.mean(axis=0) @ np.stack([across, down])
        panel = Panel(tuple(origin), tuple(across), tuple(down), outline, coat[name], label, shade)
        faces.append((float(np.linalg.norm(middle - eye)), panel))

    for name, (l0, h0), (l1, h1) in zip(shape.faces, shape.profile, shape.profile[1:], strict=False):
        normal = -forward * (h0 - h1) + np.array([0, l1 - l0, 0])
        ends = [nose - forward * length + (0, height, 0) for length, height in ((l0, h0), (l1, h1))]
        if normal @ (eye - ends[0]) <= 0:
            continue
        upper, lower = ends if h0 > h1 else ends[::-1]
        slope = lower - upper
        long = float(np.linalg.norm(slope))
        shade = 1.08 if abs(l1 - l0) > abs(h1 - h0) else 0.9
        add(upper - right * half, right, slope / long, rectangle(shape.width_m, long), name, shade)
    for side in (-1, 1):
        if side * (right @ (eye - nose)) > half:
            corner = nose + side * right * half + (0, tall, 0)
            add(corner, -forward, np.array([0.0, -1, 0]), rectangle(shape.length_m, tall), "side", 0.86)
    for _, panel in sorted(faces, key=lambda face: -face[0]):
        yield panel
