"""The newest labels of one camera: written by its own thread, read by as many as want to."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from time import monotonic

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import HeadSpec
from edge_vss.decisions import Prediction
from edge_vss.report import Json, plain
from edge_vss.runtimes.sinks.labels import encode_png
from edge_vss.video import Frame, Size

LONGEST_SIDE = 960
"""Pixels of a shown picture's longer side. More would be lost on a page, and cost every client."""
_JPEG_QUALITY = 80


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame with its labels, as it was published. Not changed any more, so anybody may read it.

    It is encoded when somebody asks, once for all who do. One thread asks at a time.
    """

    number: int
    """1 for the first one of this camera."""
    frame: Frame
    prediction: Prediction
    heads: tuple[HeadSpec, ...]
    """The maps, the first one first."""
    facts: dict[str, Json]
    """What is known about it besides, for programs."""
    published: float
    """When, on the clock of `time.monotonic`."""

    @cached_property
    def line(self) -> bytes:
        """The facts as one line of JSON."""
        return json.dumps({"number": self.number, **self.facts}, allow_nan=False).encode()

    @cached_property
    def body(self) -> bytes:
        """What the page asks for: the length of a JSON text (4 bytes, the highest first), the text, and the
        parts whose lengths it tells: the picture as JPEG, and every map as a grey PNG of class ids."""
        size = fitted(self.frame.size)
        parts = [_encoded(".jpg", self.frame.picture.rgb(size)[..., ::-1])]
        parts += [encode_png(_scaled(self._map(head), size), None) for head in self.heads]
        told: dict[str, Json] = {"number": self.number, "size": list(size), **self.facts}
        told["parts"] = [len(part) for part in parts]
        head = json.dumps(told, allow_nan=False).encode()
        return b"".join([struct.pack(">I", len(head)), head, *parts])

    def archive(self, name: str) -> bytes:
        """A ZIP of the whole picture, every map as a palette PNG, and the facts."""
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            archive.writestr(f"{name}/picture.png", _encoded(".png", self.frame.image[..., ::-1]))
            for head in self.heads:
                palette = None if head.is_matte else head.palette
                file = "labels" if head is self.heads[0] else f"labels_{head.name}"
                archive.writestr(f"{name}/{file}.png", encode_png(self._map(head), palette))
            archive.writestr(f"{name}/frame.json", self.line)
        return memory.getvalue()

    def _map(self, head: HeadSpec) -> NDArray[np.uint8]:
        return self.prediction.heads.get(head.name, self.prediction.labels)


class Board:
    """Holds the newest frame. Publishing costs a few microseconds, whoever looks on.

    One thread publishes; ``newest`` may be read from any. ``told`` is called by the publishing thread after
    each frame, and must not wait.
    """

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self.told = told
        self._newest: Shown | None = None
        self._number = 0

    @property
    def newest(self) -> Shown | None:
        """The frame published last; None before the first one."""
        return self._newest

    def publish(
        self, frame: Frame, prediction: Prediction, heads: tuple[HeadSpec, ...], facts: dict[str, Json]
    ) -> None:
        """Show this frame from now on."""
        self._number += 1
        self._newest = Shown(self._number, frame, prediction, heads, facts, monotonic())
        self.told()


def fitted(size: Size) -> Size:
    """The size at which a page shows a picture of this size."""
    share = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _scaled(labels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    if labels.shape == size:
        return labels
    return np.asarray(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _encoded(suffix: str, image: NDArray[np.uint8]) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, image, options)
    assert done, "OpenCV encodes every picture of uint8 into memory"
    return data.tobytes()


def facts(
    frame: Frame, prediction: Prediction, key: bool, late: float | None, doubt: float | None
) -> dict[str, Json]:
    """What is told of a frame beside its picture. ``key``: it shows a new key frame's labels for the first
    time. ``late`` are the seconds from its packet to its labels."""
    found = {
        "index": frame.index,
        "pts_seconds": frame.pts_seconds,
        "captured_seconds": frame.captured_seconds if frame.captured_seconds else frame.arrived_seconds,
        "clock": frame.capture_clock,
        "key": key,
        "reason": prediction.decision.reason,
        "frames_since_key": prediction.frames_since_key,
        "key_age_seconds": round(prediction.age_seconds, 3),
        "picture_type": frame.picture_type,
        "start": str(frame.start),
        "latency_ms": None if late is None else round(1e3 * late, 2),
        "doubt": None if doubt is None else round(doubt, 2),
        "stages_ms": {stage: round(1e3 * seconds, 2) for stage, seconds in prediction.seconds.items()},
    }
    return {name: plain(value) for name, value in found.items()}
