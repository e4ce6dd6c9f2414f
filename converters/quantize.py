"""Smaller numbers: calibration on the frames of a video, and what they cost in labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import Manifest
from edge_vss.converters import calibration
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.keep_float import AUTO, chosen, search
from edge_vss.converters.quantizers import QUANTIZERS
from edge_vss.errors import OptionError
from edge_vss.metrics import confusion, miou
from edge_vss.report import plain
from edge_vss.runtimes.fitting import unseen
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tools.ground_truth import GroundTruth, again
from edge_vss.text import whole

PRECISIONS = ("fp32", "fp16", "int8")
Labels = dict[int, NDArray[np.uint8]]
"""Number of a frame → its labels (H, W); of several heads, (heads, H, W)."""


def check(conversion: Conversion) -> None:
    """Raise OptionError for options that do not go together."""
    precision, video = conversion.precision, _path(conversion.calibrate)
    if precision not in PRECISIONS:
        raise OptionError(f"no precision is called {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "int8" and video is None:
        raise OptionError("--calibrate is missing: int8 is fitted to the frames of a video like your own")
    if precision != "int8" and video is not None:
        raise OptionError(f"--calibrate is for --precision int8, not for {precision}: leave it out")
    if precision != "int8" and conversion.keep_float:
        raise OptionError(f"--keep-float is for --precision int8, not for {precision}: leave it out")
    if conversion.ground_truth is not None and video is None:
        raise OptionError("--ground-truth is the label maps of the video of --calibrate: give that too")
    if video is not None and not video.exists():
        raise OptionError(f"--calibrate {video} does not exist: give a video file or a folder of pictures")


def reduce(folder: Path, manifest: Manifest, conversion: Conversion) -> Manifest:
    """Rewrite the graphs of the bundle being built in ``folder``, and say in its manifest what that costs.

    ``manifest`` describes the fp32 graphs that are there. int8 is fitted to some frames of the video and
    measured on others (``calibration.Plan``). Raises OptionError for a video that is too short and a layer
    that is not there, and what the target's quantiser raises.
    """
    precision, video = conversion.precision, _path(conversion.calibrate)
    prepare = QUANTIZERS.find(manifest.target).call
    notes: dict[str, Any] = {"weights": precision, "bytes": {"fp32": _bytes(folder, manifest)}}
    if video is None:
        prepare(folder, manifest.graphs, precision, {}).write(())
        notes["bytes"][precision] = _bytes(folder, manifest)
        return replace(calibration.rehashed(folder, manifest), precision=notes)
    bundle.write(folder, manifest)
    segmenter, plan = load(folder), calibration.plan(video)
    recording = calibration.record(segmenter, video, plan)
    exact: Labels = dict(calibration.measured(segmenter, video, plan))
    del segmenter
    reduced = prepare(folder, manifest.graphs, precision, recording.samples)
    named = chosen([name for name in conversion.keep_float if name != AUTO], reduced.layers)
    if AUTO in conversion.keep_float:
        found = search(folder, manifest, reduced, recording.steps)
        kept, notes["tries"] = found.kept | named, found.tries
    else:
        kept = named
    reduced.write(kept)
    notes["bytes"][precision] = _bytes(folder, manifest)
    notes |= {
        "layers": len(reduced.layers),
        "float_layers": [name for name in reduced.layers if name in kept],
    }
    manifest = replace(calibration.rehashed(folder, manifest), precision=notes)
    bundle.write(folder, manifest)
    labels: Labels = dict(calibration.measured(load(folder), video, plan))
    notes |= {
        "calibration": {"video": whole(video.name), "frames": len(recording.steps), "measured": len(exact)},
        "against_fp32": _compared(exact, labels, unseen(manifest.ignore)),
    }
    if conversion.ground_truth is not None:
        ignore = manifest.ignore if conversion.ignore is None else conversion.ignore
        maps = GroundTruth(conversion.ground_truth, conversion.match)
        # What a picture does not show has the bundle's own id. The label maps may have another one.
        was, now = (_renamed(each, unseen(manifest.ignore), ignore) for each in (exact, labels))
        scores = _against(maps, video, (was, now), len(manifest.classes), ignore)
        notes["against_ground_truth"] = {
            f"{name}_miou": plain(score) for name, score in zip(("fp32", precision), scores, strict=True)
        }
    return replace(manifest, precision=notes)


def _compared(before: Labels, after: Labels, outside: int) -> dict[str, float]:
    """What the labels of frames lost, without the pixels that no picture shows."""
    # Ids up to 255 may be there: the network's own and the one that stands for nothing.
    counts = _sum(confusion(before[index], after[index], 256) for index in before)
    equal = []
    for index, labels in before.items():
        seen = (labels != outside) | (after[index] != outside)
        equal.append(float((labels == after[index])[seen].mean()) if seen.any() else 1.0)
    return {"labels_equal": float(np.mean(equal)), "miou": miou(counts)}


def _renamed(labels: Labels, outside: int, ignore: int | None) -> Labels:
    """The same label maps with another id for what no picture shows."""
    if ignore is None or ignore == outside:
        return labels
    return {index: np.where(each == outside, np.uint8(ignore), each) for index, each in labels.items()}


def _against(
    maps: GroundTruth, video: Path, both: tuple[Labels, Labels], classes: int, ignore: int | None
) -> tuple[float, float]:
    """mIoU in percent of each, over the frames that were measured and have a label map."""
    opening = Opening()
    with opening.open(video, motion="none") as source:
        true = maps.matched(source, again(video, opening)).maps
    shared = [index for index in both[0] if index in true]
    if not shared:
        raise OptionError(
            f"--ground-truth {maps.folder} has no label map of the {len(both[0])} frames that are measured: "
            "give maps of more frames"
        )
    counts: tuple[list[NDArray[np.int64]], ...] = ([], [])
    for index in shared:
        for labels, count in zip(both, counts, strict=True):
            # Of several heads, the first is scored.
            found = labels[index] if labels[index].ndim == 2 else labels[index][0]
            truth = maps.of_file(true[index], (found.shape[0], found.shape[1]))
            try:
                count.append(confusion(truth, found, classes, ignore))
            except OptionError as error:
                raise OptionError(f"{true[index]}: {error}") from None
    return miou(_sum(counts[0]), ignore), miou(_sum(counts[1]), ignore)


def _sum(counts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.sum(list(counts), axis=0)
    return total


def _bytes(folder: Path, manifest: Manifest) -> int:
    """Size of all graph files; several graphs may share one."""
    files = {name for graph in manifest.graphs for name in (graph.file, graph.data) if name}
    return sum((folder / name).stat().st_size for name in files)


def _path(place: str | Path | None) -> Path | None:
    return None if place is None else Path(place)
