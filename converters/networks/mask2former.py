"""Mask2Former (CVPR 2022, arXiv 2112.01527), the segmentor of MPVSS, with modules from the library
transformers.

The library has the network. Written anew is the way through it: deformable attention as gathers, masked
attention as matrix products, and nothing that only training looks at. A state dict has the names of
detectron2's checkpoints, both when it is taken and when it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.networks.mit import transformers, use_names
from edge_vss.converters.networks.swin import COMPUTED
from edge_vss.converters.networks.swin import VARIANTS as SWIN
from edge_vss.converters.networks.swin import released as swin_names
from edge_vss.converters.ops.attention import attend, masked, sine_positions
from edge_vss.converters.ops.deformable import deformable_attention, own_places
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.silence import quiet

LEVELS = 3


@dataclass(frozen=True)
class Backbone:
    """What the published sizes differ in."""

    kind: str
    """``resnet`` or ``swin``."""
    depths: tuple[int, ...]
    embedding: int = 64
    heads: tuple[int, ...] = ()
    window: int = 7


VARIANTS: Mapping[str, Backbone] = {
    "r50": Backbone("resnet", (3, 4, 6, 3)),
    "r101": Backbone("resnet", (3, 4, 23, 3)),
    **{
        name: Backbone(
            "swin", shape.depths, shape.embedding, shape.heads, 12 if name in ("swin-b", "swin-l") else 7
        )
        for name, shape in SWIN.items()
    },
}

_PIXELS = "sem_seg_head.pixel_decoder"
_PREDICTOR = "sem_seg_head.predictor"
_DECODER = r"^model\.transformer_module\.decoder"
_LAYER = rf"{_DECODER}\.layers\.(\d+)"
_SELF, _CROSS, _FURTHER = (
    rf"{_PREDICTOR}.transformer_{kind}_layers.\1" for kind in ("self_attention", "cross_attention", "ffn")
)
_RELEASED = (
    (r"^model\.pixel_level_module\.encoder\.", "backbone."),
    (r"^backbone\.embedder\.embedder\.convolution", "backbone.stem.conv1"),
    (r"^backbone\.embedder\.embedder\.normalization", "backbone.stem.conv1.norm"),
    *((rf"^backbone\.encoder\.stages\.{stage}\.layers", f"backbone.res{stage + 2}") for stage in range(4)),
    (r"^(backbone\.res.*\.shortcut)\.convolution", r"\1"),
    (r"^(backbone\.res.*\.shortcut)\.normalization", r"\1.norm"),
    *((rf"^(backbone\.res.*)\.layer\.{n}\.convolution", rf"\1.conv{n + 1}") for n in range(3)),
    *((rf"^(backbone\.res.*)\.layer\.{n}\.normalization", rf"\1.conv{n + 1}.norm") for n in range(3)),
    *swin_names("backbone."),
    (r"^model\.pixel_level_module\.decoder\.input_projections", f"{_PIXELS}.input_proj"),
    (r"^model\.pixel_level_module\.decoder\.mask_projection", f"{_PIXELS}.mask_features"),
    (r"^model\.pixel_level_module\.decoder\.((?:adapter|layer)_\d)\.0", rf"{_PIXELS}.\1"),
    (r"^model\.pixel_level_module\.decoder\.((?:adapter|layer)_\d)\.1", rf"{_PIXELS}.\1.norm"),
    (r"^model\.pixel_level_module\.decoder", f"{_PIXELS}.transformer"),
    (r"^(.*pixel_decoder.*)\.self_attn_layer_norm", r"\1.norm1"),
    (r"^(.*pixel_decoder.*)\.final_layer_norm", r"\1.norm2"),
    (r"^(.*pixel_decoder.*)\.fc([12])", r"\1.linear\2"),
    (r"^class_predictor", f"{_PREDICTOR}.class_embed"),
    (r"^model\.transformer_module\.queries_embedder", f"{_PREDICTOR}.query_embed"),
    (r"^model\.transformer_module\.queries_features", f"{_PREDICTOR}.query_feat"),
    (r"^model\.transformer_module\.input_projections", f"{_PREDICTOR}.input_proj"),
    (r"^model\.transformer_module\.level_embed", f"{_PREDICTOR}.level_embed"),
    (rf"{_DECODER}\.layernorm", f"{_PREDICTOR}.decoder_norm"),
    (rf"{_DECODER}\.mask_predictor\.mask_embedder\.(\d)\.0", rf"{_PREDICTOR}.mask_embed.layers.\1"),
    (rf"{_LAYER}\.cross_attn_layer_norm", f"{_CROSS}.norm"),
    (rf"{_LAYER}\.cross_attn", f"{_CROSS}.multihead_attn"),
    (rf"{_LAYER}\.self_attn_layer_norm", f"{_SELF}.norm"),
    (rf"{_LAYER}\.self_attn\.[qkv]_proj\.", f"{_SELF}.self_attn.in_proj_"),
    (rf"{_LAYER}\.self_attn", f"{_SELF}.self_attn"),
    (rf"{_LAYER}\.fc([12])", rf"{_FURTHER}.linear\2"),
    (rf"{_LAYER}\.final_layer_norm", f"{_FURTHER}.norm"),
)


def built(variant: Backbone, classes: int, queries: int = 100) -> Any:
    """The library's network of a published size, with weights that mean nothing."""
    made = transformers(
        "Mask2FormerConfig", "Mask2FormerForUniversalSegmentation", "SwinConfig", "ResNetConfig"
    )
    from transformers.initialization import no_init_weights

    stages = ["stage1", "stage2", "stage3", "stage4"]
    # It warns of a backbone that is no Swin.
    with quiet(), no_init_weights():
        if variant.kind == "resnet":
            backbone = made.ResNetConfig(depths=list(variant.depths), out_features=stages)
        else:
            backbone = made.SwinConfig(
                embed_dim=variant.embedding,
                depths=list(variant.depths),
                num_heads=list(variant.heads),
                window_size=variant.window,
                drop_path_rate=0.0,
                out_features=stages,
            )
        config = made.Mask2FormerConfig(backbone_config=backbone, num_queries=queries, num_labels=classes)
        return made.Mask2FormerForUniversalSegmentation(config)


