"""A pinhole camera and a painter: textured planes, drawn to a picture and its label map at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.video import Size

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

NEAR_M = 0.4
HAZE_M = 320.0


@dataclass
class Texture:
    """Colours fixed to a plane: uint8 (h, w, 3) RGB or (h, w, 4) with opacity, ``per_metre`` texels a metre.

    Smaller versions are made on demand, halved along each axis on its own: a facade seen at a slant is short
    of pixels in one direction only, and a plain pyramid would either shimmer or blur.
    """

    pixels: Bytes
    per_metre: float
    wrap: bool = False
    _levels: dict[tuple[int, int], Bytes] = field(default_factory=dict, repr=False)

    def scaled(self, factor: float) -> Texture:
        """The same texture, ``factor`` times as large in the world; its smaller versions are shared."""
        return Texture(self.pixels, self.per_metre / factor, self.wrap, self._levels)

    def level(self, across: int, down: int) -> Bytes:
        """The texture with its width halved ``across`` times and its height ``down`` times."""
        if (across, down) not in self._levels:
            height, width = self.pixels.shape[:2]
            size = (max(1, width >> across), max(1, height >> down))
            smaller = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
            self._levels[across, down] = np.asarray(smaller, np.uint8)
        return self._levels[across, down]


@dataclass(frozen=True)
class Panel:
    """A flat convex piece of the world: where it is, what it shows, and which class it belongs to."""

    origin: tuple[float, float, float]
    """Where the texture's top left corner is: metres right, up and ahead of the world's origin."""
    across: tuple[float, float, float]
    """Unit vector of the texture's rows."""
    down: tuple[float, float, float]
    """Unit vector of the texture's columns."""
    outline: Floats
    """(n, 2) corners of the visible part, in metres along ``across`` and ``down``."""
    texture: Texture
    label: int
    shade: float = 1.0
    """Brightness: 1 in the sun."""


def rectangle(width_m: float, height_m: float) -> Floats:
    """The outline of a whole rectangle from the origin."""
    return np.array([[0, 0], [width_m, 0], [width_m, height_m], [0, height_m]], np.float64)


