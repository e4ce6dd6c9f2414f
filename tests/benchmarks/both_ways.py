"""What labels from both sides gain and cost: `python -m tests.benchmarks.both_ways`, with EDGE_VSS_DATA.

True label maps are carried from key frames, forward only and from both sides. Then a network that is trained
runs on key frames, and the time of a frame in between is compared.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, Manifest, MotionSpec, StateSpec, TensorSpec
from edge_vss.cli.terminal import say, table
from edge_vss.metrics import confusion, miou
from edge_vss.runtimes.labelling import both_ways
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.video import Frame, Picture, Size
from tests.helpers.videos import encode, stills

IGNORED = 11
INTERVALS = (5, 12, 24)
STREAMS = {
    "H.264, P only": "0016E5_h264_p_refs1_g250.mp4",
    "HEVC": "0016E5_hevc_default.mp4",
}
CLIPS = ("breakdance", "drift-straight", "kite-surf", "motocross-jump")
WANTED = {5: 89.7, 12: 85.0, 24: 80.0}


class TruePicture:
    """A frame's own picture, but at the network's size it is the true label map."""

    def __init__(self, picture: Picture, labels: NDArray[np.uint8]) -> None:
        self._picture, self._labels = picture, labels
        self.device, self.nbytes = picture.device, picture.nbytes

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        """The label map three times where ``size`` is its own, else the picture."""
        if size == self._labels.shape:
            return np.repeat(self._labels[..., None], 3, 2)
        return self._picture.rgb(size)

    def luma(self) -> NDArray[np.uint8]:
        """The picture's."""
        return self._picture.luma()


def knowing(size: Size) -> Segmenter:
    """A network that always gives the true labels of its key frames."""
    grid = (-(-size[0] // 8), -(-size[1] // 8))
    image = TensorSpec("image", (1, *size, 3), "uint8")
    labels, kept = (TensorSpec(name, (1, *size), "uint8") for name in ("labels", "key_labels"))
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    manifest = Manifest(
        family="propagate",
        options={},
        target="onnx",
        source={"name": "true labels", "sha256": ""},
        frame_size=size,
        classes=tuple(f"class {i}" for i in range(12)),
        palette=tuple((20 * i, 0, 0) for i in range(12)),
        ignore=IGNORED,
        graphs=(
            GraphSpec("key", "key.onnx", "", (image,), (labels, kept), 0.0),
            GraphSpec("state", "state.onnx", "", (kept, motion), (labels,), 0.0),
        ),
        state=(StateSpec("key_labels", kept.shape, "uint8", 0.0),),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        policy="interval:5",
        motion=MotionSpec(grid),
    )

    def key(tensors: Any) -> dict[str, NDArray[Any]]:
        true = tensors["image"][..., 0]
        return {"labels": true, "key_labels": true}

    def state(tensors: Any) -> dict[str, NDArray[Any]]:
        x, y = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
        dx, dy = (cv2.resize(part, size[::-1]) for part in tensors["motion"][0])
        x, y = x + dx * np.float32(size[1] / grid[1]), y + dy * np.float32(size[0] / grid[0])
        moved = cv2.remap(tensors["key_labels"][0], x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return {"labels": moved[None]}

    return Segmenter(manifest, {"key": key, "state": state}, "numpy")


def main() -> None:
    """Print the tables."""
    argparse.ArgumentParser(description="Measures labels from both sides.").parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("both_ways needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    folder = data / "camvid" / "valannot"
    say("mIoU of true labels carried, forward / both ways")
    rows: list[tuple[str, ...]] = [("wanted, H.264 P only", *(f"- / {WANTED[k]}" for k in INTERVALS))]
    with tempfile.TemporaryDirectory(prefix="edge-vss-both-") as scratch:
        videos = {name: data / "video" / file for name, file in STREAMS.items()}
        videos["H.264, libx264's defaults"] = encode(
            Path(scratch) / "defaults.mp4", stills(data / "camvid" / "val"), options={}, fps=15
        )
        rows += [(name, *_row(video, folder, 12, IGNORED)) for name, video in videos.items()]
        if (data / "davis").is_dir():
            for clip in CLIPS:
                rows.append((clip, *_row(data / "davis" / f"{clip}_p.mp4", data / "davis" / clip, 2, None)))
    table(("stream", *(f"every {k}th" for k in INTERVALS)), rows)


def _row(video: Path, folder: Path, classes: int, ignore: int | None) -> list[str]:
    maps = GroundTruth(folder)
    with open_source(video) as source:
        frames = [replace(frame, picture=TruePicture(frame.picture, maps[frame.index])) for frame in source]
    return [_pair(frames, maps, interval, classes, ignore) for interval in INTERVALS]


def _pair(frames: list[Frame], maps: GroundTruth, interval: int, classes: int, ignore: int | None) -> str:
    segmenter = knowing(frames[0].size)
    counts = [np.zeros((classes, classes), np.int64) for _ in range(2)]
    began = process_time()
    session = segmenter.session(f"interval:{interval}")
    for frame in frames:
        counts[0] += confusion(maps[frame.index], session.step(frame).labels, classes, ignore)
    half = process_time()
    for frame, prediction in both_ways(frames, segmenter.session(f"interval:{interval}")):
        counts[1] += confusion(maps[frame.index], prediction.labels, classes, ignore)
    spent = (process_time() - half) / (half - began)
    return " / ".join(f"{miou(count, ignore):.2f}" for count in counts) + f" (time {spent:.1f})"


if __name__ == "__main__":
    main()
