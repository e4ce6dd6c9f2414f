"""Smaller numbers: calibration on the frames of a video, and what they cost in labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import Manifest
from edge_vss.converters.quantizers import QUANTIZERS
from edge_vss.decisions import Decision, Prediction, Track
from edge_vss.errors import OptionError
from edge_vss.files import sha256
from edge_vss.metrics import confusion, miou
from edge_vss.report import plain
from edge_vss.runtimes.engines import Graph, Tensor, as_array
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.evaluate import evaluate
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.text import whole
from edge_vss.video import Frame

PRECISIONS = ("fp32", "fp16", "int8")
KEYS = 16
"""Key frames that are looked at, spread over the video; two frames follow each."""
FOLLOWING = 2
LEAST_FRAMES = 24


def check(precision: str, video: Path | None, ground_truth: str | Path | None) -> None:
    """Raise OptionError for options that do not go together."""
    if precision not in PRECISIONS:
        raise OptionError(f"no precision is called {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "int8" and video is None:
        raise OptionError("--calibrate is missing: int8 is fitted to the frames of a video like your own")
    if precision != "int8" and video is not None:
        raise OptionError(f"--calibrate is for --precision int8, not for {precision}: leave it out")
    if ground_truth is not None and video is None:
        raise OptionError("--ground-truth is the label maps of the video of --calibrate: give that too")
    if video is not None and not video.exists():
        raise OptionError(f"--calibrate {video} does not exist: give a video file or a folder of pictures")


def reduce(
    folder: Path,
    manifest: Manifest,
    precision: str,
    video: Path | None,
    ground_truth: GroundTruth | None,
    ignore: int | None = None,
) -> Manifest:
    """Rewrite the graphs of the bundle being built in ``folder``, and say in its manifest what that costs.

    ``manifest`` describes the fp32 graphs that are there. Raises OptionError for a video that is too short,
    and what the target's quantiser raises.
    """
    rewrite = QUANTIZERS.find(manifest.target).call
    exact: list[NDArray[np.uint8]] = []
    samples: dict[str, list[Mapping[str, NDArray[Any]]]] = {}
    notes: dict[str, Any] = {"weights": precision}
    if video is not None:
        bundle.write(folder, manifest)
        segmenter = load(folder)
        exact = list(_labels(_recording(segmenter, samples), video))
        if ground_truth is not None:
            notes["against_ground_truth"] = {
                "fp32_miou": plain(evaluate(segmenter, video, ground_truth, ignore=ignore).miou)
            }
        del segmenter
    rewrite(folder, manifest.graphs, precision, samples)
    graphs = tuple(_rehashed(folder, graph) for graph in manifest.graphs)
    manifest = replace(manifest, graphs=graphs, precision=notes)
    if video is None:
        return manifest
    bundle.write(folder, manifest)
    segmenter = load(folder)
    # Ids up to 255 may be there: the network's own and the one that stands for nothing.
    counts, equal = np.zeros((256, 256), np.int64), 0.0
    for before, after in zip(exact, _labels(segmenter, video), strict=True):
        counts += confusion(before, after, 256)
        equal += float((before == after).mean()) / len(exact)
    notes |= {
        "calibration": {"video": whole(video.name), "frames": len(exact)},
        "against_fp32": {"labels_equal": equal, "miou": miou(counts)},
    }
    if ground_truth is not None:
        notes["against_ground_truth"][f"{precision}_miou"] = plain(
            evaluate(segmenter, video, ground_truth, ignore=ignore).miou
        )
    return replace(manifest, precision=notes)


@dataclass
class _Spread:
    """The policy of calibration: key frames far apart, and those that are to be left out in between."""

    stride: int

    def __call__(self, frame: Frame, track: Track) -> Decision:
        return Decision("key" if frame.index % self.stride == 0 else "nonkey", "calibration")

    def wanted(self, index: int) -> bool:
        return index % self.stride <= FOLLOWING


def _labels(segmenter: Segmenter, video: Path) -> Iterator[NDArray[np.uint8]]:
    """The labels of some frames spread over the video."""
    with open_source(video) as source:
        stride = max(FOLLOWING + 1, (source.info.frames or 0) // KEYS)
        policy = _Spread(stride)
        session = segmenter.session(policy)
        count = 0
        for frame in source:
            count += 1
            if policy.wanted(frame.index):
                yield _label_maps(segmenter.manifest, session.step(frame))
            else:
                session.skip(frame)
            if frame.index >= stride * KEYS:
                break
    if count < LEAST_FRAMES:
        raise OptionError(
            f"--calibrate {video} has {count} frames, and int8 wants {LEAST_FRAMES}: give a longer one"
        )


def _label_maps(manifest: Manifest, prediction: Prediction) -> NDArray[np.uint8]:
    """The labels, of several heads one above the other."""
    maps = [prediction.heads[head.name] for head in manifest.heads if not head.is_matte]
    return np.stack(maps) if maps else prediction.labels


def _recording(segmenter: Segmenter, samples: dict[str, list[Mapping[str, NDArray[Any]]]]) -> Segmenter:
    """The same, writing down what every graph is called with."""

    def record(role: str, graph: Graph) -> Graph:
        names = [spec.name for spec in segmenter.manifest.graph(role).inputs]

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            samples.setdefault(role, []).append({name: as_array(tensors[name]) for name in names})
            return graph(tensors)

        return call

    return replace(segmenter, graphs={role: record(role, graph) for role, graph in segmenter.graphs.items()})


def _rehashed(folder: Path, graph: bundle.GraphSpec) -> bundle.GraphSpec:
    data = sha256(folder / graph.data) if graph.data else ""
    return replace(graph, sha256=sha256(folder / graph.file), data_sha256=data)