class Canvas:
    """A picture being painted, far to near, as a camera sees it. World: x right, y up, z ahead, metres."""

    def __init__(self, size: Size, haze: tuple[int, int, int]) -> None:
        height, width = size
        self.size = size
        self.image = np.zeros((height, width, 3), np.uint8)
        self.labels = np.zeros((height, width), np.uint8)
        self.haze = np.full((height, width, 3), haze, np.uint8)
        self.focal_px = 0.9 * max(width, 1.3 * height)
        self._lens = np.array(
            [[self.focal_px, 0, (width - 1) / 2], [0, self.focal_px, 0.46 * height], [0, 0, 1]], np.float64
        )
        # Planes (x, y, w, 1) that bound what can be seen, a few pixels wide of the picture.
        self._sides = np.array(
            [[0, 0, 1, -NEAR_M], [1, 0, 4, 0], [-1, 0, width + 4, 0], [0, 1, 4, 0], [0, -1, height + 4, 0]],
            np.float64,
        )
        self.look((0.0, 1.4, 0.0), 0.0, 0.0, 0.0)

    def look(self, position: tuple[float, float, float], yaw: float, pitch: float, roll: float) -> None:
        """Place the camera: metres, and radians to the right, upwards and clockwise."""
        self.position = np.array(position, np.float64)
        cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        bank = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        flip = np.diag([1.0, -1.0, 1.0])
        self._view: Floats = self._lens @ bank @ flip @ tilt @ turn

    def homography(self, panel: Panel) -> Floats:
        """(3, 3): metres on the panel to homogeneous pixels."""
        axes = np.array((panel.across, panel.down, panel.origin), np.float64)
        axes[2] -= self.position
        return np.asarray(self._view @ axes.T)

    def backdrop(self, image: Bytes, labels: Bytes, span: float) -> None:
        """Fill the picture from a panorama at infinity, ``span`` radians wide, its lower edge the horizon."""
        height, width = image.shape[:2]
        per_radian = width / span
        # A tangent plane one unit ahead: exact at its centre, and the camera never turns far from it.
        plane = np.array(
            [[1 / per_radian, 0, -span / 2], [0, -1 / per_radian, height / per_radian], [0, 0, 1]]
        )
        back = np.linalg.inv(self._view @ plane)
        target = (self.size[1], self.size[0])
        inverse = cv2.WARP_INVERSE_MAP
        cv2.warpPerspective(image, back, target, self.image, cv2.INTER_LINEAR | inverse, cv2.BORDER_REPLICATE)
        cv2.warpPerspective(
            labels, back, target, self.labels, cv2.INTER_NEAREST | inverse, cv2.BORDER_REPLICATE
        )

    def paint(self, panel: Panel) -> None:
        """Draw one panel over what is there."""
        homography = self.homography(panel)
        for outline in self._shares(homography, panel.outline):
            self._paint(panel, homography, outline)

    def _shares(self, homography: Floats, outline: Floats) -> list[Floats]:
        """A panel that runs away from the camera, in parts of about one scale each, far to near."""
        depths = outline @ homography[2, :2] + homography[2, 2]
        near, far = max(float(depths.min()), NEAR_M), float(depths.max())
        if far < 1.6 * near or near > 60 or far < NEAR_M:
            return [outline]
        count = min(max(round(math.log(far / near, 1.9)), 1), 12)
        parts = []
        for i in reversed(range(count)):
            # A little over its neighbour, so that no seam shows what lies beneath.
            low, high = near * (far / near) ** (i / count), near * (far / near) ** ((i + 1) / count) * 1.03
            part = outline if i == 0 else _clip(outline, depths - low)
            if len(part) and i < count - 1:
                part = _clip(part, high - (part @ homography[2, :2] + homography[2, 2]))
            if len(part) > 2:
                parts.append(part)
        return parts

    def _paint(self, panel: Panel, homography: Floats, outline: Floats) -> None:
        cut = self._cut(homography, outline)
        if cut is None:
            return
        left, top, mask, middle = cut
        height, width = mask.shape
        across, down, depth = _steps(homography, middle)
        texture = panel.texture
        levels = [min(max(round(math.log2(texture.per_metre / s)), 0), 9) for s in (across, down)]
        pixels = texture.level(levels[0], levels[1])
        # From texels, whose centres are at half units, to this corner of the picture.
        wide = texture.pixels.shape[1] / (pixels.shape[1] * texture.per_metre)
        high = texture.pixels.shape[0] / (pixels.shape[0] * texture.per_metre)
        texel = np.array([[wide, 0, wide / 2], [0, high, high / 2], [0, 0, 1]])
        there = homography @ texel
        there[:2] -= np.outer((left, top), there[2])
        border = cv2.BORDER_WRAP if texture.wrap else cv2.BORDER_REPLICATE
        colour = cv2.warpPerspective(
            pixels, there, (width, height), flags=cv2.INTER_LINEAR, borderMode=border
        )
        if pixels.shape[2] == 4:
            mask = np.asarray(cv2.multiply(mask, cv2.extractChannel(colour, 3), scale=1 / 255), np.uint8)
            colour = cv2.cvtColor(colour, cv2.COLOR_RGBA2RGB)
        clear = math.exp(-depth / HAZE_M)
        colour = cv2.addWeighted(colour, clear * panel.shade, self.haze[:height, :width], 1 - clear, 0)
        self._lay(np.asarray(colour, np.uint8), mask, left, top)
        spot = self.labels[top : top + height, left : left + width]
        np.copyto(spot, np.uint8(panel.label), where=mask > 127)

    def darken(self, panel: Panel) -> None:
        """A shadow of the panel's shape: ``shade`` of the light is left; labels stay."""
        cut = self._cut(self.homography(panel), panel.outline)
        if cut is None:
            return
        left, top, mask, _ = cut
        spot = self.image[top : top + mask.shape[0], left : left + mask.shape[1]]
        self._lay(np.asarray(cv2.convertScaleAbs(spot, alpha=panel.shade), np.uint8), mask, left, top)

    def _lay(self, colour: Bytes, mask: Bytes, left: int, top: int) -> None:
        spot = self.image[top : top + mask.shape[0], left : left + mask.shape[1]]
        weight = mask.astype(np.float32)
        spot[:] = cv2.blendLinear(colour, spot, weight, 255 - weight)

    def _cut(self, homography: Floats, outline: Floats) -> tuple[int, int, Bytes, Floats] | None:
        """The panel's part inside the picture: its corner, its smooth mask, and its middle in metres."""
        height, width = self.size
        seen = outline @ homography[:, :2].T + homography[:, 2]
        inside = seen @ self._sides[:, :3].T + self._sides[:, 3]
        out = inside < 0
        if out.any():
            if out.all(axis=0).any():
                return None
            both = np.concatenate([seen, outline], axis=1)
            for side in self._sides[out.any(axis=0)]:
                both = _clip(both, both[:, :3] @ side[:3] + side[3])
                if len(both) < 3:
                    return None
            seen, outline = both[:, :3], both[:, 3:]
        points = seen[:, :2] / seen[:, 2:]
        left, top = (max(int(v), 0) for v in np.floor(points.min(axis=0)))
        right, bottom = np.ceil(points.max(axis=0)).astype(int) + 1
        right, bottom = min(int(right), width), min(int(bottom), height)
        if right <= left or bottom <= top:
            return None
        mask = np.zeros((bottom - top, right - left), np.uint8)
        corners = np.round((points - (left, top)) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, corners, 255, cv2.LINE_AA, 4)
        return left, top, mask, outline.mean(axis=0)


def _clip(points: Floats, distance: Floats) -> Floats:
    """Sutherland and Hodgman: the part of a convex polygon where ``distance`` is not negative."""
    kept = []
    for i in range(len(points)):
        j = (i + 1) % len(points)
        if distance[i] >= 0:
            kept.append(points[i])
        if (distance[i] >= 0) != (distance[j] >= 0):
            share = distance[i] / (distance[i] - distance[j])
            kept.append(points[i] + share * (points[j] - points[i]))
    return np.array(kept) if kept else np.zeros((0, points.shape[1]))


def _steps(homography: Floats, point: Floats) -> tuple[float, float, float]:
    """How many pixels a metre covers along each axis at a point of a panel, and how deep the point is."""
    seen = homography @ (point[0], point[1], 1.0)
    depth = max(float(seen[2]), NEAR_M)
    spot = seen[:2] / depth
    steps = [float(np.hypot(*(homography[:2, axis] - homography[2, axis] * spot))) / depth for axis in (0, 1)]
    return max(steps[0], 1e-3), max(steps[1], 1e-3), depth
