"""The two networks of MPVSS out of files: a checkpoint of both or one of each, a folder of Hugging Face, a
pickle of the model zoo."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_vss import classes as class_sets
from edge_vss.classes import ClassSet
from edge_vss.converters.conversion import Conversion, Preprocess, fingerprint
from edge_vss.converters.families import _variants as variants
from edge_vss.converters.networks import mask2former
from edge_vss.converters.networks.mask2former import Mask2Former
from edge_vss.converters.networks.mpvss_flow import Flow, FlowShape, shape_of
from edge_vss.converters.readers import _untrained_weights as untrained_weights
from edge_vss.converters.readers import _weights as weights
from edge_vss.converters.readers._recognise import head_of, reader_of
from edge_vss.converters.readers._saved import is_saved, opened
from edge_vss.converters.readers._transformers import is_folder, open_folder
from edge_vss.errors import ModelError, OptionError, one_line
from edge_vss.files import sha256
from edge_vss.video import Size

PREPARE = Preprocess((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1.0)
SETS = {19: "cityscapes", 124: "vspw", 150: "ade20k"}
"""Number of classes → the set that usually has so many."""
UNTRAINED = "vspw"
CLASSIFIER = "sem_seg_head.predictor.class_embed.weight"
HEAD, PREDICTOR, PIXELS = "sem_seg_head.", "sem_seg_head.predictor.", "sem_seg_head.pixel_decoder."
MOTION = "motion."
UNUSED = ("criterion.", "pixel_mean", "pixel_std")
COUNTED = ("num_batches_tracked", "relative_position_index")
"""How names end of what follows from the network, or what only training reads."""


@dataclass(frozen=True)
class Models:
    """Both networks, filled, and what their files say."""

    segmentor: Mask2Former
    flow: Flow
    prepare: Preprocess
    classes: ClassSet
    size: Size | None
    """What a folder brings pictures to, where it says so."""
    variant: str | None
    source: dict[str, str]
    notes: dict[str, Any]


def read(conversion: Conversion) -> Models:
    """Read the files of a conversion, or make both networks without weights.

    Raises ModelError for a file that is another network's or does not fit, OptionError for an option.
    """
    path, name = conversion.path, conversion.option("variant", str)
    if path is None:
        return _untrained(conversion, name)
    if is_folder(path):
        return _from_folder(path, conversion, name)
    found = _tidied(path, conversion.trust_pickle)
    if CLASSIFIER not in found:
        raise ModelError(
            f"{path} has no {CLASSIFIER}: it is no checkpoint of MPVSS or Mask2Former"
            + (", but a flow: give it as --flow, and a segmentor before it" if _motion(found) else "")
        )
    looks = mask2former.variant_of(found)
    if name is None and not looks:
        raise OptionError(f"--variant is missing: {_known()}")
    variant = variants.find("mpvss", mask2former.VARIANTS, name or looks)
    if name and looks and looks != name:
        raise ModelError(f"{path} holds {looks}, and --variant says {name}: give --variant {looks}")
    count = int(found[CLASSIFIER].shape[0]) - 1
    class_set = _classes(conversion.class_set, count, path)
    queries = found.get(f"{PREDICTOR}query_feat.weight", torch.empty(100)).shape[0]
    segmentor = Mask2Former(mask2former.built(variant, count, queries))
    own = {key: value for key, value in found.items() if not key.startswith(MOTION)}
    weights.fill(segmentor, {"": own}, path, f"Mask2Former {name or looks}", "--variant")
    source = {"name": path.name, "sha256": sha256(path)}
    flow, notes = _flow(path, found, conversion, segmentor)
    return Models(segmentor, flow, PREPARE, class_set, None, name or looks, source, notes)


def _known() -> str:
    return f"family mpvss has {', '.join(mask2former.VARIANTS)}"


def _untrained(conversion: Conversion, name: str | None) -> Models:
    if flow_path := conversion.option("flow", Path):
        raise OptionError(f"--flow {flow_path} has weights, and --untrained wants none: leave one out")
    variant = variants.find("mpvss", mask2former.VARIANTS, name)
    class_set = conversion.class_set or class_sets.find(UNTRAINED)
    segmentor = Mask2Former(mask2former.built(variant, len(class_set)))
    flow = Flow(FlowShape())
    for network in (segmentor, flow):
        untrained_weights.fill(network)
    segmentor.eval().requires_grad_(False)
    source = {"name": f"untrained {name}", "sha256": ""}
    return Models(segmentor, flow.settle(), PREPARE, class_set, None, name, source, {"untrained": True})


def _from_folder(path: Path, conversion: Conversion, name: str | None) -> Models:
    folder = open_folder(path)
    if folder.kind != "mask2former":
        raise ModelError(
            f"{path} is a {folder.kind}, and family mpvss needs a Mask2Former, whose queries its flow is "
            "given: convert it with --family propagate"
        )
    if name is not None:
        raise OptionError(f"--variant {name}: the folder's config says which network it is; leave it out")
    model: Any = folder.network.model
    if model.config.pre_norm:
        raise ModelError(f"{path} normalises before its layers (pre_norm), which is not known here")
    segmentor = Mask2Former(model)
    class_set = folder.classes
    if conversion.class_set is not None:
        class_set = _classes(conversion.class_set, segmentor.classes, path)
    assert class_set is not None, "these folders name every class"
    source = {"name": path.name, "sha256": fingerprint(path)}
    flow, notes = _flow(path, {}, conversion, segmentor)
    prepare = folder.preprocess or Preprocess()
    return Models(segmentor, flow, prepare, class_set, folder.size, None, source, notes)


def _flow(
    path: Path, found: Mapping[str, Tensor], conversion: Conversion, segmentor: Mask2Former
) -> tuple[Flow, dict[str, Any]]:
    """The flow network of a file of its own, or of the segmentor's; and notes."""
    own, place, notes = _motion(found), path, {}
    flow_path = conversion.option("flow", Path)
    if flow_path is not None:
        place = flow_path
        loaded = _tidied(flow_path, conversion.trust_pickle)
        own = _motion(loaded) or loaded
        notes["flow"] = {"name": flow_path.name, "sha256": sha256(flow_path)}
    if not own:
        raise ModelError(
            f"{path} has no flow network ({MOTION}…): give --flow FILE, or convert with --family propagate "
            "--carry masks, which needs none"
        )
    try:
        shape = shape_of(own)
    except ModelError as error:
        raise ModelError(
            f"{place} is no flow network of MPVSS ({error}): give the file that has it"
        ) from None
    if (shape.queries, shape.dim) != (segmentor.queries, segmentor.dim):
        raise ModelError(
            f"{place} takes {shape.queries} queries of {shape.dim} channels, and {path} has "
            f"{segmentor.queries} of {segmentor.dim}: give the flow that was trained with this segmentor"
        )
    flow = Flow(shape)
    weights.fill(flow, {"": own}, place, "the flow of MPVSS", "--flow")
    segmentor.eval().requires_grad_(False)
    return flow.settle(), notes


