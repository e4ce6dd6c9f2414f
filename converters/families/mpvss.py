"""Family ``mpvss``: Mask2Former on key frames; in between each of its masks moves with a flow of its own.

Routes: start and key run ``key`` (image → labels, masks, classes, queries and the picture at half its size);
nonkey runs ``nonkey`` (image, that picture and the queries → a flow for every query) and ``state`` (masks,
classes and flow → labels). Masks always move from the key frame, so errors do not pile up.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from edge_vss.bundle import StateSpec, TensorSpec
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.families import FamilyDescription, FamilyOption
from edge_vss.converters.families import _mpvss_models as models
from edge_vss.converters.families import _variants as variants
from edge_vss.converters.networks.mask2former import Mask2Former
from edge_vss.converters.networks.mpvss_flow import MEAN, Flow, reduced
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.segments import labels_of, mixed
from edge_vss.converters.ops.warp_masks import warp_masks
from edge_vss.converters.values import Part, Split
from edge_vss.errors import OptionError
from edge_vss.video import Size

POLICY = "interval:5"
ALIGNS = ("published", "exact")
SEMANTICS = ("quarter", "exact")
MULTIPLE = 32
LEAST_PX = 64
SIZES: dict[int, Size] = {19: (1024, 2048)}
"""Number of classes → size of the data set's pictures; VSPW's otherwise."""
VSPW: Size = (480, 853)

DESCRIPTION = FamilyDescription(
    "MPVSS: Mask2Former on key frames, and each of its masks moves with a flow of its own",
    (
        FamilyOption("variant", str, "The segmentor's backbone: r50, r101, swin-t, -s, -b or -l.", "NAME"),
        FamilyOption("flow", Path, "The flow network's file, where the model has none.", "FILE"),
        FamilyOption("align", str, "How masks move: published (with a drift) or exact.", "NAME"),
        FamilyOption("semantic", str, "Where masks become classes: quarter or exact.", "NAME"),
    ),
)


def split(conversion: Conversion) -> Split:
    """The graphs of a segmentor and its flow. Options: ``variant``, ``flow``, ``align``, ``semantic``.

    Raises OptionError, or ModelError where a file does not fit.
    """
    variants.fixed(conversion, "mpvss")
    align = _chosen(conversion, "align", ALIGNS)
    semantic = _chosen(conversion, "semantic", SEMANTICS)
    found = models.read(conversion)
    size = _size(conversion.size or found.size, found)
    frame = Frame(size, found.prepare)
    shows = Shows(size, semantic == "exact", conversion.logits)
    return Split(
        parts=_parts(found, frame, shows, align == "published"),
        state=_state(found, frame),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("nonkey", "state")},
        motion=None,
        options={
            **({} if found.variant is None else {"variant": found.variant}),
            "align": align,
            "semantic": semantic,
            "logits": conversion.logits,
        },
        size=size,
        source=found.source,
        notes=found.notes,
        classes=found.classes,
        policy=POLICY,
    )


def _chosen(conversion: Conversion, option: str, choices: tuple[str, ...]) -> str:
    given = conversion.option(option, str) or choices[0]
    if given not in choices:
        raise OptionError(f"--{option} {given!r}: choose {' or '.join(choices)}")
    return given


def _size(size: Size | None, found: models.Models) -> Size:
    if size is None and found.variant is None:
        raise OptionError(
            "--size is missing: the folder brings pictures of any shape to one scale, so say which, such as "
            "--size 480x864 for 16:9"
        )
    wanted = size or SIZES.get(len(found.classes), VSPW)
    if min(wanted) < LEAST_PX:
        raise OptionError(f"--size {wanted[0]}x{wanted[1]}: the flow needs {LEAST_PX} pixels each way")
    return wanted


def _state(found: models.Models, frame: Frame) -> tuple[StateSpec, ...]:
    queries, (height, width) = found.segmentor.queries, frame.padded
    shapes = {
        "masks": (1, queries, height // 4, width // 4),
        "classes": (1, queries, len(found.classes)),
        "queries": (queries, found.segmentor.dim),
        "key_picture": (1, 3, height // 2, width // 2),
    }
    return tuple(StateSpec(name, shape, "float32", 0.0) for name, shape in shapes.items())


def _parts(found: models.Models, frame: Frame, shows: Shows, drift: bool) -> tuple[Part, ...]:
    image = TensorSpec("image", (1, *frame.size, 3), "uint8")
    masks, classes, queries, picture = (
        TensorSpec(spec.name, spec.shape, spec.dtype) for spec in _state(found, frame)
    )
    count, height, width = found.segmentor.queries, *(extent // 8 for extent in frame.padded)
    flow = TensorSpec("flow", (count, 2, height, width), "float32")
    shown, hidden = shows.specs(len(found.classes), frame.padded)
    return (
        Part(
            "key",
            Key(found.segmentor, frame, shows),
            (image,),
            (*shown, masks, classes, queries, picture),
            hidden,
        ),
        Part("nonkey", Between(found.flow, frame), (image, picture, queries), (flow,)),
        Part("state", Move(shows, drift), (masks, classes, flow), tuple(shown), hidden),
    )


class Frame(torch.nn.Module):
    """What both networks are given of a picture: the right and the lower side filled with zeros."""

    def __init__(self, size: Size, prepare: Preprocess) -> None:
        super().__init__()
        self.size = size
        height, width = (-(-extent // MULTIPLE) * MULTIPLE for extent in size)
        self.padded: Size = (height, width)
        self.large, self.little = Normalize(prepare), Normalize(Preprocess(MEAN))

    def forward(self, image: Tensor) -> Tensor:
        """For the segmentor: float32 (1, 3, H, W)."""
        return self._filled(self.large(image))

    def small(self, image: Tensor) -> Tensor:
        """For the flow: float32 (1, 3, H/2, W/2)."""
        return reduced(self._filled(self.little(image)))

    def _filled(self, picture: Tensor) -> Tensor:
        down, across = (full - own for full, own in zip(self.padded, self.size, strict=True))
        return functional.pad(picture, (0, across, 0, down)) if down or across else picture


class Shows(torch.nn.Module):
    """Masks and classes → labels, the sum of the scores, and the scores."""

    def __init__(self, size: Size, exact: bool, logits: bool) -> None:
        super().__init__()
        self.size, self.exact, self.logits = size, exact, logits

    def specs(self, classes: int, padded: Size) -> tuple[list[TensorSpec], tuple[TensorSpec, ...]]:
        """What it gives: what is shown, and what is hidden."""
        extents = padded if self.exact else (padded[0] // 4, padded[1] // 4)
        scores = TensorSpec("scores", (1, classes, *extents), "float32")
        shown, hidden = variants.outputs(self.size, scores, self.logits)
        return shown, () if self.exact else hidden

    def forward(self, masks: Tensor, classes: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if self.exact:
            labels, check, scores = labels_of(masks, classes, self.size, self.logits)
            return ((labels, check, scores) if self.logits else (labels, check)), ()
        scores = mixed(masks, classes)
        padded = (4 * int(masks.shape[2]), 4 * int(masks.shape[3]))
        labels = bilinear(scores, padded, align_corners=False).argmax(1).to(torch.uint8)
        shown = (labels[:, : self.size[0], : self.size[1]], scores.sum().reshape(1))
        return ((*shown, scores), ()) if self.logits else (shown, (scores,))


class Key(torch.nn.Module):
    """Image → labels, the sum of the scores, masks, classes, queries, the reduced picture, and the scores."""

    def __init__(self, segmentor: Mask2Former, frame: Frame, shows: Shows) -> None:
        super().__init__()
        self.segmentor, self.frame, self.shows = segmentor, frame, shows

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        masks, logits, queries = self.segmentor(self.frame(image))
        classes = logits.softmax(2)[:, :, :-1]
        shown, hidden = self.shows(masks, classes)
        return (*shown, masks, classes, queries, self.frame.small(image), *hidden)


class Between(torch.nn.Module):
    """Image, the key frame's reduced picture and queries → a flow for every query."""

    def __init__(self, flow: Flow, frame: Frame) -> None:
        super().__init__()
        self.flow, self.frame = flow, frame

    def forward(self, image: Tensor, key_picture: Tensor, queries: Tensor) -> Tensor:
        found: Tensor = self.flow(self.frame.small(image), key_picture, queries)
        return found


class Move(torch.nn.Module):
    """Masks, classes and flow of the key frame → labels, the sum of the scores, and the scores."""

    def __init__(self, shows: Shows, drift: bool) -> None:
        super().__init__()
        self.shows, self.drift = shows, drift

    def forward(self, masks: Tensor, classes: Tensor, flow: Tensor) -> tuple[Tensor, ...]:
        shown, hidden = self.shows(warp_masks(masks, enlarged(flow), drift=self.drift), classes)
        return (*shown, *hidden)


def enlarged(flow: Tensor) -> Tensor:
    """A flow (Q, 2, h, w) at twice its extents, in pixels of the finer grid."""
    size = (2 * int(flow.shape[2]), 2 * int(flow.shape[3]))
    return bilinear(flow, size, align_corners=False) * 2
