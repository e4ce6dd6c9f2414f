"""The values that pass between the steps of a conversion: what is asked, loaded, and made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edge_vss.bundle import MotionSpec, StateSpec, TensorSpec
from edge_vss.classes import ClassSet
from edge_vss.errors import OptionError
from edge_vss.video import Size


@dataclass(frozen=True)
class Preprocess:
    """What the network expects of its pixels: (pixel · scale − mean) / std, in its own channel order.

    ``pixel`` is 0 to 255. ``mean`` and ``std`` are in units after the scale: with the default 1/255 they are
    what torchvision calls them (0.485, ...); means like 123.675 belong to scale 1.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255
    bgr: bool = False
    """True when the network was trained on BGR pictures (OpenCV): channels are swapped first."""

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise OptionError(
                f"--mean {self.mean} and --std {self.std}: give three numbers each, one per channel"
            )
        if not self.scale > 0 or not all(value > 0 for value in self.std):
            raise OptionError(f"--std {self.std} with --scale {self.scale:g}: all have to be above 0")
        if max(self.mean) > 255 * self.scale:
            raise OptionError(
                f"--mean {self.mean} is beyond the brightest pixel, {255 * self.scale:g} after --scale "
                f"{self.scale:g}: means from 0 to 255 want --scale 1"
            )


@dataclass(frozen=True)
class Request:
    """What the user asked a conversion for."""

    classes: ClassSet | None
    """None leaves them to the family, where a variant has its own."""
    logits: bool = False
    """Every route also outputs ``logits``, float32 (1, C, h, w)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the family, by name; a family refuses those it does not know."""


class Chain(torch.nn.Module):
    """Modules one after the other, each fed with what the one before gives.

    A stage may be a ``GivenNetwork``, which torch can run but not trace: a target exports the stages around
    it and puts the given graph between them.
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
class Source:
    """The model file and how the user wants it understood; None is what they left out."""

    path: Path | None
    """None builds the network without trained weights, to learn how fast it is."""
    size: Size | None = None
    """Height and width of the pictures the network takes."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None
    bgr: bool = False
    factory: str | None = None
    """``file.py:function`` that builds the network of a state dict."""
    output_name: str | None = None
    trust_pickle: bool = False

    def preprocess(self) -> Preprocess:
        """What the network expects of its pixels. Raises OptionError for numbers that cannot be right."""
        given: dict[str, Any] = {"bgr": self.bgr}
        if self.mean is not None:
            given["mean"] = tuple(float(value) for value in self.mean)
        if self.std is not None:
            given["std"] = tuple(float(value) for value in self.std)
        if self.scale is not None:
            given["scale"] = float(self.scale)
        return Preprocess(**given)


@dataclass(frozen=True)
class Network:
    """A trained model, loaded, checked, and wrapped so that it takes ``image`` and gives scores or labels."""

    before: torch.nn.Module
    """``image`` uint8 (1, H, W, 3) → what the model takes."""
    model: torch.nn.Module
    """The trained model, giving the one output that was chosen."""
    after: torch.nn.Module
    """That output → scores float32 (1, C, h, w), or labels uint8 (1, h, w)."""
    output: TensorSpec
    """What ``after`` gives: ``scores`` or ``labels``."""
    size: Size
    source: dict[str, str]
    """Name and SHA-256 of the file."""
    notes: dict[str, str]
    """How the file was understood (its kind, the output chosen, ...), kept in the manifest."""


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
    """A model split by a family: the plugin function ``split(source, request)`` of a family gives one."""

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

    def part(self, role: str) -> Part:
        return next(part for part in self.parts if part.role == role)


def spec(name: str, tensor: torch.Tensor) -> TensorSpec:
    """The TensorSpec of a tensor."""
    return TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
