"""A segmenter small enough to reckon by hand: bright pixels are class 1, the others class 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, Manifest, MotionSpec, StateSpec, TensorSpec
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.video import Size

Tensors = Mapping[str, Any]


def manifest(size: Size = (48, 64), grid: Size = (12, 16), policy: str = "interval:5") -> Manifest:
    """A propagate bundle's manifest: the key frame's scores (1, 2, h, w) are carried along ``grid``."""
    image = TensorSpec("image", (1, *size, 3), "uint8")
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    scores = TensorSpec("scores", (1, 2, *grid), "float32")
    labels = TensorSpec("labels", (1, *size), "uint8")
    return Manifest(
        family="propagate",
        options={},
        target="onnx",
        source={"name": "toy", "sha256": ""},
        frame_size=size,
        classes=("dark", "light"),
        palette=((0, 0, 128), (255, 200, 0)),
        ignore=255,
        graphs=(
            GraphSpec("key", "key.onnx", "", (image,), (labels, scores), 0.0),
            GraphSpec("state", "state.onnx", "", (scores, motion), (labels,), 0.0),
        ),
        state=(StateSpec("scores", (1, 2, *grid), "float32", 0.0),),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        policy=policy,
        motion=MotionSpec(grid),
    )


def segmenter(size: Size = (48, 64), grid: Size = (12, 16), policy: str = "interval:5") -> Segmenter:
    """The toy, ready for sessions: its graphs are plain functions."""
    rows, columns = np.arange(size[0]) * grid[0] // size[0], np.arange(size[1]) * grid[1] // size[1]

    def labelled(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
        ids: NDArray[np.uint8] = scores.argmax(1).astype(np.uint8)[:, rows][:, :, columns]
        return ids

    def key(tensors: Tensors) -> dict[str, NDArray[Any]]:
        grey = tensors["image"][0].mean(2).reshape(grid[0], size[0] // grid[0], grid[1], -1).mean((1, 3))
        scores = np.stack([255 - grey, grey])[None].astype(np.float32)
        return {"labels": labelled(scores), "scores": scores}

    def state(tensors: Tensors) -> dict[str, NDArray[Any]]:
        y, x = np.indices(grid)
        dx, dy = np.rint(tensors["motion"][0]).astype(int)
        there = tensors["scores"][:, :, np.clip(y + dy, 0, grid[0] - 1), np.clip(x + dx, 0, grid[1] - 1)]
        return {"labels": labelled(there)}

    return Segmenter(manifest(size, grid, policy), {"key": key, "state": state}, "toy")
