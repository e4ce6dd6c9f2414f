"""What the streets are made of: procedural textures, each a function of a random generator."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.demo.scene.canvas import Bytes, Texture

Random = np.random.Generator
Colour = tuple[int, int, int]

FACADE_PER_METRE = 32.0
BRICKS: tuple[Colour, ...] = ((150, 82, 62), (168, 104, 74), (120, 70, 58), (176, 128, 96))
PLASTERS: tuple[Colour, ...] = (
    (214, 200, 172), (226, 216, 198), (198, 176, 150), (188, 190, 186),
    (216, 182, 140), (170, 182, 190), (222, 170, 150),
)  # fmt: skip
CAR_PAINTS: tuple[Colour, ...] = (
    (168, 28, 32), (30, 62, 130), (220, 222, 224), (40, 42, 46),
    (120, 126, 132), (24, 92, 70), (214, 168, 36), (86, 30, 44),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (190, 40, 48), (36, 60, 120), (232, 226, 214), (44, 44, 48),
    (60, 120, 84), (226, 150, 40), (150, 80, 150), (120, 160, 200),
)  # fmt: skip


def fractal(rng: Random, shape: tuple[int, int], roughness: float) -> NDArray[np.float32]:
    """Tileable noise with mean 0 and deviation 1, its spectrum frequency to minus ``roughness``."""
    height, width = shape
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(spectrum / frequency**roughness, shape)
    return np.asarray(field / field.std(), np.float32)


@cache
def _cloth(roughness: float) -> NDArray[np.float32]:
    return fractal(np.random.default_rng(round(roughness * 100)), (1024, 1024), roughness)


def grain(rng: Random, shape: tuple[int, int], roughness: float) -> NDArray[np.float32]:
    """A random piece of one big `fractal`: quick, for things of which there are many. At most 768 × 768."""
    height, width = shape
    y, x = rng.integers(0, (1024 - height, 1024 - width))
    return _cloth(roughness)[y : y + height, x : x + width]


def tinted(colour: Colour, *layers: NDArray[np.float32]) -> Bytes:
    """A plain colour with layers of grey noise on top."""
    total = np.array(colour, np.float32) + np.sum(layers, axis=0)[..., None]
    return np.asarray(np.clip(total, 0, 255), np.uint8)


def asphalt(rng: Random, width_m: float, length_m: float) -> Texture:
    """Grain, stains, tyre tracks along the lanes and a few mended patches and cracks."""
    per_metre = 40.0
    shape = (round(length_m * per_metre), round(width_m * per_metre))
    grey = int(rng.integers(82, 108))
    pixels = tinted((grey, grey, grey + 3), 9 * fractal(rng, shape, 0.2), 6 * fractal(rng, shape, 1.4))
    tracks = np.cos(np.linspace(0, 6 * math.pi, shape[1], dtype=np.float32)) * 4
    worn = np.repeat((tracks[None, :, None] + 4).astype(np.uint8), 3, axis=2).repeat(shape[0], 0)
    pixels = np.asarray(cv2.add(pixels, worn), np.uint8)
    for _ in range(round(length_m / 7)):
        x, y = rng.integers(0, shape[1]), rng.integers(0, shape[0] - 120)
        w, h = rng.integers(30, 110), rng.integers(40, 120)
        patch = pixels[y : y + h, x : x + w]
        patch[:] = cv2.convertScaleAbs(patch, alpha=float(rng.choice([0.82, 0.88, 1.1])))
        corner = rng.integers((0, 200), (shape[1], shape[0] - 200))
        crack = np.cumsum(rng.normal(0, 5, (30, 2)), axis=0) + corner
        crack[:, 1] += np.arange(30) * rng.uniform(-5, 5)
        cv2.polylines(pixels, [crack.astype(np.int32)], False, (58, 58, 60), 2, cv2.LINE_AA)
    return Texture(pixels, per_metre, wrap=True)


def slabs(rng: Random) -> Texture:
    """Pavement: slabs of 60 cm with dark joints, a tile of 9.6 m."""
    per_metre, side = 40.0, 24
    shape = (384, 384)
    coarse = rng.normal(0, 7, (16, 16)).astype(np.float32)
    tones = np.asarray(cv2.resize(coarse, shape, interpolation=cv2.INTER_NEAREST), np.float32)
    tone = int(rng.integers(142, 172))
    pixels = tinted(
        (tone + 4, tone, tone - 6), tones, 6 * fractal(rng, shape, 0.4), 5 * fractal(rng, shape, 1.3)
    )
    pixels[::side] = pixels[:, ::side] = (tone - 48, tone - 50, tone - 52)
    return Texture(pixels, per_metre, wrap=True)


def plain(rng: Random, colour: Colour, rough: float = 8.0, per_metre: float = 32.0) -> Texture:
    """One colour with grain: paint on the road, kerbs, posts, roofs."""
    return Texture(tinted(colour, rough * grain(rng, (128, 128), 0.5)), per_metre, wrap=True)


def grass(rng: Random) -> Texture:
    """A lawn, a tile of 16 m."""
    shape = (512, 512)
    return Texture(
        tinted((88, 122, 54), 14 * fractal(rng, shape, 0.4), 10 * fractal(rng, shape, 1.2)), 32.0, wrap=True
    )


def roof(rng: Random) -> Texture:
    """Rows of tiles."""
    colour = ((132, 66, 50), (98, 72, 62), (84, 86, 92))[rng.integers(3)]
    pixels = tinted(colour, 9 * grain(rng, (120, 120), 0.5))
    pixels[::10] = np.array(colour) * 0.62
    return Texture(pixels, 32.0, wrap=True)


def facade(rng: Random, width_m: float, height_m: float, shop: bool) -> Texture:
    """The front of a house: brick or plaster, storeys of windows, a cornice, and doors or a shop below."""
    scale = FACADE_PER_METRE
    shape = (max(8, round(height_m * scale)), max(8, round(width_m * scale)))
    brick = rng.random() < 0.45
    colour = (BRICKS if brick else PLASTERS)[rng.integers(len(BRICKS if brick else PLASTERS))]
    pixels = tinted(colour, 5 * grain(rng, shape, 0.5), 6 * grain(rng, shape, 1.3))
    if brick:
        pixels[::8] = cv2.convertScaleAbs(np.ascontiguousarray(pixels[::8]), alpha=1.18)
    trim = tuple(int(v) for v in rng.integers(190, 240) + rng.integers(-14, 6, 3))
    street = 3.8 if shop else 3.0
    storeys = max(1, round((height_m - street - 0.6) / 3.1))
    storey = (height_m - street - 0.6) / storeys
    wide, tall = rng.uniform(0.9, 1.5), rng.uniform(1.3, 1.9)
    columns = max(1, int(width_m / rng.uniform(2.1, 3.2)))
    pitch = width_m / columns
    for row in range(storeys):
        for column in range(columns):
            x, y = (column + 0.5) * pitch - wide / 2, 0.6 + row * storey + (storey - tall) * 0.45
            _window(rng, pixels, x, y, wide, tall, trim)
    ground = height_m - street
    if shop:
        band = tuple(int(v) for v in rng.integers(30, 200, 3))
        _box(pixels, 0, ground, width_m, 0.7, band)
        for x in np.arange(0.3, width_m - 1.5, 2.6):
            _window(rng, pixels, float(x), ground + 1.0, 2.1, 2.3, (60, 62, 66))
    else:
        for column in range(columns):
            x = (column + 0.5) * pitch
            if column % 3 == 1 or columns == 1:
                _box(pixels, x - 0.6, height_m - 2.3, 1.2, 2.3, trim)
                _box(
                    pixels,
                    x - 0.45,
                    height_m - 2.15,
                    0.9,
                    2.15,
                    tuple(int(v) for v in rng.integers(30, 120, 3)),
                )
            else:
                _window(rng, pixels, x - wide / 2, height_m - 2.3, wide, 1.4, trim)
    _box(pixels, 0, 0, width_m, 0.25, trim)
    _box(pixels, 0, 0.25, width_m, 0.08, (70, 66, 62))
    _box(pixels, 0, height_m - 0.4, width_m, 0.4, tuple(int(v * 0.6) for v in colour))
    return Texture(pixels, scale)


def _box(pixels: Bytes, x: float, y: float, w: float, h: float, colour: tuple[int, ...]) -> None:
    a, b, c, d = (round(v * FACADE_PER_METRE) for v in (x, y, x + w, y + h))
    pixels[max(b, 0) : d, max(a, 0) : c] = colour


def _window(
    rng: Random, pixels: Bytes, x: float, y: float, w: float, h: float, trim: tuple[int, ...]
) -> None:
    _box(pixels, x - 0.09, y - 0.09, w + 0.18, h + 0.18, trim)
    dark = int(rng.integers(34, 84))
    glass = (dark, dark + 10, dark + 22)
    _box(pixels, x, y, w, h, glass)
    _box(pixels, x, y, w, h * rng.uniform(0.2, 0.5), tuple(v + 34 for v in glass))
    if rng.random() < 0.35:
        curtain = int(rng.integers(150, 226))
        _box(pixels, x, y, w, h * rng.uniform(0.2, 0.8), (curtain, curtain - 8, curtain - 22))
    _box(pixels, x + w / 2 - 0.03, y, 0.06, h, trim)
    _box(pixels, x - 0.15, y + h + 0.05, w + 0.3, 0.1, (96, 92, 88))


def foliage(rng: Random, width_m: float, height_m: float, hedge: bool = False) -> Texture:
    """Leaves lit from above, with a ragged edge: a tree's crown, or a hedge, ragged at the top only."""
    scale = 24.0 if height_m > 2 else 40.0
    shape = (round(height_m * scale), round(width_m * scale))
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    y, x = y / shape[0] * 2 - 1, x / shape[1] * 2 - 1
    edge = (y + 1) * 3 - 0.5 if hedge else (1 - np.hypot(x, y)) * 3.2
    leaves = fractal(rng, shape, 0.9)
    green = ((60, 104, 44), (76, 116, 48), (52, 90, 50), (98, 120, 52))[rng.integers(4)]
    pixels = tinted(
        green, 20 * leaves, 12 * fractal(rng, shape, 0.2), np.asarray(-16 * y + 6 * x, np.float32)
    )
    opacity = np.clip((edge + 0.45 * fractal(rng, shape, 1.5) - 0.45) * 400, 0, 255).astype(np.uint8)
    return Texture(np.dstack([pixels, opacity]), scale, wrap=hedge)


