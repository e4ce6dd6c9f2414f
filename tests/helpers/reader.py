"""A reader of bundles as docs/bundle.md tells to build one: plain numpy, and nothing of edge_vss.

It is no faster than it has to be. The vectors in docs/vectors are what it gives, and the runtime is measured
by them: were they made by the runtime, they would say nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CELL_PX = 8


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    """How many cells cover a frame of ``size`` (height, width)."""
    return -(-size[0] // CELL_PX), -(-size[1] // CELL_PX)


def points(extent: int, count: int, sampling: str) -> NDArray[np.float64]:
    """Where the points of a motion grid lie along one side of the frame, in pixels."""
    if sampling == "corners":
        return np.linspace(0, extent - 1, count)
    return (np.arange(count) + 0.5) * extent / count - 0.5


class GridTracer:
    """Trace-back mode ``grid``: one sub-pixel displacement per cell."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.root = np.zeros((2, *grid_of(size)))

    def follow(self, displacement: Array) -> None:
        """One more frame: float32 (2, h, w), x then y, in frame pixels, towards the frame before."""
        y, x = np.indices(displacement.shape[1:])
        step = displacement.astype(np.float64)
        self.root = step + cubic(self.root, x + step[0] / CELL_PX, y + step[1] / CELL_PX)

    def motion(self, grid: tuple[int, int], sampling: str) -> NDArray[np.float32]:
        """Motion back to the key frame: float32 (1, 2, h, w), in pixels of ``grid``."""
        at = [
            (points(extent, count, sampling) + 0.5) / CELL_PX - 0.5
            for extent, count in zip(self.size, grid, strict=True)
        ]
        y, x = np.meshgrid(at[0], at[1], indexing="ij")
        return in_grid_pixels(linear(self.root, x, y), self.size, grid)


class ExactTracer:
    """Trace-back mode ``exact``: whole pixels at every hop."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.hops: list[NDArray[np.int64]] = []

    def follow(self, displacement: Array) -> None:
        """As for `GridTracer`."""
        self.hops.append(np.rint(displacement).astype(np.int64))

    def motion(self, grid: tuple[int, int], sampling: str) -> NDArray[np.float32]:
        """As for `GridTracer`."""
        height, width = self.size
        (top, down), (left, across) = (
            taps(extent, count, sampling) for extent, count in zip(self.size, grid, strict=True)
        )
        moved = np.zeros((2, 2, 2, *grid))
        for row in (0, 1):
            for column in (0, 1):
                start_y, start_x = np.meshgrid(top[row], left[column], indexing="ij")
                y, x = start_y, start_x
                for hop in reversed(self.hops):
                    dx, dy = hop[:, y // CELL_PX, x // CELL_PX]
                    x, y = np.clip(x + dx, 0, width - 1), np.clip(y + dy, 0, height - 1)
                moved[row, column] = x - start_x, y - start_y
        rows = moved[:, 0] * (1 - across) + moved[:, 1] * across
        mixed = rows[0] * (1 - down[:, None]) + rows[1] * down[:, None]
        return in_grid_pixels(mixed, self.size, grid)


def taps(extent: int, count: int, sampling: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The two pixels around every point along one side, (2, count), and the weight of the second."""
    at = np.clip(points(extent, count, sampling), 0, extent - 1)
    first = np.minimum(np.floor(at), max(extent - 2, 0)).astype(np.int64)
    return np.stack([first, np.minimum(first + 1, extent - 1)]), at - first


def in_grid_pixels(motion_px: Array, size: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float32]:
    """(2, h, w) in frame pixels → float32 (1, 2, h, w) in pixels of the grid."""
    scale = np.array([grid[1] / size[1], grid[0] / size[0]])
    motion: NDArray[np.float32] = (motion_px * scale[:, None, None]).astype(np.float32)[None]
    return motion


def linear(of: Array, x: Array, y: Array) -> Array:
    """``of`` (2, h, w) at positions in cells, between the four around them; the edge goes on outside."""
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = x - left, y - top
    found = np.zeros((len(of), *x.shape))
    for i in (0, 1):
        for j in (0, 1):
            weight = (down if i else 1 - down) * (across if j else 1 - across)
            found += at_cells(of, left + j, top + i) * weight
    return found


def cubic(of: Array, x: Array, y: Array) -> Array:
    """As `linear`, bicubic over the sixteen around them (Keys 1981, a = -0.75)."""
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    found = np.zeros((len(of), *x.shape))
    for i in (-1, 0, 1, 2):
        for j in (-1, 0, 1, 2):
            found += at_cells(of, left + j, top + i) * keys(y - top - i) * keys(x - left - j)
    return found


def at_cells(of: Array, x: Array, y: Array) -> Array:
    """What the cells of ``of`` hold; the edge goes on outside."""
    there: Array = of[:, np.clip(y, 0, of.shape[1] - 1), np.clip(x, 0, of.shape[2] - 1)]
    return there


def keys(distance: Array) -> Array:
    """The weight of a value at a distance."""
    a, d = -0.75, np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


class Reader:
    """The loop: what a session does, for routes that are known."""

    def __init__(self, manifest: Mapping[str, Any], graphs: Mapping[str, Callable[..., Any]]) -> None:
        """``graphs``: role → a function from tensors by name to tensors by name."""
        self.manifest, self.graphs = manifest, graphs
        self.size = tuple(manifest["frame_size"])
        self.state: dict[str, Array] = {}
        self.tracer: GridTracer | ExactTracer = GridTracer(self.size)

    def step(self, route: str, image: Array, displacement: Array) -> dict[str, Array]:
        """All tensors of one frame: what went into its graphs, and what came out."""
        motion = self.manifest["motion"]
        if route == "start":
            self.state = {
                state["name"]: np.full(state["shape"], state["initial"], state["dtype"])
                for state in self.manifest["state"]
            }
        if route == "nonkey":
            self.tracer.follow(displacement)
        else:
            self.tracer = (ExactTracer if motion["trace"] == "exact" else GridTracer)(self.size)
        tensors = {
            "image": image[None],
            "motion": self.tracer.motion(tuple(motion["grid"]), motion["sampling"]),
            **self.state,
        }
        for role in self.manifest["routes"][route]:
            tensors |= self.graphs[role](tensors)
        self.state = {state["name"]: tensors[self._after(state, tensors)] for state in self.manifest["state"]}
        return {**tensors, **self.state}

    def _after(self, state: Mapping[str, Any], tensors: Mapping[str, Array]) -> str:
        following: str = state.get("next", "")
        return following if following in tensors else state["name"]


def rollout(
    reader: Reader, routes: Sequence[str], images: Array, displacements: Array
) -> dict[str, NDArray[Any]]:
    """Tensor → its value after every step, along a first axis."""
    names = ["motion", "labels", *(state["name"] for state in reader.manifest["state"])]
    steps = [
        reader.step(route, image, displacement)
        for route, image, displacement in zip(routes, images, displacements, strict=True)
    ]
    return {name: np.concatenate([step[name] for step in steps]) for name in names}
