"""The values that pass between the steps of a conversion: what is loaded, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edge_vss.bundle import HeadSpec, MotionSpec, StateSpec, TensorSpec
from edge_vss.classes import ClassSet
from edge_vss.converters.conversion import Preprocess
from edge_vss.video import Size


class Chain(torch.nn.Module):
    """Modules one after the other, each fed with what the one before gives.

    A stage may be an ``ArtifactNetwork``, which torch can run but not trace. A target exports the stages
    before and after it, and puts the artifact between them.
    """

    def __init__(self, *stages: torch.nn.Module) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList(stages)

    def forward(self, *tensors: torch.Tensor) -> Any:
        values: Any = tensors
        for stage in self.stages:
            values = stage(*values) if isinstance(values, tuple) else stage(values)
        return values


@dataclass(frozen=True)
class NetworkHead:
    """One of the maps that a network gives."""

    name: str
    """Its output's, as a folder may be called."""
    output: TensorSpec
    """``scores``, ``labels`` or ``matte``."""
    classes: ClassSet | None
    """None for a matte."""


@dataclass(frozen=True)
class Network:
    """A trained model, loaded, checked, and wrapped so that it takes ``image`` and gives scores or labels."""

    before: torch.nn.Module
    """``image`` uint8 (1, H, W, 3) → what the model takes."""
    model: torch.nn.Module
    """The trained model, giving the output that was chosen, or several in order as a tuple."""
    after: torch.nn.Module
    """Each of them → scores float32 (1, C, h, w), labels uint8 (1, h, w), or a matte float32 (1, 1, h, w)."""
    heads: tuple[NetworkHead, ...]
    """What ``after`` gives, in order."""
    size: Size
    source: dict[str, str]
    """Name and SHA-256 of the file."""
    notes: dict[str, Any]
    """How the file was understood (its kind, the output chosen, ...), kept in the manifest."""
    preprocess: Preprocess
    """What the model is given of every pixel."""

    @property
    def output(self) -> TensorSpec:
        """What ``after`` gives first."""
        return self.heads[0].output

    @property
    def classes(self) -> ClassSet:
        """Of the first of them."""
        assert self.heads[0].classes is not None
        return self.heads[0].classes


@dataclass(frozen=True)
class Part:
    """One graph to export: a module with named tensors in and out, in order."""

    role: str
    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    hidden: tuple[TensorSpec, ...] = ()
    """Given after ``outputs`` by the module. In the artifact they are no outputs, but keep their names for
    ``verify``."""
    gmac: float | None = None
    """Cost where the exported graph does not show it (tiles that overlap); None counts the graph."""
    operation: str = ""
    """The standard operation that it is, if any: see docs/bundle.md."""

    def zeros(self) -> tuple[torch.Tensor, ...]:
        """Inputs to export with: of the right shapes and dtypes, and all 0."""
        return tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in self.inputs)


@dataclass(frozen=True)
class Artifact:
    """What a target has written of one part."""

    role: str
    file: str
    """Path relative to the bundle."""
    gmac: float
    """Counted on the exported graph."""
    data: str = ""
    """A second file that ``file`` finds by its name."""


@dataclass(frozen=True)
class Split:
    """A model split by a family: what a family's function ``split`` gives."""

    parts: tuple[Part, ...]
    state: tuple[StateSpec, ...]
    routes: dict[str, tuple[str, ...]]
    motion: MotionSpec | None
    options: dict[str, Any]
    """The family's options with their final values."""
    size: Size
    """Height and width of ``image``."""
    source: dict[str, str]
    """Name and SHA-256 of the model file."""
    notes: dict[str, Any]
    """How the file was understood: enough for ``verify`` to read it in the same way."""
    classes: ClassSet
    policy: str = "interval:5"
    """The bundle's policy where the user names none."""
    heads: tuple[HeadSpec, ...] = ()
    """The maps that every route gives, where they are several; the first has ``classes``."""

    def part(self, role: str) -> Part:
        return next(part for part in self.parts if part.role == role)


def spec(name: str, tensor: torch.Tensor) -> TensorSpec:
    """The TensorSpec of a tensor."""
    return TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
