"""``warp-labels@1``: maps of class ids (or of other bytes) moved along a coarse motion, nearest pixel.

The definition is in docs/bundle.md. All its numbers are multiples of 1/1024 that float32 holds, so that every
right way to compute them gives the same bytes. This one lets OpenCV do the passes over all pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, TensorSpec
from edge_vss.bundle.rules import WARP_LABELS
from edge_vss.plugins import LOG
from edge_vss.runtimes.engines import Array, Tensor, input_arrays
from edge_vss.runtimes.engines._memory import OutputMemory
from edge_vss.video import Size

NAME = WARP_LABELS
STEPS_PER_PX = 64.0
"""Motion is rounded to so many steps a pixel, at the points of the grid and after the interpolation along
x."""
WEIGHTS = 16.0
"""Steps of a weight between two points of the grid."""
MOST_HERE = 2048
"""The largest extent that this way is for. Up to there float32 is near enough not to cross a tie."""
TIE = np.float32(1 / 2048)
"""Half of the finest step. OpenCV rounds halves to the even number, and the operation rounds them up."""

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def points_between(points: int, extent: int) -> tuple[NDArray[np.int64], Floats]:
    """For each of ``extent`` pixels: the point of a grid of ``points`` at or before it, and the weight (0 to
    1, in steps of 1/16) of the one after. Beyond the outer points, these go on."""
    # In integers: twice the position, times extent.
    twice = np.clip((2 * np.arange(extent) + 1) * points - extent, 0, 2 * extent * (points - 1))
    first, rest = twice // (2 * extent), twice % (2 * extent)
    steps = (2 * rest * int(WEIGHTS) + 2 * extent) // (4 * extent)
    return first.astype(np.int64), (steps / WEIGHTS).astype(np.float32)


def load(graph: GraphSpec) -> WarpLabels | None:
    """The operation for a graph that is one; None where it cannot be done here to the last bit."""
    size = graph.inputs[0].shape[1], graph.inputs[0].shape[2]
    if max(size) > MOST_HERE or not _is_exact():
        return None
    return WarpLabels(graph)


class WarpLabels:
    """Maps and motion → the moved maps."""

    def __init__(self, graph: GraphSpec) -> None:
        self._graph = graph
        *maps, motion = graph.inputs
        self._size: Size = (maps[0].shape[1], maps[0].shape[2])
        self._grid: Size = (motion.shape[2], motion.shape[3])
        self._memory = OutputMemory(graph.outputs)
        self._own = threading.local()

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
        """As a `Graph`."""
        *maps, motion = input_arrays(self._graph, tensors)
        x, y = self._sources(motion, self._size)
        outputs = self._memory.arrays()
        for source, output in zip(maps, outputs.values(), strict=True):
            _remap(source[0], x, y, output[0])
        return outputs

    def at(self, tensors: Mapping[str, Tensor], size: Size) -> dict[str, Array]:
        """The outputs as they are after a nearest resize to ``size``."""
        *maps, motion = input_arrays(self._graph, tensors)
        x, y = self._sources(motion, size)
        outputs: dict[str, Array] = {}
        for source, spec in zip(maps, self._graph.outputs, strict=True):
            moved = np.empty((1, *size), np.uint8)
            _remap(source[0], x, y, moved[0])
            outputs[spec.name] = moved
        return outputs

    def _sources(self, motion: Floats, size: Size) -> tuple[Floats, Floats]:
        """Where each pixel comes from, x and y, not yet rounded; for those that a picture of ``size``
        shows."""
        tables = _tables(self._size, self._grid, size)
        x, y, along = self._scratch(size)
        for axis, dense in ((1, x), (0, y)):
            longest = np.float32(self._size[axis])
            scale = np.float32(self._size[axis] / self._grid[axis])
            tables.along_x(_stepped(np.clip(motion[0, 1 - axis] * scale, -longest, longest)), along)
            _stepped(along)
            # A pixel's own place is added to few numbers instead of all, where it can be.
            along += tables.x if axis else tables.y_of_rows[:, None]
            if tables.dyadic:
                cv2.resize(along, size[::-1], dst=dense, interpolation=cv2.INTER_LINEAR)
            else:
                rise = np.diff(along, axis=0, append=along[-1:])
                np.multiply(rise[tables.rows], tables.down[:, None], out=dense)
                dense += along[tables.rows]
        for rows, places in tables.y_left:
            y[rows] += places[:, None]
        return x, y

    def _scratch(self, size: Size) -> tuple[Floats, Floats, Floats]:
        # Kept for each thread: fresh memory costs more than filling it.
        if getattr(self._own, "size", None) != size:
            self._own.size = size
            shapes = (size, size, (self._grid[0], size[1]))
            self._own.arrays = tuple(np.empty(shape, np.float32) for shape in shapes)
        x, y, along = self._own.arrays
        return x, y, along


class _Tables:
    """What does not depend on the motion."""

    def __init__(self, size: Size, grid: Size, shown: Size) -> None:
        chosen_y, chosen_x = (_chosen(extent, few) for extent, few in zip(size, shown, strict=True))
        rows, down = points_between(grid[0], size[0])
        columns, across = points_between(grid[1], size[1])
        self.rows, self.down = rows[chosen_y], down[chosen_y]
        self.columns, self.across = columns[chosen_x], across[chosen_x]
        self.x, y = chosen_x.astype(np.float32) + TIE, chosen_y.astype(np.float32)
        per_row = size[0] // grid[0]
        # OpenCV's own weights are the operation's where they are sixteenths.
        self.dyadic, self._dyadic_x = (
            few == extent and extent in (2 * points, 4 * points, 8 * points)
            for extent, points, few in zip(size, grid, shown, strict=True)
        )
        self.y_of_rows = np.full(grid[0], TIE)
        self.y_left = [(slice(None), y)]
        if self.dyadic:
            # Places grow evenly between the grid's points, and are missing beyond the outer ones.
            self.y_of_rows += np.arange(grid[0], dtype=np.float32) * per_row + np.float32((per_row - 1) / 2)
            outer = (slice(None, per_row // 2), slice(size[0] - per_row // 2, None))
            ends = (self.y_of_rows[0] - TIE, self.y_of_rows[-1] - TIE)
            self.y_left = [(rows, y[rows] - end) for rows, end in zip(outer, ends, strict=True)]

    def along_x(self, values: Floats, out: Floats) -> None:
        """Values (h, w) at every pixel along x: (h, W)."""
        if self._dyadic_x:
            cv2.resize(values, out.shape[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
            return
        np.take(np.diff(values, axis=1, append=values[:, -1:]), self.columns, axis=1, out=out)
        out *= self.across
        out += np.take(values, self.columns, axis=1)


@lru_cache(maxsize=8)
def _tables(size: Size, grid: Size, shown: Size) -> _Tables:
    return _Tables(size, grid, shown)


def _chosen(extent: int, shown: int) -> NDArray[np.int64]:
    """Which pixels along a side a nearest resize shows."""
    every = np.arange(extent, dtype=np.float32)[None]
    if shown == extent:
        return np.arange(extent)
    taken = cv2.resize(every, (shown, 1), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(taken[0], np.int64)


def _stepped(values: Floats) -> Floats:
    """In place."""
    values *= np.float32(STEPS_PER_PX)
    values += np.float32(0.5)
    np.floor(values, out=values)
    values *= np.float32(1 / STEPS_PER_PX)
    return values


def _remap(source: Bytes, x: Floats, y: Floats, moved: Bytes) -> None:
    cv2.remap(source, x, y, cv2.INTER_NEAREST, dst=moved, borderMode=cv2.BORDER_REPLICATE)


def defined(labels: Bytes, motion: Floats) -> Bytes:
    """The operation as docs/bundle.md has it, slowly: uint8 (H, W), float32 (2, h, w) → uint8 (H, W)."""
    place = []
    for axis, part in ((0, motion[1]), (1, motion[0])):
        extent = labels.shape[axis]
        scaled = part * np.float32(extent / part.shape[axis])
        values = _rounded(np.clip(scaled, -extent, extent).astype(np.float64))
        for along in (1, 0):
            first, weight = points_between(part.shape[along], labels.shape[along])
            after = np.minimum(first + 1, part.shape[along] - 1)
            weight = weight if along else weight[:, None]
            here, there = np.take(values, first, along), np.take(values, after, along)
            values = here + (there - here) * weight
            values = _rounded(values) if along else values
        own = np.arange(extent) + 0.5
        values = values + (own if axis else own[:, None])
        place.append(np.floor(np.clip(values, 0, extent - 0.5)).astype(np.int64))
    return np.asarray(labels[place[0], place[1]])


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.floor(values * STEPS_PER_PX + 0.5) / STEPS_PER_PX)


@lru_cache(maxsize=1)
def _is_exact() -> bool:
    """Whether this build of OpenCV computes as it has to: some builds use other libraries inside."""
    rng = np.random.default_rng(0)
    size, grid = (48, 72), (6, 9)
    shapes = {"map": (1, *size), "motion": (1, 2, *grid)}
    maps, way = TensorSpec("map", shapes["map"], "uint8"), TensorSpec("motion", shapes["motion"], "float32")
    labels = rng.integers(0, 256, shapes["map"], np.uint8)
    # Many of these end at halves of pixels.
    motion = (rng.integers(-256, 257, shapes["motion"]) / 128).astype(np.float32)
    made = WarpLabels(GraphSpec("state", "", "", (maps, way), (maps,), 0.0))
    found = made({"map": labels, "motion": motion})["map"][0]
    exact = bool((found == defined(labels[0], motion[0])).all())
    if not exact:
        LOG.info("this OpenCV rounds in another way, so engines move labels")
    return exact
