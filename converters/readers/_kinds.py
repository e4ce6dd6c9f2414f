"""Networks that are no semantic segmentors, told by what they take and give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from edge_vss.errors import ModelError

INSTANCES = "an instance segmentor (a list beside mask prototypes or masks)"
DETECTOR = "a detector, which finds boxes"
PROMPTED = "a segmentor that is asked with points or boxes (SAM)"
LISTS = "a network that gives a list of things, as a detector does"
POSES = "a pose estimator, which finds points of bodies"
DEPTHS = "a depth estimator, which gives distances"
FLOWS = "a network of optical flow"
WHOLE = "a classifier, which names whole pictures"
FEATURES = "an encoder, which gives features"

_GIVES = (
    (frozenset({"iou"}), PROMPTED),
    (frozenset({"boxes", "bboxes", "bbox", "box", "dets", "detections", "detection"}), DETECTOR),
    (frozenset({"keypoints", "keypoint", "heatmap", "heatmaps", "simcc", "joints", "pose", "poses"}), POSES),
    (frozenset({"depth", "depths", "disparity", "disp"}), DEPTHS),
    (frozenset({"flow", "flows"}), FLOWS),
    (frozenset({"embedding", "embeddings", "embeds", "features", "hidden"}), FEATURES),
)
"""Words in an output's name → what gives such an output."""
_TAKES = (
    (frozenset({"point", "points", "coords", "boxes", "prompt", "prompts"}), PROMPTED),
    (
        frozenset({"ids", "attention", "text", "token", "tokens", "tokenized"}),
        "a network that reads text too",
    ),
    (frozenset({"timestep", "timesteps", "latent", "latents"}), "a network that draws pictures"),
    (frozenset({"left", "right", "stereo"}), "a network that compares two pictures (stereo, flow)"),
)
TASKS = {
    "detect": DETECTOR,
    "obb": DETECTOR,
    "segment": "an instance segmentor, which finds single things",
    "classify": WHOLE,
    "pose": POSES,
    "depth": DEPTHS,
}
"""What Ultralytics and OpenVINO's Model API call a task, in lower case → what does it."""
_MODEL_TYPES = ("yolo", "ssd", "detection", "centernet", "retina", "maskrcnn", "faceboxes")
"""How types of detectors begin in OpenVINO's ``model_info``."""


def kind_by_name(name: str) -> str | None:
    """What gives an output of such a name, if that is no semantic segmentor."""
    return _told(name, _GIVES)


def kind_of(outputs: Mapping[str, Tensor], maps: Iterable[str], lists: Iterable[str]) -> str | None:
    """What gives such outputs, if that is no semantic segmentor. ``maps`` and ``lists`` are the names of
    those that have such a shape."""
    maps, lists = set(maps), set(lists)
    told = [kind_by_name(name) for name in outputs]
    if PROMPTED in told:
        return PROMPTED
    if lists and maps:
        return INSTANCES
    named = [kind for kind in told if kind is not None]
    if named and all(kind for name, kind in zip(outputs, told, strict=True) if name in maps):
        return named[0]
    if lists:
        return LISTS
    if not maps and any(_is_vector(tensor) for tensor in outputs.values()):
        return WHOLE
    return None


def refuse_inputs(path: Path, names: list[str]) -> None:
    """Raise ModelError for a network that takes more than a picture. What it is, is said where that can be
    told."""
    if len(names) == 1:
        return
    kind = next((found for found in (_told(name, _TAKES) for name in names) if found), None)
    if kind is None and len({re.sub(r"\d+", "", name) for name in names}) < len(names):
        kind = "a network that compares pictures (stereo, flow)"
    raise ModelError(
        f"{path} takes {len(names)} inputs ({', '.join(names[:6])}): it has to take one picture"
        f"{f', and this is {kind}' if kind else ''}"
    )


def refuse_task(path: Path, task: str) -> None:
    """Raise ModelError for a network whose own metadata names another task."""
    name = task.strip().lower()
    kind = TASKS.get(name) or (DETECTOR if name.startswith(_MODEL_TYPES) else None)
    if kind is None and name.startswith(("classif", "anomaly")):
        kind = WHOLE
    if kind is not None:
        raise ModelError(refusal(str(path), kind, f"its metadata says {task}"))


def refusal(what: str, kind: str, why: str) -> str:
    return f"{what} is {kind} ({why}): give a semantic segmentor, which has a score for every class and pixel"


def _told(name: str, kinds: tuple[tuple[frozenset[str], str], ...]) -> str | None:
    words = set(re.findall(r"[a-z]+", name.lower()))
    return next((kind for known, kind in kinds if words & known), None)


def _is_vector(tensor: Tensor) -> bool:
    sides = [extent for extent in tensor.shape if extent != 1]
    return tensor.is_floating_point() and len(sides) == 1 and sides[0] > 1
