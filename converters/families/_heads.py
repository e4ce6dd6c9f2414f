"""Family ``propagate`` for a network with several outputs: one run of it, and a map of each.

A head is a map of labels or a matte. Its tensor is ``labels`` for the first and ``labels_NAME`` for others,
``matte`` for the first matte and ``matte_NAME`` for others. A network of mattes alone gives ``labels`` too:
foreground is where the first matte is above one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edge_vss.bundle import HeadSpec, MotionSpec, StateSpec, TensorSpec
from edge_vss.classes import ClassSet
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.families._maps import CELL_PX, to_labels, to_size
from edge_vss.converters.ops.warp import nearest_sources, on_grid, warp_scores
from edge_vss.converters.values import Chain, Network, NetworkHead, Part, Split
from edge_vss.errors import OptionError
from edge_vss.runtimes.operations.warp_labels import NAME as WARP_LABELS
from edge_vss.video import Size

HALF = 128
FOREGROUND = ClassSet(("background", "foreground"), ((0, 0, 0), (0, 200, 80)), None)
"""What is told apart where there are mattes alone."""


@dataclass(frozen=True)
class Carried:
    """One map, and what of it moves along the motion."""

    kind: str
    """What the network gives: ``scores``, ``labels`` or ``matte``."""
    size: Size
    """Of the map that is shown."""
    shown: str
    """Its tensor."""
    carried: TensorSpec
    """In the state: uint8 like what is shown, or float32 like what the network gives."""
    values: TensorSpec | None
    """What the network gives, where that is numbers and not class ids."""

    def show(self, values: Tensor) -> Tensor:
        """What the network gives → the map, uint8 (1, H, W)."""
        if self.kind == "scores":
            return to_labels(values, self.size)
        return to_size(values, self.size) if self.kind == "labels" else to_matte(values, self.size)


def split_heads(network: Network, conversion: Conversion, notes: dict[str, Any]) -> Split:
    """Split a network that is loaded already into ``key`` and ``state``. Raises OptionError for an option."""
    carry = str(conversion.options.get("carry", "labels"))
    if carry not in ("labels", "scores"):
        raise OptionError(f"--carry {carry!r}: choose labels or scores")
    if conversion.logits:
        raise OptionError("--logits gives the scores of one output: leave it out, or name one output")
    if carry == "scores" and all(head.output.name == "labels" for head in network.heads):
        raise OptionError("the model gives label maps, so there are no scores to carry: use --carry labels")
    size = network.size
    heads, maps = _described(network, carry)
    floats = [each.carried for each in maps if each.carried.dtype == "float32"]
    grid = floats[0].shape[2:] if floats else tuple(math.ceil(extent / CELL_PX) for extent in size)
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    shown = tuple(TensorSpec(head.tensor, (1, *size), "uint8") for head in heads)
    carried = tuple(each.carried for each in maps)
    check = (TensorSpec("score_check", (1,), "float32"),) if any(each.values for each in maps) else ()
    hidden = tuple(each.values for each in maps if each.values and each.values != each.carried)
    derived = len(heads) > len(maps)
    return Split(
        parts=(
            Part(
                "key",
                Chain(network.before, network.model, network.after, ShowHeads(maps, derived)),
                (TensorSpec("image", (1, *size, 3), "uint8"),),
                (*shown, *carried, *check),
                hidden,
            ),
            Part(
                "state",
                CarryHeads(maps, derived),
                (*carried, motion),
                shown,
                operation="" if floats or derived else WARP_LABELS,
            ),
        ),
        state=tuple(StateSpec(spec.name, spec.shape, spec.dtype, 0.0) for spec in carried),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        motion=MotionSpec((grid[0], grid[1])),
        options={"carry": carry, "logits": False},
        size=size,
        source=network.source,
        notes=notes,
        classes=ClassSet(heads[0].classes, heads[0].palette, heads[0].ignore),
        heads=heads,
    )


def _described(network: Network, carry: str) -> tuple[tuple[HeadSpec, ...], tuple[Carried, ...]]:
    """The heads as the manifest has them, and what is carried of each that the network gives."""
    first = {"labels": True, "matte": True}
    heads, maps = [], []
    for head in network.heads:
        kind = "matte" if head.classes is None else "labels"
        tensor = kind if first[kind] else f"{kind}_{head.name}"
        first[kind] = False
        heads.append(_spec(head, tensor, kind))
        maps.append(_carried(head, tensor, network.size, carry))
    if first["labels"]:
        name = "labels" if network.heads[0].name.casefold() == "foreground" else "foreground"
        heads.insert(0, HeadSpec(name, "labels", "labels", FOREGROUND.names, FOREGROUND.palette, None))
    return tuple(heads), tuple(maps)


def _spec(head: NetworkHead, tensor: str, kind: str) -> HeadSpec:
    if head.classes is None:
        return HeadSpec(head.name, tensor, kind)
    return HeadSpec(head.name, tensor, kind, head.classes.names, head.classes.palette, head.classes.ignore)


def _carried(head: NetworkHead, tensor: str, size: Size, carry: str) -> Carried:
    kind = head.output.name
    # ``scores`` and ``scores_lane``; a matte's own numbers are ``values_matte``.
    name = f"values_{tensor}" if kind == "matte" else f"scores{tensor.removeprefix('labels')}"
    values = None if kind == "labels" else TensorSpec(name, head.output.shape, "float32")
    bytes_ = TensorSpec(f"key_{tensor}", (1, *size), "uint8")
    return Carried(kind, size, tensor, values if values and carry == "scores" else bytes_, values)


class ShowHeads(torch.nn.Module):
    """What the network gives → the outputs of ``key``, in the order of its part."""

    def __init__(self, maps: tuple[Carried, ...], derived: bool) -> None:
        super().__init__()
        self.maps, self.derived = maps, derived

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        pairs = list(zip(self.maps, given, strict=True))
        shown = [each.show(values) for each, values in pairs]
        carried = [
            values if each.carried == each.values else out.clone()
            for (each, values), out in zip(pairs, shown, strict=True)
        ]
        numbers = [values for each, values in pairs if each.values]
        hidden = [values for each, values in pairs if each.values and each.values != each.carried]
        sums = [values.sum().reshape(1) for values in numbers]
        check = [sums[0] if len(sums) == 1 else torch.cat(sums).sum().reshape(1)] if sums else []
        return (*_with_foreground(shown, self.derived), *carried, *check, *hidden)


class CarryHeads(torch.nn.Module):
    """What is carried of every map, and the motion → the maps."""

    def __init__(self, maps: tuple[Carried, ...], derived: bool) -> None:
        super().__init__()
        self.maps, self.derived = maps, derived

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        *carried, motion = tensors
        sources: Tensor | None = None
        shown = []
        for each, values in zip(self.maps, carried, strict=True):
            if each.carried.dtype == "float32":
                grid = (int(values.shape[2]), int(values.shape[3]))
                shown.append(each.show(warp_scores(values, on_grid(motion, grid))))
                continue
            # All maps of the frame's size come from the same places.
            sources = nearest_sources(motion, each.size) if sources is None else sources
            shown.append(torch.gather(values.reshape(-1), 0, sources).reshape(1, *each.size))
        return _with_foreground(shown, self.derived)


def _with_foreground(shown: list[Tensor], derived: bool) -> tuple[Tensor, ...]:
    foreground = [(shown[0] >= HALF).to(torch.uint8)] if derived else []
    return (*foreground, *shown)


def to_matte(values: Tensor, size: Size) -> Tensor:
    """A matte float32 (1, 1, h, w), 0 to 1 → uint8 (1, H, W), 0 to 255; bilinear in between."""
    if tuple(values.shape[2:]) != size:
        values = F.interpolate(values, size, mode="bilinear", align_corners=False)
    return (values.clamp(0.0, 1.0) * 255 + 0.5).floor().to(torch.uint8).squeeze(1)
