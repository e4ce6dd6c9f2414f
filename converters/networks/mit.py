"""MiT (SegFormer, arXiv 2105.15203), the image encoder of TV3S, with blocks from the library transformers.

The released checkpoints have other names than the library. A state dict has theirs, both when it is taken and
when it is loaded, so that nothing else here knows the library's.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edge_vss.converters.silence import quiet
from edge_vss.errors import MissingExtra

EPSILON = 1e-6
"""Of the norms in and after the blocks. Those of patch embeddings and of reduced keys have PyTorch's 1e-5."""

OLDEST = (5, 9)
"""Version of transformers from which on its modules have the names used here."""


@dataclass(frozen=True)
class MitShape:
    """What the published sizes differ in."""

    depths: tuple[int, int, int, int]
    """Blocks of each stage."""
    channels: tuple[int, int, int, int] = (64, 128, 320, 512)


VARIANTS: Mapping[str, MitShape] = {
    "mit-b0": MitShape((2, 2, 2, 2), (32, 64, 160, 256)),
    "mit-b1": MitShape((2, 2, 2, 2)),
    "mit-b2": MitShape((3, 4, 6, 3)),
    "mit-b3": MitShape((3, 4, 18, 3)),
    "mit-b4": MitShape((3, 8, 27, 3)),
    "mit-b5": MitShape((3, 6, 40, 3)),
}

_RELEASED = (
    (r"^stages\.(\d)\.patch_embeddings\.layer_norm", r"patch_embed\1.norm"),
    (r"^stages\.(\d)\.patch_embeddings", r"patch_embed\1"),
    (r"^stages\.(\d)\.layer_norm", r"norm\1"),
    (r"^stages\.(\d)\.blocks", r"block\1"),
    (r"\.layernorm_before", ".norm1"),
    (r"\.layernorm_after", ".norm2"),
    (r"\.attention\.sequence_reduction\.layer_norm", ".attn.norm"),
    (r"\.attention\.sequence_reduction\.sequence_reduction", ".attn.sr"),
    (r"\.attention\.q_proj", ".attn.q"),
    (r"\.attention\.[kv]_proj", ".attn.kv"),
    (r"\.attention\.o_proj", ".attn.proj"),
)


class MiT(nn.Module):
    """float32 (1, 3, H, W), normalised → (1, C, h, w) of each stage, 1/4, 1/8, 1/16 and 1/32 of the input."""

    def __init__(self, variant: MitShape) -> None:
        super().__init__()
        made = transformers("SegformerConfig", "SegformerModel")
        config = made.SegformerConfig(
            depths=variant.depths,
            hidden_sizes=variant.channels,
            drop_path_rate=0.0,
            attn_implementation="eager",
        )
        self.channels = variant.channels
        # The library counts stages from 0, the released names from 1.
        stages = made.SegformerModel(config).stages
        self.stages = nn.ModuleDict({str(index): stage for index, stage in enumerate(stages, 1)})
        for stage in stages:
            stage.layer_norm.eps = EPSILON
            for block in stage.blocks:
                block.layernorm_before.eps = block.layernorm_after.eps = EPSILON
        use_names(self, _RELEASED)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first = self.stages["1"](x)
        second = self.stages["2"](first)
        third = self.stages["3"](second)
        return first, second, third, self.stages["4"](third)


def transformers(*names: str) -> Any:
    """The library, and ``names`` imported from it silently. Raises MissingExtra."""
    try:
        # It imports whatever else is installed and of use to it, and some of that complains.
        with quiet():
            library = importlib.import_module("transformers")
            for name in names:
                getattr(library, name)
    except ImportError:
        raise MissingExtra("transformers", "convert-tv3s", "building this encoder") from None
    version = tuple(int(number) for number in library.__version__.split(".")[:2])
    if version < OLDEST:
        wanted = "transformers>=" + ".".join(map(str, OLDEST))
        raise MissingExtra(wanted, "convert-tv3s", "building this encoder")
    return library


def use_names(module: nn.Module, rules: tuple[tuple[str, str], ...], ignored: str = "") -> None:
    """Let the state dict of ``module`` have other names than its submodules do, also inside a larger network.

    ``rules`` are regular expressions and what to put in their place. Tensors that get the same name are one
    in the state dict, one after the other along the first axis. Names that end in ``ignored`` may be loaded,
    with no effect.
    """
    parts: dict[str, list[str]] = {}
    for own in module.state_dict():
        name = own
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        parts.setdefault(name, []).append(own)
    hooks: Any = module  # PyTorch leaves both methods untyped
    hooks.register_state_dict_post_hook(partial(_rename_saved, parts))
    hooks.register_load_state_dict_pre_hook(partial(_rename_loaded, parts, ignored))


def _rename_saved(
    parts: dict[str, list[str]], module: nn.Module, state: dict[str, Tensor], prefix: str, _: object
) -> None:
    for name, own in parts.items():
        tensors = [state.pop(prefix + part) for part in own]
        state[prefix + name] = tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _rename_loaded(
    parts: dict[str, list[str]],
    ignored: str,
    module: nn.Module,
    state: dict[str, Tensor],
    prefix: str,
    metadata: object,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    # Whatever is wrong is found here, because PyTorch would report it under the names that it has inside. It
    # gets what is there already instead.
    loaded = {key: state.pop(key) for key in list(state) if key.startswith(prefix)}
    for key, tensor in module.state_dict(prefix=prefix).items():
        new = loaded.pop(key, None)
        if new is None:
            missing.append(key)
        elif new.shape != tensor.shape:
            errors.append(f"size mismatch for {key}: {tuple(new.shape)} given, {tuple(tensor.shape)} wanted")
        else:
            tensor = new
        own = parts[key.removeprefix(prefix)]
        for part, values in zip(own, tensor.chunk(len(own)) if own[1:] else (tensor,), strict=True):
            state[prefix + part] = values
    unexpected += [key for key in loaded if not (ignored and key.endswith(ignored))]
