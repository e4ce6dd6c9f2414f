"""Family ``propagate``: any image model on key frames, its result carried along the motion in between.

Routes: start and key run ``key`` (image → labels and the carried tensor), nonkey runs ``state`` (carried
tensor and motion → labels). The carried tensor always belongs to the anchor, so errors of the warp do not
pile up.

``carry`` is ``labels`` (``key_labels``, uint8 at the frame's size, nearest), ``scores`` (float32 at the
network's output resolution, bilinear, upsampled and argmaxed afterwards) or ``masks`` (of a network that
answers with masks and their classes: masks at their own resolution, bilinear; classes are mixed afterwards).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from edge_vss.bundle import MotionSpec, StateSpec, TensorSpec
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.families import FamilyDescription, FamilyOption
from edge_vss.converters.families._heads import split_heads
from edge_vss.converters.families._maps import CELL_PX as CELL_PX
from edge_vss.converters.families._maps import to_labels as to_labels
from edge_vss.converters.families._maps import to_size
from edge_vss.converters.ops.segments import mixed
from edge_vss.converters.ops.warp import warp_labels, warp_scores
from edge_vss.converters.readers._factory import parsed
from edge_vss.converters.readers._load import load_network
from edge_vss.converters.readers._transformers import Queries
from edge_vss.converters.values import Chain, Network, Part, Split, spec
from edge_vss.errors import OptionError
from edge_vss.runtimes.operations.warp_labels import NAME as WARP_LABELS
from edge_vss.text import whole
from edge_vss.video import Size

DEFAULT_CARRY = "labels"

DESCRIPTION = FamilyDescription(
    "any single-image network; labels or scores move along the motion",
    (FamilyOption("carry", str, "What moves along in between: labels, scores or masks.", "NAME"),),
    heads=True,
)


def split(conversion: Conversion) -> Split:
    """Split a model into ``key`` and ``state``. Raises ModelError, or OptionError for an option.

    Option: ``carry``.
    """
    network = load_network(conversion)
    # Enough for `verify` to load the model in the same way. The factory's folder is this machine's own
    # business.
    notes: dict[str, Any] = {**network.notes, "preprocess": _plain(network.preprocess)}
    if conversion.factory:
        notes["factory"] = whole(parsed(conversion.factory).shown)
    if conversion.path is None:
        notes["own_weights" if conversion.own_weights else "untrained"] = True
    return split_network(network, conversion, notes)


def _plain(prepare: Preprocess) -> dict[str, Any]:
    return {**asdict(prepare), "mean": list(prepare.mean), "std": list(prepare.std)}


def split_network(network: Network, conversion: Conversion, notes: dict[str, Any]) -> Split:
    """Split a network that is loaded already."""
    if conversion.several:
        return split_heads(network, conversion, notes)
    gives_scores = network.output.name == "scores"
    usual = "scores" if conversion.logits else DEFAULT_CARRY if gives_scores else "labels"
    carry = str(conversion.options.get("carry", usual))
    if carry not in ("labels", "scores", "masks"):
        raise OptionError(f"--carry {carry!r}: choose labels, scores or masks")
    if carry == "masks":
        return _split_masks(network, conversion, notes)
    if not gives_scores and (carry == "scores" or conversion.logits):
        raise OptionError(
            "the model gives label maps, so there are no scores to carry or to output: use --carry labels"
        )
    if conversion.logits and carry == "labels":
        raise OptionError("--logits needs scores on every frame: use --carry scores")

    height, width = network.size
    image = TensorSpec("image", (1, height, width, 3), "uint8")
    labels = TensorSpec("labels", (1, height, width), "uint8")
    check = (TensorSpec("score_check", (1,), "float32"),) if gives_scores else ()
    logits = (TensorSpec("logits", network.output.shape, "float32"),) if conversion.logits else ()
    if carry == "scores":
        carried: TensorSpec = network.output
        hidden: tuple[TensorSpec, ...] = ()
        grid = (carried.shape[2], carried.shape[3])
    else:
        carried, hidden = (
            TensorSpec("key_labels", labels.shape, "uint8"),
            (network.output,) if gives_scores else (),
        )
        grid = (math.ceil(height / CELL_PX), math.ceil(width / CELL_PX))
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    head = ScoresHead(network.size, carry, conversion.logits) if gives_scores else LabelsHead(network.size)
    follow = CarryScores(network.size, conversion.logits) if carry == "scores" else CarryLabels()
    return Split(
        parts=(
            Part(
                "key",
                Chain(network.before, network.model, network.after, head),
                (image,),
                (labels, carried, *logits, *check),
                hidden,
            ),
            Part(
                "state",
                follow,
                (carried, motion),
                (labels, *logits),
                operation=WARP_LABELS if carry == "labels" else "",
            ),
        ),
        state=(StateSpec(carried.name, carried.shape, carried.dtype, 0.0),),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        motion=MotionSpec(grid),
        options={"carry": carry, "logits": conversion.logits},
        size=network.size,
        source=network.source,
        notes=notes,
        classes=network.classes,
    )


def _split_masks(network: Network, conversion: Conversion, notes: dict[str, Any]) -> Split:
    queries = next((module for module in network.model.modules() if isinstance(module, Queries)), None)
    if queries is None:
        raise OptionError(
            "--carry masks: the model does not answer with masks and the class of each, as folders of "
            "Mask2Former and MaskFormer do: carry labels or scores"
        )
    head = MasksHead(network.before, queries, network.size)
    image = TensorSpec("image", (1, *network.size, 3), "uint8")
    with torch.no_grad():
        found = head(torch.zeros(image.shape, dtype=torch.uint8))
    labels, masks, classes, check, scores = (
        spec(name, value)
        for name, value in zip(("labels", "masks", "classes", "score_check", "scores"), found, strict=True)
    )
    logits = (TensorSpec("logits", scores.shape, scores.dtype),) if conversion.logits else ()
    grid = (masks.shape[2], masks.shape[3])
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    return Split(
        parts=(
            Part(
                "key", head, (image,), (labels, masks, classes, check, *logits), () if logits else (scores,)
            ),
            Part(
                "state",
                CarryMasks(network.size, conversion.logits),
                (masks, classes, motion),
                (labels, *logits),
            ),
        ),
        state=tuple(StateSpec(part.name, part.shape, part.dtype, 0.0) for part in (masks, classes)),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        motion=MotionSpec(grid),
        options={"carry": "masks", "logits": conversion.logits},
        size=network.size,
        source=network.source,
        notes=notes,
        classes=network.classes,
    )


class MasksHead(torch.nn.Module):
    """Image → labels, masks, classes, the sum of the scores, and the scores."""

    def __init__(self, before: torch.nn.Module, queries: Queries, size: Size) -> None:
        super().__init__()
        self.before, self.queries, self.size = before, queries, size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        masks, classes = self.queries.found(self.before(image))
        scores = mixed(masks, classes)
        return to_labels(scores, self.size), masks, classes, scores.sum().reshape(1), scores


class CarryMasks(torch.nn.Module):
    """Masks, classes and motion → labels, and the scores of the moved masks as ``logits`` if asked for."""

    def __init__(self, size: Size, logits: bool) -> None:
        super().__init__()
        self.size, self.logits = size, logits

    def forward(self, masks: Tensor, classes: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        scores = mixed(warp_scores(masks, motion), classes)
        return to_labels(scores, self.size), *((scores,) if self.logits else ())


class ScoresHead(torch.nn.Module):
    """Scores float32 (1, C, h, w) → the outputs of ``key``, in the order of its part."""

    def __init__(self, size: Size, carry: str, logits: bool) -> None:
        super().__init__()
        self.size, self.carry, self.logits = size, carry, logits

    def forward(self, scores: Tensor) -> tuple[Tensor, ...]:
        labels = to_labels(scores, self.size)
        check = scores.sum().reshape(1)
        if self.carry == "labels":
            return labels, labels.clone(), check, scores
        return labels, scores, *((scores.clone(),) if self.logits else ()), check


class LabelsHead(torch.nn.Module):
    """Labels uint8 (1, h, w) → labels at the frame's size, twice: to show and to carry."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        labels = to_size(labels, self.size)
        return labels, labels.clone()


class CarryLabels(torch.nn.Module):
    """Key labels and motion → labels."""

    def forward(self, key_labels: Tensor, motion: Tensor) -> Tensor:
        return warp_labels(key_labels, motion)


class CarryScores(torch.nn.Module):
    """Scores and motion → labels, and the warped scores as ``logits`` if asked for."""

    def __init__(self, size: Size, logits: bool) -> None:
        super().__init__()
        self.size, self.logits = size, logits

    def forward(self, scores: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        warped = warp_scores(scores, motion)
        return to_labels(warped, self.size), *((warped,) if self.logits else ())
