"""What a bundle lost by smaller numbers, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edge_vss.cli.terminal import say

if TYPE_CHECKING:
    from edge_vss.bundle import Manifest

LEAST_EQUAL = 0.95
"""Share of labels as in fp32 below which a warning is printed."""


def show_precision(manifest: Manifest) -> None:
    """Say what fp16 or int8 costs, in labels and in bytes. Nothing for fp32."""
    if manifest.precision["weights"] != "fp32":
        for line in _lines(manifest.precision):
            say(line)


def _lines(precision: Mapping[str, Any]) -> Iterator[str]:
    weights, equal = precision["weights"], precision.get("against_fp32", {}).get("labels_equal")
    kept = precision.get("float_layers", [])
    if equal is not None:
        yield f"{weights}: {equal:.2%} of labels as in fp32, on {_frames(precision.get('calibration'))}"
    if truth := precision.get("against_ground_truth"):
        before, after = truth.get("fp32_miou"), truth.get(f"{weights}_miou")
        yield f"mIoU against the ground truth: {_percent(before)} in fp32, {_percent(after)} in {weights}"
    if "layers" in precision:
        names = f": {', '.join(kept)}" if kept else ""
        yield f"{len(kept)} of {precision['layers']} layers stayed float{names}"
    if sizes := precision.get("bytes"):
        yield _size(weights, sizes["fp32"], sizes[weights])
    if equal is not None and equal < LEAST_EQUAL:
        other = "a --calibrate video more like your own" if kept else "--keep-float auto"
        more = f"{other}, or --precision fp16" if weights == "int8" else "--precision fp32"
        yield f"warning: {weights} changes {1 - equal:.1%} of the labels: try {more}"


def _frames(calibration: Mapping[str, Any] | None) -> str:
    if calibration is None:
        return "pictures that were made up"
    if "measured" not in calibration:
        return f"the {calibration['frames']} frames of {calibration['video']} that it was fitted to"
    return (
        f"{calibration['measured']} frames of {calibration['video']} (second and fourth quarter); "
        f"it was fitted to {calibration['frames']} others (first and third)"
    )


def _size(weights: str, before: int, after: int) -> str:
    sizes = f"{after / 1e6:.3g} MB, in fp32 {before / 1e6:.3g} MB"
    if after < before:
        return f"size of the graphs: {sizes}"
    return (
        f"warning: {weights} made the graphs larger: {sizes}; what it adds around each layer is more than "
        f"the weights save. Take fp32 unless `profile` shows that {weights} is faster"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
