"""Swin (arXiv 2103.14030) as an image encoder of TV3S, with blocks from the library transformers.

Its state dict has the names of the published backbone for segmentation, see `use_names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from edge_vss.converters.networks.mit import transformers, use_names

COMPUTED = ".relative_position_index"
"""How names end that released files hold although they follow from the window; loading leaves them out."""


@dataclass(frozen=True)
class SwinShape:
    """What the published sizes differ in."""

    embedding: int
    """Channels of the first stage; every further one has twice as many."""
    depths: tuple[int, int, int, int]
    """Blocks of each stage."""
    heads: tuple[int, int, int, int]


VARIANTS: Mapping[str, SwinShape] = {
    "swin-t": SwinShape(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin-s": SwinShape(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin-b": SwinShape(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "swin-l": SwinShape(192, (2, 2, 18, 2), (6, 12, 24, 48)),
}

_RELEASED = (
    (r"^backbone\.swin\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^backbone\.swin\.embeddings", "patch_embed"),
    (r"^backbone\.swin\.encoder\.", ""),
    (r"^backbone\.hidden_states_norms\.stage1", "norm0"),
    (r"^backbone\.hidden_states_norms\.stage2", "norm1"),
    (r"^backbone\.hidden_states_norms\.stage3", "norm2"),
    (r"^backbone\.hidden_states_norms\.stage4", "norm3"),
    (r"\.layernorm_before", ".norm1"),
    (r"\.layernorm_after", ".norm2"),
    (r"\.attention\.relative_position_bias", ".attn"),
    (r"\.attention\.[qkv]_proj", ".attn.qkv"),
    (r"\.attention\.o_proj", ".attn.proj"),
)


def released(prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Rules for `use_names` of a backbone of the library, under ``backbone.`` there and ``prefix`` here."""
    return tuple((old, prefix + new if old.startswith("^") else new) for old, new in _RELEASED)


class Swin(nn.Module):
    """float32 (1, 3, H, W), normalised → (1, C, h, w) of each stage, 1/4, 1/8, 1/16 and 1/32 of the input.

    Extents are rounded up at every step. Windows are 7 × 7 in all variants.
    """

    def __init__(self, variant: SwinShape) -> None:
        super().__init__()
        made = transformers("SwinConfig", "SwinBackbone")
        config = made.SwinConfig(
            embed_dim=variant.embedding,
            depths=variant.depths,
            num_heads=variant.heads,
            drop_path_rate=0.0,
            attn_implementation="eager",
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )
        first = variant.embedding
        self.channels = (first, 2 * first, 4 * first, 8 * first)
        self.backbone = made.SwinBackbone(config)
        # A norm over the last stage that the published backbone does not have, and nothing here reads.
        self.backbone.swin.layernorm = nn.Identity()
        use_names(self, released(), ignored=COMPUTED)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first, second, third, fourth = self.backbone(x).feature_maps
        return first, second, third, fourth
