"""Frames of a video, and what two of them have alike."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from edge_vss.motion_field import MotionVectors
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame


def read(path: Path, motion: str = "none", **options: Any) -> list[Frame]:
    with open_source(path, motion=motion, **options) as source:
        return list(source)


def same(one: MotionVectors, other: MotionVectors) -> bool:
    """Whether two frames have the same vectors, to the last bit."""
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def starts(frames: list[Frame]) -> dict[int, str]:
    return {frame.index: frame.start for frame in frames if frame.start}
