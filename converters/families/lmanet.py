"""Family ``lmanet``: every frame reads keys and values of the frames before it.

Routes: start runs ``start`` (image → labels, without a memory), key runs ``key`` (image and memory →
labels); both then run ``state``, which puts the frame's key and value into the memory in place of the
oldest. That is the paper's network, with the policy ``interval:1``. Any other policy skips the encoder in
between: nonkey runs ``nonkey``, which takes from the last full frame what ``carry`` says, along the motion,
and leaves the memory as it is.

``carry`` is ``feature`` (what fusion gave: only the decoder runs again) or ``keys`` (the query's key and
value: the memory is read again too).
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
from edge_vss.converters.networks.lmanet import VARIANTS, LMANet, LmanetVariant
from edge_vss.converters.ops.local_attention import OUTSIDE, macs, memory_read
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.warp import warp_cells
from edge_vss.converters.values import Part, Split
from edge_vss.errors import ModelError, OptionError
from edge_vss.video import Size

POLICY = "interval:1"
CARRIES = ("feature", "keys")
MOST_SLOTS = 64

DESCRIPTION = FamilyDescription(
    "LMANet: every frame reads keys and values of the frames before it",
    (
        FamilyOption("variant", str, "Which network of the family.", "NAME"),
        FamilyOption("memory", int, "How many frames are remembered.", "S"),
        FamilyOption("window", int, "Side of the window that is searched, in positions; odd.", "R"),
        FamilyOption("carry", str, "What moves along in between: feature or keys.", "NAME"),
    ),
)


def split(conversion: Conversion) -> Split:
    """The graphs of a variant. Options: ``variant``, ``memory`` (slots), ``window``, ``carry``.

    Raises OptionError, or ModelError where the file does not fit.
    """
    name = conversion.option("variant", str)
    variant = variants.find("lmanet", VARIANTS, name)
    variants.fixed(conversion, str(name))
    carry = variants.carried("lmanet", conversion.options, CARRIES)
    slots = variants.whole(
        conversion.options.get("memory", variant.slots), "--memory", 1, MOST_SLOTS, "slots in memory"
    )
    window = variants.whole(
        conversion.options.get("window", variant.window),
        "--window",
        1,
        255,
        "an odd width of the window in positions",
    )
    if window % 2 == 0:
        raise OptionError(f"--window {window}: the window has a middle, so give an odd width")
    size = _size(conversion.size or variant.size, variant, str(name))
    found = (
        {}
        if conversion.path is None
        else checkpoints.tidied(conversion.path, variant.aliases, variant.auxiliary)
    )
    class_set = _classes(conversion.class_set, variant, found, conversion.path)
    network = variant.build(len(class_set))
    notes = checkpoints.filled(network, conversion.path, found, str(name))
    net = _Net(network, variant, size, conversion.logits, carry, window)
    parts, state = _parts(net, slots, len(class_set))
    return Split(
        parts=parts,
        state=state,
        routes={"start": ("start", "state"), "key": ("key", "state"), "nonkey": ("nonkey",)},
        motion=MotionSpec(net.grid),
        options={
            "variant": name,
            "memory": slots,
            "window": window,
            "carry": carry,
            "logits": conversion.logits,
        },
        size=size,
        source=notes.pop("source"),
        notes=notes,
        classes=class_set,
        policy=POLICY,
    )


def _parts(net: _Net, slots: int, classes: int) -> tuple[tuple[Part, ...], tuple[StateSpec, ...]]:
    network, grid = net.network, net.grid
    extents = {"key": (*grid, network.key_channels), "value": (*grid, network.value_channels)}
    memory = [
        TensorSpec("memory_keys", (slots, *extents["key"]), "float32"),
        TensorSpec("memory_values", (slots, *extents["value"]), "float32"),
        TensorSpec("slot_bias", (slots,), "float32"),
    ]
    new = [TensorSpec(f"new_{name}", (1, *shape), "float32") for name, shape in extents.items()]
    if net.carry == "keys":
        anchors = [TensorSpec(f"anchor_{name}", (1, *shape), "float32") for name, shape in extents.items()]
    else:
        anchors = [TensorSpec("anchor", (1, *grid, net.channels), "float32")]
    image = TensorSpec("image", (1, *net.size, 3), "uint8")
    motion = TensorSpec("motion", (1, 2, *grid), "float32")
    scores = TensorSpec("scores", (1, classes, *net.score_size), "float32")
    shown, hidden = variants.outputs(net.size, scores, net.logits)
    full, again = net.macs(slots)
    parts = (
        Part("start", Start(net), (image,), (*shown, *new, *anchors), hidden, full - net.memory_macs(slots)),
        Part("key", Key(net), (image, *memory), (*shown, *new, *anchors), hidden, full),
        Part(
            "nonkey",
            NONKEY[net.carry](net),
            (*anchors, *(memory if net.carry == "keys" else ()), motion),
            (*shown,),
            hidden,
            again,
        ),
        Part("state", Push(), (*memory, *new), tuple(_renamed(spec) for spec in memory), gmac=0.0),
    )
    state = [StateSpec(s.name, s.shape, s.dtype, 0.0, f"{s.name}_next") for s in memory[:2]]
    state.append(StateSpec("slot_bias", (slots,), "float32", OUTSIDE, "slot_bias_next"))
    return parts, (*state, *(StateSpec(s.name, s.shape, s.dtype) for s in anchors))


def _renamed(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(f"{spec.name}_next", spec.shape, spec.dtype)


class _Net(torch.nn.Module):
    """What the graphs share: the network with its frame, and the ways through it."""

    def __init__(
        self, network: LMANet, variant: LmanetVariant, size: Size, logits: bool, carry: str, window: int
    ) -> None:
        super().__init__()
        self.network = network
        self.prepare = Normalize(Preprocess(variant.mean, variant.std))
        self.size, self.grid = size, network.grid(size)
        self.logits, self.carry, self.window = logits, carry, window
        self.score_size = tuple(extent * network.upsampling for extent in self.grid)
        self.channels = network.channels

    def encode(self, image: Tensor) -> Tensor:
        return self.network.encode(self.prepare(image))

    def read(self, asked: tuple[Tensor, Tensor], memory: Sequence[Tensor]) -> Tensor:
        """The fused feature."""
        keys, values, bias = memory
        return self.network.fuse(asked[1], memory_read(asked[0], keys, values, bias, self.window))

    def shown(self, feature: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Labels, the sum of the scores, and the scores: where they are wanted, or else behind the rest."""
        scores = self.network.decode(feature)
        labels = bilinear(scores, self.size, align_corners=True).argmax(1).to(torch.uint8)
        check = scores.sum().reshape(1)
        return ((labels, check, scores), ()) if self.logits else ((labels, check), (scores,))

    def outputs(self, encoded: Tensor, feature: Tensor, asked: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """What a full frame gives, in the order of its part."""
        shown, hidden = self.shown(feature)
        anchors = asked if self.carry == "keys" else (feature,)
        kept = (*self.network.memorise(encoded), *anchors)
        return (*shown, *(x.permute(0, 2, 3, 1).contiguous() for x in kept), *hidden)

    def memory_macs(self, slots: int) -> float:
        """GMAC of asking, reading and fusing."""
        network, grid = self.network, self.grid
        shape = (1, self.channels, *grid)
        read = slots * macs(grid, network.key_channels, network.value_channels, self.window) / 1e9
        values = torch.zeros(1, network.value_channels, *grid)
        asked = cost.convolutions(network.ask, shape)
        return asked + read + cost.convolutions(lambda x: network.fuse(values, x), tuple(values.shape))

    def macs(self, slots: int) -> tuple[float, float]:
        """GMAC of a full frame and of one in between."""
        network, shape = self.network, (1, self.channels, *self.grid)
        decoded = cost.convolutions(network.decode, shape)
        fused = self.memory_macs(slots)
        full = cost.convolutions(network.encode, (1, 3, *self.size)) + fused + decoded
        full += cost.convolutions(network.memorise, shape)
        again = decoded
        if self.carry == "keys":
            again += fused - cost.convolutions(network.ask, shape)
        return full, again


class Start(torch.nn.Module):
    """Image → what a full frame gives, with no memory to read."""

    def __init__(self, net: _Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        feature = self.net.encode(image)
        return self.net.outputs(feature, feature, self.net.network.ask(feature))


class Key(torch.nn.Module):
    """Image and memory → what a full frame gives."""

    def __init__(self, net: _Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        feature = self.net.encode(image)
        asked = self.net.network.ask(feature)
        return self.net.outputs(feature, self.net.read(asked, memory), asked)


class DecodeAgain(torch.nn.Module):
    """The fused feature and motion → labels, the sum of the scores, and the scores."""

    def __init__(self, net: _Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, anchor: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        shown, hidden = self.net.shown(warp_cells(anchor, motion).permute(0, 3, 1, 2))
        return (*shown, *hidden)


class ReadAgain(torch.nn.Module):
    """The query's key and value, the memory, and motion → labels, the sum of the scores, and the scores."""

    def __init__(self, net: _Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        anchor_key, anchor_value, *memory, motion = tensors
        key, value = (warp_cells(x, motion).permute(0, 3, 1, 2) for x in (anchor_key, anchor_value))
        shown, hidden = self.net.shown(self.net.read((key, value), memory))
        return (*shown, *hidden)


class Push(torch.nn.Module):
    """Memory, and a frame's key and value → memory with that frame first, and without the oldest.

    The order of slots does not matter to who reads them: nothing in the network tells one from another.
    """

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        keys, values, bias, key, value = tensors
        filled = torch.zeros(1)
        kept = zip((key, value, filled), (keys, values, bias), strict=True)
        return tuple(torch.cat([new, old])[: old.shape[0]] for new, old in kept)


NONKEY = {"feature": DecodeAgain, "keys": ReadAgain}


def _size(size: Size, variant: LmanetVariant, name: str) -> Size:
    step, rest = variant.multiple, variant.rest
    fitting = tuple(max(round((extent - rest) / step), 4) * step + rest for extent in size)
    if size != fitting:
        more = f" and {rest} more" if rest else ""
        raise OptionError(
            f"--size {size[0]}x{size[1]}: {name} takes multiples of {step}{more}, "
            f"such as {fitting[0]}x{fitting[1]}"
        )
    return size


def _classes(
    wanted: ClassSet | None, variant: LmanetVariant, found: dict[str, Tensor], path: Path | None
) -> ClassSet:
    """The class set, completed by the class of what is ignored where only that is missing."""
    chosen = wanted or class_sets.find(variant.classes)
    if path is None:
        return chosen
    heads = {"decoder.output_conv.weight": (1, 0), "decoder.cls.4.weight": (0, 1)}
    outputs = [found[key].shape[axis] + more for key, (axis, more) in heads.items() if key in found]
    if not outputs:
        raise ModelError(f"{path} has no {' or '.join(heads)}: it is not a checkpoint of LMANet")
    if outputs[0] == len(chosen) + 1:
        return ClassSet((*chosen.names, "void"), (*chosen.palette, (0, 0, 0)), chosen.ignore)
    if outputs[0] != len(chosen):
        raise OptionError(
            f"--classes has {len(chosen)} classes, and {path} scores {outputs[0]}: "
            f"give {outputs[0]}, or their names in a file"
        )
    return chosen
