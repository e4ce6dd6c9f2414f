"""A Hugging Face folder, read without the network and without code from the folder.

The folder holds ``config.json``, the weights (``model.safetensors``) and usually
``preprocessor_config.json``. transformers has the networks. This finds out which one it is, what it wants of
its pixels, and how its answer becomes scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.classes import ClassSet, from_names
from edge_vss.converters.conversion import Preprocess
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.segments import mixed
from edge_vss.converters.readers._folder import CONFIG, Folder, read_json, read_text
from edge_vss.converters.silence import quiet
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.video import Size

PROCESSOR = "preprocessor_config.json"
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

QUERIES = ("mask2former", "maskformer", "eomt", "eomt_dinov3")
"""Networks that answer with masks and the class of each; ``model_type`` in their config."""
MASK_SIZES: dict[str, Size] = {"mask2former": (384, 384)}
"""The size at which a network's own post-processing mixes masks, where that is not the masks' size."""
PATCHES = ("beit", "data2vec-vision", "dpt", "eomt", "eomt_dinov3")
"""Networks that cut the picture into patches and take whole patches only."""
OTHER_TASKS = {
    "ObjectDetection": "finds boxes",
    "ImageClassification": "names whole pictures",
    "DepthEstimation": "estimates depth",
    "ForSegmentation": "finds single things",
    "CausalLM": "writes text",
    "PreTraining": "has no head yet",
}
"""How the name of an architecture ends → what it does, for those that are no semantic segmentors."""


def is_folder(path: Path) -> bool:
    """Whether a path looks like a folder that `open_folder` reads."""
    return path.is_dir() and (path / CONFIG).is_file() and "model_type" in read_text(path / CONFIG)


def open_folder(path: Path) -> Folder:
    """Read a folder. Nothing is fetched, and no code in the folder is run.

    Raises MissingExtra without transformers, ModelError for a folder that is incomplete, of another kind of
    network, or that wants code or files from elsewhere.
    """
    config = read_json(path / CONFIG)
    kind = str(config.get("model_type", ""))
    if "auto_map" in config:
        raise ModelError(
            f"{path} brings its own code ({CONFIG}: auto_map), which is not run: give the network as "
            "an exported program (.pt2)"
        )
    if not any((path / name).is_file() for name in WEIGHTS):
        raise ModelError(f"{path} has no weights ({WEIGHTS[0]}): download the folder again, with all files")
    try:
        import transformers
    except ImportError:
        raise MissingExtra("transformers", "convert-hf", "reading a Hugging Face folder") from None
    loader = _loader(transformers, path, kind, config)
    model = _loaded(path, loader)
    multiple = _patch(model.config) if kind in PATCHES else 1
    processor = _processor(transformers, path)
    size = None if processor is None else _size(processor)
    network: torch.nn.Module
    if kind in QUERIES:
        if kind.startswith("eomt"):
            # A buffer that a graph would ask for its value at every call.
            shares = [float(share) for share in model.attn_mask_probs]
            del model.attn_mask_probs
            model.attn_mask_probs = shares
        mixed_at = size if kind.startswith("eomt") else MASK_SIZES.get(kind)
        network = Queries(model, mixed_at)
    else:
        network = Scores(model)
    prepare = None if processor is None else _preprocess(processor)
    return Folder(kind, network.eval(), prepare, size, _classes(path, config, model.config), multiple)


class Scores(torch.nn.Module):
    """A network whose answer has ``logits``."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.model(pixel_values=pixels).logits
        return scores