def _motion(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(MOTION): value for key, value in found.items() if key.startswith(MOTION)}


def _tidied(path: Path, trust_pickle: bool) -> dict[str, Tensor]:
    """A checkpoint's weights under today's names, without what only training reads."""
    tidy = {}
    for key, value in _loaded(path, trust_pickle).items():
        if key.startswith(UNUSED) or key.endswith(COUNTED):
            continue
        # Checkpoints from before detectron2's second version of the head.
        key = key.replace("static_query", "query_feat")
        if key.startswith(HEAD) and not key.startswith((PREDICTOR, PIXELS)):
            key = PIXELS + key.removeprefix(HEAD)
        tidy[key] = value.float()
    return tidy


def _loaded(path: Path, trust_pickle: bool) -> dict[str, Tensor]:
    head = head_of(path)
    if is_saved(head):
        return weights.usual(path, weights.sets_of(path, opened(path, trust_pickle)))
    if weights.is_safetensors(head.start):
        return weights.read(path)
    if not head.start.startswith(b"\x80"):
        known = "a checkpoint (.pth), a .pkl of the model zoo, or a folder of Hugging Face"
        raise ModelError(f"{path} is {reader_of(path).description.title}: family mpvss takes {known}")
    if not trust_pickle:
        raise ModelError(
            f"{path} is a pickle, as detectron2's model zoo has them, and opening it could run any code: "
            "pass --trust-pickle if you trust it"
        )
    try:
        with path.open("rb") as file:
            content = pickle.load(file, encoding="latin1")
        found = content.get("model", content)
        return {str(key): torch.from_numpy(np.asarray(value)) for key, value in found.items()}
    except Exception as error:  # anything may be in there
        raise ModelError(
            f"{path} holds no weights of the model zoo ({one_line(error, named=True)}): download it again"
        ) from None


def _classes(wanted: ClassSet | None, count: int, path: Path) -> ClassSet:
    chosen: ClassSet = wanted or class_sets.find(SETS.get(count, str(count)))
    if len(chosen) != count:
        raise OptionError(
            f"--classes has {len(chosen)} classes, and {path} scores {count}: leave it out, or give {count}"
        )
    return chosen
