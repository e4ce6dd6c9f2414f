"""What to convert, and how: one value, which the command line and Python users make alike."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import TypeAlias, TypeVar

from edge_vss import classes as class_sets
from edge_vss.classes import ClassSet
from edge_vss.errors import OptionError
from edge_vss.files import path_of, sha256
from edge_vss.video import Size

T = TypeVar("T")
Classes: TypeAlias = str | int | Path | Sequence[str] | ClassSet


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
        if not all(math.isfinite(value) for value in self.mean):
            raise OptionError(f"--mean {self.mean}: give three numbers that are finite")
        if not all(0 < value < math.inf for value in (self.scale, *self.std)):
            raise OptionError(f"--std {self.std} with --scale {self.scale:g}: all have to be above 0")
        if max(self.mean) > 255 * self.scale:
            raise OptionError(
                f"--mean {self.mean} is beyond the brightest pixel, {255 * self.scale:g} after --scale "
                f"{self.scale:g}: means from 0 to 255 want --scale 1"
            )
        if 0 < max(self.mean) <= 1 <= self.scale:
            raise OptionError(
                f"--mean {self.mean} is no brighter than the darkest pixel but black, with --scale "
                f"{self.scale:g}: means from 0 to 1 want --scale {1 / 255:.4g}"
            )


@dataclass(frozen=True)
class Conversion:
    """A trained model, how it is to be understood, and what it is to become.

        Conversion("weights.pt", classes="camvid", size=(360, 480), factory="network.py:build")
        Conversion("low.pth", family="arseg", options={"variant": "camvid-bise18", "high": "high.pth"})

    None is what is left to the file, to the family or to the target.
    """

    model: str | Path | None = None
    """The model's file or folder. None: the network gets no trained weights, to learn how fast it is, unless
    ``own_weights``."""
    classes: Classes | Mapping[str, Classes] | None = None
    """A class set, a list of names, or what names one: a known name, a file of names, or a number of classes.
    A mapping gives each of several outputs its own, by what ``output_name`` calls it."""
    size: Size | None = None
    """(H, W) of the pictures that the network takes; frames of other sizes are scaled to it."""
    fit: str = "stretch"
    """How a frame of another shape is brought to that size: ``stretch``, ``letterbox`` or ``crop``."""
    factory: str | None = None
    """``file.py:function`` or ``package.module:function`` that builds the network of a state dict. It may
    have arguments, which are Python literals: ``net.py:ESPNet(p=2, q=8)``."""
    own_weights: bool = False
    """Without a model: the factory gives a trained network, which keeps its weights."""
    weights_key: str | None = None
    """Which of several sets of weights in a checkpoint: a key as ``state_dict_ema``, or a prefix."""
    output_name: str | Sequence[str] | None = None
    """Which of several outputs, by name or index. Of a list, each gives a label map of its own."""
    matte: str | Sequence[str] | None = None
    """Outputs that say how much of each pixel is foreground, one channel of 0 to 1, by name or index. They
    are kept as mattes, uint8 0 to 255."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None
    bgr: bool | None = None
    """These four say what the network expects of its pixels (``Preprocess``). ``mean`` and ``std`` are in the
    order of the network's channels: with ``bgr``, blue first."""
    trust_pickle: bool = False
    """Open a pickled module, which runs code that the file brings."""
    family: str = "propagate"
    """How the model is split into graphs."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of the family, by name. ``edge-vss convert --family NAME --help`` lists them."""
    logits: bool = False
    """Every route also gives ``logits``, float32 (1, C, h, w)."""
    policy: str | None = None
    """The bundle's default policy; None is the family's."""
    target: str | None = None
    """``onnx``, ``openvino`` or ``tflite``; None is what an artifact already is, and else ``onnx``."""
    precision: str = "fp32"
    """``fp32``, ``fp16`` (weights only) or ``int8``."""
    calibrate: str | Path | None = None
    """The video that ``int8`` is fitted to, and measured on at other frames."""
    keep_float: tuple[str, ...] = ()
    """Layers that ``int8`` leaves alone, by the names that ``float_layers`` of the manifest has, or patterns
    (``key/head.*``). ``auto`` finds those that cost most, by trying."""
    ground_truth: str | Path | None = None
    """A folder of label maps of that video, to record what ``int8`` loses against them."""
    match: str = "auto"
    """How those maps are matched with frames: see `GroundTruth`."""
    ignore: int | None = None
    """The id in those maps that counts for nothing."""

    def __post_init__(self) -> None:
        """Raises OptionError for values that are no sizes and no numbers."""
        if self.size is not None:
            object.__setattr__(self, "size", _size(self.size))
        for name in ("mean", "std"):
            if (values := getattr(self, name)) is not None and not _are_numbers(values):
                raise OptionError(f"--{name} {values!r}: give three numbers, one per channel")
        if self.scale is not None and not _are_numbers((self.scale,)):
            raise OptionError(f"--scale {self.scale!r}: give a number, such as 0.00392")

    @property
    def path(self) -> Path | None:
        """The model's place."""
        return None if self.model is None else path_of(self.model, "the model")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What ``output_name`` names."""
        return _listed(self.output_name)

    @property
    def mattes(self) -> tuple[str, ...]:
        """What ``matte`` names."""
        return _listed(self.matte)

    @property
    def class_set(self) -> ClassSet | None:
        """The classes, of several outputs those of the first; None leaves them to the family. Raises
        OptionError for a set that is not known."""
        if isinstance(self.classes, Mapping) and not self.outputs:
            raise OptionError(
                f"--classes {next(iter(self.classes), '')}=... names an output: name it with --output too"
            )
        return self.classes_of(next(iter(self.outputs), ""))

    def classes_of(self, output: str) -> ClassSet | None:
        """The classes of one of several outputs, as ``outputs`` calls it; None where nothing is said."""
        return _found(self.classes.get(output) if isinstance(self.classes, Mapping) else self.classes)

    @property
    def several(self) -> bool:
        """Whether a bundle with heads is asked for: of several outputs, or of a matte."""
        return len(self.outputs) > 1 or bool(self.mattes)

    def option(self, name: str, kind: type[T]) -> T | None:
        """An option of the family, None where it was left out. Its type has been checked before."""
        value = self.options.get(name)
        return value if isinstance(value, kind) else None

    def preprocess(self, known: Preprocess | None = None) -> Preprocess:
        """What the network expects of its pixels; ``known`` is what its own files say, for all that the user
        left out. Raises OptionError for numbers that cannot be right."""
        usual = known or Preprocess()
        return Preprocess(
            usual.mean if self.mean is None else tuple(float(value) for value in self.mean),
            usual.std if self.std is None else tuple(float(value) for value in self.std),
            usual.scale if self.scale is None else float(self.scale),
            usual.bgr if self.bgr is None else self.bgr,
        )


def _listed(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _found(classes: Classes | None) -> ClassSet | None:
    if classes is None or isinstance(classes, ClassSet):
        return classes
    if isinstance(classes, (str, Path)) or hasattr(classes, "__index__"):
        return class_sets.find(str(classes))
    if not isinstance(classes, Iterable) or not (names := [str(name) for name in classes]):
        raise OptionError(f"classes {classes!r}: give a set's name, a file of names, names, or how many")
    return class_sets.from_names(names)


def _size(size: object) -> Size:
    """Height and width as plain numbers; NumPy's are taken too."""
    try:
        height, width = (index(extent) for extent in size)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise OptionError(f"size {size!r}: give height and width in pixels, as in (360, 480)") from None
    return height, width


def _are_numbers(values: object) -> bool:
    try:
        [float(value) for value in values]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return False
    return True


def fingerprint(path: Path) -> str:
    """The SHA-256 of a model: of its file, or of the names and contents of all files in its folder."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{sha256(file)} {file.relative_to(path).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