class Queries(torch.nn.Module):
    """A network whose answer has masks and the class of each: scores are their mixture.

    ``scores[c] = Σ_q softmax(classes)[q, c] · sigmoid(masks)[q]``, without the class "nothing" (MaskFormer,
    arXiv 2107.06278, section 3.4), at the size where the published post-processing mixes.
    """

    def __init__(self, model: torch.nn.Module, mixed_at: Size | None) -> None:
        super().__init__()
        self.model, self.mixed_at = model, mixed_at

    def found(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Masks float32 (1, Q, h, w), logits, and the share of each class in them (1, Q, C)."""
        answer = self.model(pixel_values=pixels)
        return answer.masks_queries_logits, answer.class_queries_logits.softmax(-1)[..., :-1]

    def forward(self, pixels: Tensor) -> Tensor:
        masks, classes = self.found(pixels)
        if self.mixed_at is not None:
            masks = bilinear(masks, self.mixed_at, align_corners=False)
        return mixed(masks, classes)


def _loader(transformers: Any, path: Path, kind: str, config: Mapping[str, Any]) -> Any:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as SEMANTIC,
    )

    if kind == "oneformer":
        raise ModelError(
            f"{path} is a OneFormer, whose decoder picks rows by their values, so that no graph can be made "
            "of it: give a Mask2Former of the same classes"
        )
    architecture = str((config.get("architectures") or [kind or "network"])[0])
    does = next((what for end, what in OTHER_TASKS.items() if end in architecture), "")
    if kind in QUERIES:
        return transformers.AutoModelForUniversalSegmentation
    if kind in SEMANTIC and not does:
        return transformers.AutoModelForSemanticSegmentation
    known = ", ".join(sorted({*SEMANTIC, *QUERIES}))
    raise ModelError(
        f"{path} is a {architecture}{f', which {does}' if does else ''}: give a semantic segmentor ({known})"
    )


def _loaded(path: Path, loader: Any) -> Any:
    try:
        with quiet():
            model, report = loader.from_pretrained(
                str(path),
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # OSError, ValueError, safetensors' own, whatever a config trips over
        raise ModelError(
            f"{path} cannot be loaded ({one_line(error)}): download the folder again, with all files"
        ) from None
    missing = sorted(key for key in report["missing_keys"] if not key.endswith("num_batches_tracked"))
    if missing:
        raise ModelError(
            f"{path} lacks {len(missing)} of the network's weights ({', '.join(missing[:3])}): it was saved "
            "without its segmentation head, or for another version of transformers"
        )
    return model.float().eval()


def _processor(transformers: Any, path: Path) -> Any:
    """The image processor, which knows its own defaults; None without one."""
    if not (path / PROCESSOR).is_file():
        return None
    try:
        with quiet():
            return transformers.AutoImageProcessor.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False, backend="pil"
            )
    except Exception as error:
        raise ModelError(
            f"{path / PROCESSOR} cannot be read ({one_line(error)}): download it again, "
            "or remove it and give --size, --mean and --std"
        ) from None


def _size(processor: Any) -> Size | None:
    cropped = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", None) else None
    for found in (cropped, getattr(processor, "size", None)):
        height, width = getattr(found, "height", None), getattr(found, "width", None)
        if height and width:
            return int(height), int(width)
    edge = getattr(getattr(processor, "size", None), "shortest_edge", None)
    longest = getattr(getattr(processor, "size", None), "longest_edge", None)
    return (int(edge), int(edge)) if edge and edge == longest else None


def _preprocess(processor: Any) -> Preprocess:
    scale = float(processor.rescale_factor) if getattr(processor, "do_rescale", None) else 1.0
    bgr = bool(getattr(processor, "do_flip_channel_order", None))
    if not getattr(processor, "do_normalize", None):
        return Preprocess(scale=scale, bgr=bgr)
    return Preprocess(_three(processor.image_mean), _three(processor.image_std), scale, bgr)


def _three(values: Any) -> tuple[float, ...]:
    """A number for each channel; one number stands for all of them."""
    return (float(values),) * 3 if isinstance(values, (int, float)) else tuple(float(v) for v in values)


def _patch(config: Any) -> int:
    patch: Any = getattr(config, "patch_size", None) or getattr(config.backbone_config, "patch_size", 16)
    return int(max(patch) if isinstance(patch, (list, tuple)) else patch)


def _classes(path: Path, config: Mapping[str, Any], loaded: Any) -> ClassSet:
    names: dict[int, str] = {int(key): str(value) for key, value in dict(loaded.id2label).items()}
    count = max(names) + 1
    if not 1 <= len(names) <= 255 or set(names) != set(range(count)):
        raise ModelError(
            f"{path / CONFIG} names {len(names)} classes with ids up to {count - 1}: check id2label"
        )
    unnamed = all(re.fullmatch(r"LABEL_\d+", name) for name in names.values())
    given = config.get("semantic_loss_ignore_index")
    ignore = given if isinstance(given, int) else 255
    chosen = [f"class {index}" if unnamed else names[index] for index in range(count)]
    return from_names(chosen, ignore if 0 <= ignore <= 255 else 255)
