"""Family ``tv3s``: state-space modules carry what was seen from frame to frame, window by window.

Routes: start and key run ``key`` (image → feature) and ``state`` (feature and hidden state → labels and the
next hidden state). That is the paper's network (Algorithm 1), with the policy ``interval:1``. Any other
policy skips the encoder in between: nonkey runs ``nonkey``, which moves what ``carry`` says along the motion.

``carry`` is ``seen`` (what the modules made of the last full frame: only the classifier runs again, and the
hidden state waits) or ``feature`` (what went into them: ``state`` runs again, its windows in their place).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from edge_vss import classes as class_sets
from edge_vss.bundle import MotionSpec, StateSpec, TensorSpec
from edge_vss.classes import ClassSet
from edge_vss.converters import cost
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.families import FamilyDescription, FamilyOption
from edge_vss.converters.families import _checkpoints as checkpoints
from edge_vss.converters.families import _variants as variants
from edge_vss.converters.networks import mit, swin
from edge_vss.converters.networks.tv3s import (
    AUXILIARY,
    DIM,
    INNER,
    LAYERS,
    STATES,
    TAPS,
    TV3S,
    WINDOW,
    Memory,
)
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.selective_scan import macs
from edge_vss.converters.ops.warp import warp_cells
from edge_vss.converters.values import Part, Split
from edge_vss.errors import ModelError, OptionError
from edge_vss.video import Size

POLICY = "interval:1"
CARRIES = ("seen", "feature")
BACKBONES = dict.fromkeys(mit.VARIANTS, mit.MiT) | dict.fromkeys(swin.VARIANTS, swin.Swin)
PREPARE = Preprocess((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1.0)
MULTIPLE = 32
"""Published pictures are stretched to multiples of it."""
CLASSIFIER = "decode_head.linear_pred2.weight"
CITYSCAPES = 19
SIZES: dict[int, Size] = {CITYSCAPES: (512, 1024)}
"""Number of classes → size of the data set's pictures; VSPW's otherwise."""
VSPW: tuple[int, Size] = (124, (480, 864))

DESCRIPTION = FamilyDescription(
    "TV3S: state-space modules carry what was seen from frame to frame",
    (
        FamilyOption("variant", str, "Which network of the family.", "NAME"),
        FamilyOption("window", int, "Side of the windows, in positions; even.", "R"),
        FamilyOption("carry", str, "What moves along in between: seen or feature.", "NAME"),
    ),
)


def split(conversion: Conversion) -> Split:
    """The graphs of a variant. Options: ``variant``, ``window``, ``carry``.

    Raises OptionError, or ModelError where the file does not fit.
    """
    name = conversion.option("variant", str)
    backbone = variants.find("tv3s", {**mit.VARIANTS, **swin.VARIANTS}, name)
    variants.fixed(conversion, str(name))
    carry = variants.carried("tv3s", conversion.options, CARRIES)
    window = variants.whole(
        conversion.options.get("window", WINDOW), "--window", 2, 200, "an even width of the windows"
    )
    if window % 2:
        raise OptionError(
            f"--window {window}: every second layer is shifted by half of it, so give an even one"
        )
    found = {} if conversion.path is None else checkpoints.tidied(conversion.path, {}, AUXILIARY)
    class_set = _classes(conversion.class_set, found, conversion.path)
    size = _size(conversion.size or SIZES.get(len(class_set), VSPW[1]))
    network = TV3S(BACKBONES[str(name)](backbone), len(class_set), window)  # type: ignore[arg-type]
    notes = checkpoints.filled(network, conversion.path, found, str(name))
    net = _Net(network, size, conversion.logits)
    parts, state = _parts(net, carry, len(class_set))
    return Split(
        parts=parts,
        state=state,
        routes={
            "start": ("key", "state"),
            "key": ("key", "state"),
            "nonkey": ("nonkey",) if carry == "seen" else ("nonkey", "state"),
        },
        motion=MotionSpec(net.grid),
        options={"variant": name, "window": window, "carry": carry, "logits": conversion.logits},
        size=size,
        source=notes.pop("source"),
        notes=notes,
        classes=class_set,
        policy=POLICY,
    )


def _parts(net: _Net, carry: str, classes: int) -> tuple[tuple[Part, ...], tuple[StateSpec, ...]]:
    image = TensorSpec("image", (1, *net.size, 3), "uint8")
    motion = TensorSpec("motion", (1, 2, *net.grid), "float32")
    feature = TensorSpec("feature", (1, *net.grid, DIM), "float32")
    anchor = TensorSpec("anchor", feature.shape, "float32")
    scores = TensorSpec("scores", (1, classes, *net.grid), "float32")
    shown, hidden = variants.outputs(net.size, scores, net.logits)
    memory = []
    for parity, count in zip(("even", "odd"), net.network.windows(net.size), strict=True):
        memory.append(TensorSpec(f"ssm_{parity}", (LAYERS // 2, count, STATES, INNER), "float32"))
        memory.append(TensorSpec(f"tail_{parity}", (LAYERS // 2, TAPS - 1, count, INNER), "float32"))
    following = [TensorSpec(f"{spec.name}_next", spec.shape, "float32") for spec in memory]
    encoded, remembered, classified = net.macs(classes)
    seen = carry == "seen"
    parts = (
        Part("key", Encode(net, not seen), (image,), (feature, *(() if seen else (anchor,))), gmac=encoded),
        Part(
            "state",
            Remember(net, seen),
            (feature, *memory),
            (*shown, *following, *((anchor,) if seen else ())),
            hidden,
            remembered + classified,
        ),
        Part("nonkey", Classify(net), (anchor, motion), (*shown,), hidden, classified)
        if seen
        else Part("nonkey", Move(), (anchor, motion), (feature,), gmac=0.0),
    )
    state = [StateSpec(spec.name, spec.shape, spec.dtype, 0.0, f"{spec.name}_next") for spec in memory]
    return parts, (*state, StateSpec("anchor", anchor.shape, "float32"))


class _Net(torch.nn.Module):
    """What the graphs share: the network with its frame."""

    def __init__(self, network: TV3S, size: Size, logits: bool) -> None:
        super().__init__()
        self.network = network
        self.prepare = Normalize(PREPARE)
        self.size, self.grid, self.logits = size, network.grid(size), logits

    def shown(self, seen: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Labels, the sum of the scores, and the scores: where they are wanted, or else behind the rest."""
        scores = self.network.classify(seen.permute(0, 3, 1, 2))
        quarter = (-(-self.size[0] // 4), -(-self.size[1] // 4))
        larger = bilinear(scores, quarter, align_corners=False)
        labels = bilinear(larger, self.size, align_corners=False).argmax(1).to(torch.uint8)
        check = scores.sum().reshape(1)
        return ((labels, check, scores), ()) if self.logits else ((labels, check), (scores,))

    def macs(self, classes: int) -> tuple[float, float, float]:
        """GMAC of the encoder with its fusion, of the state-space modules, and of the classifier."""
        tokens = self.grid[0] * self.grid[1]
        encoded = cost.products(self.network.feature, (1, 3, *self.size))
        names = ("in_proj", "conv1d", "x_proj", "dt_proj", "out_proj")
        each = {
            name: self.network.decode_head.get_parameter(f"vs.layers.0.mixer.{name}.weight") for name in names
        }
        layer = tokens * sum(weight.numel() for weight in each.values()) + macs(tokens, INNER, STATES)
        return encoded, LAYERS * layer / 1e9, tokens * DIM * classes / 1e9


class Encode(torch.nn.Module):
    """Image → feature (1, h, w, 256), twice where it is also carried."""

    def __init__(self, net: _Net, twice: bool) -> None:
        super().__init__()
        self.net, self.twice = net, twice

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        feature = self.net.network.feature(self.net.prepare(image)).permute(0, 2, 3, 1).contiguous()
        return (feature, feature.clone()) if self.twice else feature


class Remember(torch.nn.Module):
    """Feature and hidden state → labels, the sum of the scores, the next hidden state, and what was seen."""

    def __init__(self, net: _Net, carried: bool) -> None:
        super().__init__()
        self.net, self.carried = net, carried

    def forward(self, feature: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        seen, after = self.net.network.remember(feature, layers(memory))
        shown, hidden = self.net.shown(seen)
        return (*shown, *tensors(after), *((seen,) if self.carried else ()), *hidden)


class Classify(torch.nn.Module):
    """What was seen, and motion → labels, the sum of the scores, and the scores."""

    def __init__(self, net: _Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, anchor: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        shown, hidden = self.net.shown(warp_cells(anchor, motion))
        return (*shown, *hidden)


class Move(torch.nn.Module):
    """A feature and motion → the feature where the frame has it."""

    def forward(self, anchor: Tensor, motion: Tensor) -> Tensor:
        return warp_cells(anchor, motion)


def layers(memory: Sequence[Tensor]) -> list[Memory]:
    """The named tensors of the state → what every layer remembers."""
    even, odd = (zip(state, tail, strict=True) for state, tail in (memory[:2], memory[2:]))
    return [pair for pairs in zip(even, odd, strict=True) for pair in pairs]


def tensors(after: Sequence[Memory]) -> list[Tensor]:
    """What every layer remembers → the named tensors of the state."""
    return [torch.stack([pair[which] for pair in after[odd::2]]) for odd in (0, 1) for which in (0, 1)]


def _size(size: Size) -> Size:
    fitting = tuple(max(round(extent / MULTIPLE), 2) * MULTIPLE for extent in size)
    if size != fitting:
        raise OptionError(
            f"--size {size[0]}x{size[1]}: TV3S takes multiples of {MULTIPLE}, "
            f"such as {fitting[0]}x{fitting[1]}"
        )
    return size


def _classes(wanted: ClassSet | None, found: dict[str, Tensor], path: Path | None) -> ClassSet:
    if path is None:
        return wanted or class_sets.find(str(VSPW[0]))
    if CLASSIFIER not in found:
        raise ModelError(f"{path} has no {CLASSIFIER}: it is not a checkpoint of TV3S")
    count = int(found[CLASSIFIER].shape[0])
    chosen: ClassSet = wanted or class_sets.find("cityscapes" if count == CITYSCAPES else str(count))
    if len(chosen) != count:
        raise OptionError(
            f"--classes has {len(chosen)} classes, and {path} scores {count}: leave it out, or give {count}"
        )
    return chosen