def person(rng: Random) -> list[Texture]:
    """Twelve steps of one walker, 0.9 m × 1.8 m, seen from the side."""
    coat, trousers = (CLOTHES[i] for i in rng.integers(0, len(CLOTHES), 2))
    skin = ((224, 180, 150), (170, 120, 88), (110, 74, 54))[rng.integers(3)]
    hair = ((40, 30, 24), (110, 80, 46), (150, 150, 150))[rng.integers(3)]
    skirt = rng.random() < 0.3
    bag = rng.random() < 0.4
    steps = []
    for step in range(12):
        swing = math.sin(step * math.pi / 6)
        size = (360, 180)
        art, mask = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        art[:] = coat

        def limb(
            points: list[tuple[float, float]],
            width: int,
            colour: Colour,
            art: Bytes = art,
            mask: Bytes = mask,
        ) -> None:
            line = [np.array([(x * 200 + 90, y * 200) for x, y in points], np.int32)]
            cv2.polylines(art, line, False, colour, width, cv2.LINE_AA)
            cv2.polylines(mask, line, False, 255, width, cv2.LINE_AA)

        dim: Colour = (coat[0] * 3 // 4, coat[1] * 3 // 4, coat[2] * 3 // 4)
        dark: Colour = (trousers[0] * 2 // 3, trousers[1] * 2 // 3, trousers[2] * 2 // 3)
        limb([(0, 0.5), (-0.14 * swing, 0.72), (-0.2 * swing - 0.02, 0.92)], 20, dim)
        limb([(0, 0.92), (-0.16 * swing, 1.3), (-0.3 * swing - 0.03, 1.68)], 28, dark)
        limb([(-0.3 * swing - 0.03, 1.72), (-0.3 * swing + 0.07, 1.74)], 18, (34, 30, 30))
        limb([(0, 0.92), (0.16 * swing, 1.3), (0.3 * swing - 0.03, 1.68)], 30, trousers)
        limb([(0.3 * swing - 0.03, 1.72), (0.3 * swing + 0.07, 1.74)], 18, (34, 30, 30))
        limb([(0, 0.48), (0, 0.95)], 66, coat)
        if skirt:
            limb([(0, 0.95), (0, 1.2)], 76, dark)
        if bag:
            limb([(-0.2, 0.5), (-0.2, 0.75)], 40, (60, 54, 70))
        limb([(0, 0.32), (0, 0.4)], 22, skin)
        limb([(0.01, 0.2), (0.01, 0.25)], 44, skin)
        limb([(-0.02, 0.13), (-0.04, 0.2)], 40, hair)
        limb([(0, 0.46), (0.14 * swing, 0.7), (0.2 * swing + 0.05, 0.9)], 20, dim)
        steps.append(Texture(np.dstack([art, mask]), 200.0))
    return steps
