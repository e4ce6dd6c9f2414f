"""The frames whose labels are to be trusted least, as a picture and a list: what an annotator begins with."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.runtimes.archive import index
from edge_vss.runtimes.archive.store import SCRATCH, Store, open_store, reading
from edge_vss.runtimes.drawing.contact_sheet import Tile, draw, paint
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.ground_truth import read_labels
from edge_vss.runtimes.tools.label_video import LabelVideo

APART_SECONDS = 2.0
"""Of frames of one recording that are nearer to each other, only the worst is shown."""


@dataclass(frozen=True)
class Worst:
    """One frame."""

    file: str
    """The recording's name in the results."""
    source: str
    """Where it lies."""
    frame: int
    pts_seconds: float
    confidence: float


def find(out: str, count: int) -> list[Worst]:
    """The ``count`` frames of all recordings in the index whose confidence is lowest, the worst first."""
    store, pa = open_store(out), index.arrow()
    columns = ["file", "frame", "pts_seconds", "confidence"]
    found: list[Worst] = []
    for name in store.names("index"):
        data = store.read(name) or b""
        source = index.about(data).get("file", "")
        # One recording at a time, and of each no more than could be among the worst.
        table = pa.parquet.read_table(io.BytesIO(data), columns=columns).sort_by("confidence")
        taken: list[Worst] = []
        for row in table.to_pylist():
            if all(abs(row["pts_seconds"] - other.pts_seconds) >= APART_SECONDS for other in taken):
                taken.append(Worst(source=source, **row))
            if len(taken) == count:
                break
        found = sorted([*found, *taken], key=lambda one: (one.confidence, one.file, one.frame))[:count]
    return found


def draw_sheet(out: str, manifest: Manifest, worst: list[Worst]) -> str:
    """Draw the pictures with their labels beside them to ``worst.png`` in ``out``; gives its name."""
    store = open_store(out)
    rows = []
    for one in worst:
        picture, labels = _picture(one), _labels(store, one)
        caption = f"{one.file} {one.frame} ({one.pts_seconds:.2f} s): {one.confidence:.3f}"
        ascii_caption = caption.encode("ascii", "replace").decode()
        rows.append(
            [
                Tile(_fitted(picture), ascii_caption),
                Tile(_fitted(paint(picture, labels, manifest.palette)), ""),
            ]
        )
    legend = list(zip(manifest.classes, manifest.palette, strict=True))
    sheet = draw("least confidence first", ("picture", "labels"), rows, legend)
    store.write("worst.png", cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
    store.remove(SCRATCH)
    return "worst.png"


def _picture(one: Worst) -> NDArray[np.uint8]:
    with reading(one.source) as path, open_source(path, motion="none") as source:
        if one.frame:
            source.seek(one.pts_seconds)
        return next(source).image


def _labels(store: Store, one: Worst) -> NDArray[np.uint8]:
    with tempfile.TemporaryDirectory(prefix="edge-vss-") as folder:
        place = Path(folder) / "map"
        if store.read(f"labels/{one.file}/{one.frame:06d}.png") is not None:
            store.fetch(f"labels/{one.file}/{one.frame:06d}.png", place)
            return read_labels(place)
        store.fetch(f"labels/{one.file}.mkv", place)
        return LabelVideo(place)[one.frame]


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In the middle of a picture of 4:3 or 16:9: a sheet has tiles of one shape, and recordings differ."""
    height, width = 360, 640
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    made = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    made[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return made