class Mask2Former(nn.Module):
    """Picture, normalised float32 (1, 3, H, W), sides multiples of 32 → what every query has found.

    Gives masks float32 (1, Q, H/4, W/4), logits; classes (1, Q, C + 1), logits, the last one for "nothing";
    and queries (Q, D): the decoder's norm of the last layer.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.net = model
        model.criterion = nn.Identity()
        encoder = model.model.pixel_level_module.encoder
        if hasattr(encoder, "swin"):
            # Over the last stage's output, which nobody reads.
            encoder.swin.layernorm = nn.Identity()
            encoder.config._attn_implementation = "eager"
        for layer in model.model.transformer_module.decoder.layers:
            own = layer.self_attn._modules  # in the order in which checkpoints stack them
            for name in ("q_proj", "k_proj", "v_proj"):
                own[name] = own.pop(name)
        use_names(self, ((r"^net\.", ""), *_RELEASED), ignored=COMPUTED)

    @property
    def queries(self) -> int:
        """How many queries it has."""
        return int(self.net.model.transformer_module.queries_features.weight.shape[0])

    @property
    def dim(self) -> int:
        """Channels of a query."""
        return int(self.net.model.transformer_module.queries_features.weight.shape[1])

    @property
    def classes(self) -> int:
        """How many classes it tells apart, without "nothing"."""
        return int(self.net.class_predictor.weight.shape[0]) - 1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.net.model.pixel_level_module.encoder(x).feature_maps
        levels, features = self._pixels(maps)
        return self._found(levels, features)

    def _pixels(self, maps: Any) -> tuple[list[Tensor], Tensor]:
        """The encoder's maps → the decoder's, coarsest first, and features of every quarter pixel."""
        decoder = self.net.model.pixel_level_module.decoder
        coarse = list(maps)[::-1][:LEVELS]
        inputs = [project(x) for project, x in zip(decoder.input_projections, coarse, strict=True)]
        sizes = [(int(x.shape[2]), int(x.shape[3])) for x in inputs]
        cells = torch.cat([x.flatten(2)[0].T for x in inputs])
        channels = int(cells.shape[1])
        positions = torch.cat(
            [sine_positions(size, channels) + decoder.level_embed[i] for i, size in enumerate(sizes)]
        )
        for layer in decoder.encoder.layers:
            cells = layer.self_attn_layer_norm(cells + _sampled(layer.self_attn, cells, positions, sizes))
            cells = layer.final_layer_norm(cells + layer.fc2(functional.relu(layer.fc1(cells))))
        parts = torch.split(cells, [height * width for height, width in sizes])
        levels = [part.T.reshape(1, -1, *size) for part, size in zip(parts, sizes, strict=True)]
        finest = levels[-1]
        steps = zip(decoder.lateral_convolutions, decoder.output_convolutions, strict=True)
        for (lateral, output), x in zip(steps, maps[: decoder.num_fpn_levels][::-1], strict=True):
            beside = lateral(x)
            size = (int(beside.shape[2]), int(beside.shape[3]))
            finest = output(beside + bilinear(finest, size, align_corners=False))
        return levels, decoder.mask_projection(finest)

    def _found(self, levels: list[Tensor], features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        whole = self.net.model.transformer_module
        decoder, embed = whole.decoder, whole.decoder.mask_predictor.mask_embedder
        sources, keys, seen = [], [], []
        for level, x in enumerate(levels):
            size = (int(x.shape[2]), int(x.shape[3]))
            source = whole.input_projections[level](x).flatten(2)[0].T + whole.level_embed.weight[level]
            sources.append(source)
            keys.append(source + sine_positions(size, int(source.shape[1])))
            # A mask is reduced to each level: reducing what it is a product of costs a fraction.
            seen.append(bilinear(features, size, align_corners=False).flatten(2)[0])
        hidden, places = whole.queries_features.weight, whole.queries_embedder.weight
        for index, layer in enumerate(decoder.layers):
            level = index % LEVELS
            bias = masked(torch.matmul(embed(decoder.layernorm(hidden)), seen[level]))
            looked = _attended(layer.cross_attn, hidden + places, keys[level], sources[level], bias)
            hidden = layer.cross_attn_layer_norm(hidden + looked)
            own, at = layer.self_attn, hidden + places
            told = attend(own.q_proj(at), own.k_proj(at), own.v_proj(hidden), own.num_heads)
            hidden = layer.self_attn_layer_norm(hidden + own.out_proj(told))
            hidden = layer.final_layer_norm(hidden + layer.fc2(layer.activation_fn(layer.fc1(hidden))))
        queries = decoder.layernorm(hidden)
        height, width = (int(extent) for extent in features.shape[2:])
        masks = torch.matmul(embed(queries), features.flatten(2)[0]).reshape(1, -1, height, width)
        return masks, self.net.class_predictor(queries).unsqueeze(0), queries


def _sampled(attention: Any, cells: Tensor, positions: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """What a layer of deformable attention adds to its cells (N, D)."""
    heads, samples = attention.n_heads, attention.n_levels * attention.n_points
    asked = cells + positions
    offsets = attention.sampling_offsets
    weight, bias = offsets.weight.reshape(-1, 2, asked.shape[1]), offsets.bias.reshape(-1, 2)
    x, y = (
        functional.linear(asked, weight[:, axis], bias[:, axis]).reshape(-1, heads, samples) + place
        for axis, place in enumerate(own_places(sizes, attention.n_points))
    )
    shares = attention.attention_weights(asked).reshape(-1, heads, samples).softmax(2)
    values = attention.value_proj(cells).reshape(int(cells.shape[0]), heads, -1)
    found: Tensor = attention.output_proj(deformable_attention(values, x, y, shares, sizes))
    return found


def _attended(attention: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """torch's MultiheadAttention, written out."""
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    parts = zip((query, key, value), weights, biases, strict=True)
    asked, offered, given = (functional.linear(x, weight, bias) for x, weight, bias in parts)
    found: Tensor = attention.out_proj(attend(asked, offered, given, attention.num_heads, bias))
    return found


def variant_of(weights: Mapping[str, Tensor]) -> str:
    """The published size whose backbone a state dict has; empty where it is none of them."""
    if "backbone.stem.conv1.weight" in weights:
        depths = tuple(
            _blocks(weights, rf"backbone\.res{stage}\.(\d+)\.conv1\.weight") for stage in range(2, 6)
        )
        return next((n for n, v in VARIANTS.items() if v.kind == "resnet" and v.depths == depths), "")
    first = weights.get("backbone.patch_embed.proj.weight")
    if first is None:
        return ""
    depths = tuple(
        _blocks(weights, rf"backbone\.layers\.{stage}\.blocks\.(\d+)\.norm1\.weight") for stage in range(4)
    )
    same = (
        name
        for name, variant in VARIANTS.items()
        if variant.kind == "swin" and variant.depths == depths and variant.embedding == first.shape[0]
    )
    return next(same, "")


def _blocks(weights: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in weights if (match := re.fullmatch(pattern, key))})
