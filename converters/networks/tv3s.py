"""TV3S (CVPR 2025, arXiv 2503.20824): a state-space model carries what was seen from frame to frame.

An image encoder's four maps become one feature; eight Mamba layers go over it in windows, every second one
shifted by half a window. What a window's layer remembers is one matrix per window and the last three inputs
of its convolution: named tensors here, in and out. A clip computed whole gives the same as its frames one
by one (the paper's Algorithm 1).

Parameters carry the names of the released checkpoints. What those hold and never use (``AUXILIARY``) is left
out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.ops.norm import folded
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.selective_scan import selective_scan
from edge_vss.converters.ops.windows import cut
from edge_vss.video import Size

AUXILIARY = ("decode_head.conv_seg.", "decode_head.linear_pred.")
"""In every checkpoint: one head that is never used, and one that only training compares with."""
DIM, INNER, STATES, RANK, TAPS, LAYERS = 256, 512, 16, 16, 4, 8
WINDOW = 20

Memory = tuple[Tensor, Tensor]
"""What a layer carries: state (K, N, D) and the convolution's tail (taps − 1, K, D), for all its windows."""


class Mixer(nn.Module):
    """Mamba (arXiv 2312.00752) over windows of tokens, with its memory in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Linear(DIM, 2 * INNER, bias=False)
        self.conv1d = nn.Conv1d(INNER, INNER, TAPS, groups=INNER)
        self.x_proj = nn.Linear(INNER, RANK + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(RANK, INNER)
        self.A_log = nn.Parameter(torch.zeros(INNER, STATES))
        self.D = nn.Parameter(torch.zeros(INNER))
        self.out_proj = nn.Linear(INNER, DIM, bias=False)

    def forward(self, tokens: Tensor, extents: Sequence[Size], memory: Memory) -> tuple[Tensor, Memory]:
        """tokens (T, 256): for each of ``extents`` (L, K), token by token, all of K windows → (T, 256)."""
        # Two products: cutting one in two would copy it.
        x, gate = (functional.linear(tokens, weight) for weight in torch.split(self.in_proj.weight, INNER))
        parts, tails = [], []
        taps = self.conv1d.weight[:, 0].T.contiguous()
        for part, tail in zip(_by_window(x, extents), _cut(memory[1], extents, 1), strict=True):
            # Four shifted products: a convolution is quicker itself, but wants the channels elsewhere.
            before, length = torch.cat([tail, part]), int(part.shape[0])
            mixed = before[:length] * taps[0] + self.conv1d.get_parameter("bias")
            for tap in range(1, TAPS):
                mixed = mixed + before[tap : tap + length] * taps[tap]
            parts.append(mixed.reshape(-1, INNER))
            tails.append(before[length:])
        x = functional.silu(_joined(parts))
        rank, into, out = torch.split(self.x_proj(x), [RANK, STATES, STATES], 1)
        delta = _softplus(self.dt_proj(rank))
        decay = -torch.exp(self.A_log).T.contiguous()
        cut = (_by_window(part, extents) for part in (delta, delta * x, into, out))
        ys, states = [], []
        for step, drive, b, c, state in zip(*cut, _cut(memory[0], extents, 0), strict=True):
            y, after = selective_scan(step, decay, drive, b, c, state)
            ys.append(y.reshape(-1, INNER))
            states.append(after)
        mixed = (_joined(ys) + x * self.D) * functional.silu(gate)
        return self.out_proj(mixed), (_joined(states), _joined(tails, 1))


def _cut(x: Tensor, extents: Sequence[Size], dim: int) -> Sequence[Tensor]:
    """A memory, by groups of windows that are equally long."""
    return [x] if len(extents) == 1 else torch.split(x, [count for _, count in extents], dim)


def _by_window(x: Tensor, extents: Sequence[Size]) -> list[Tensor]:
    """Tokens (T, C) → (L, K, C) for each of ``extents``."""
    parts = [x] if len(extents) == 1 else torch.split(x, [length * count for length, count in extents])
    return [part.reshape(*extent, -1) for part, extent in zip(parts, extents, strict=True)]


def _joined(parts: list[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _softplus(x: Tensor) -> Tensor:
    # log(1 + exp(x)) by way of the sigmoid: ONNX Runtime takes six times as long for its own, and torch's
    # adds a branch.
    return functional.relu(x) - torch.log(torch.sigmoid(x.abs()))


class Layer(nn.Module):
    """A mixer, and the norm before it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(DIM, eps=1e-5)
        self.mixer = Mixer()


class Blocks(nn.Module):
    """Four blocks of two layers each, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm_f = nn.RMSNorm(DIM, eps=1e-5)

    def forward(
        self, tokens: Tensor, size: Size, window: int, memories: Sequence[Memory]
    ) -> tuple[Tensor, list[Memory]]:
        """tokens (H · W, 256) in raster order, and what every layer remembers → the same, one frame on."""
        grids = [cut(size, window, shifted) for shifted in (False, True)]
        orders = [torch.cat([group.reshape(-1) for group in grid]) for grid in grids]
        backs = [torch.argsort(order) for order in orders]
        residual, follows = tokens.index_select(0, orders[0]), []
        for number, (layer, memory) in enumerate(zip(self.layers, memories, strict=True)):
            assert isinstance(layer, Layer)
            if number:
                # From one cut's order straight to the other's.
                residual = residual.index_select(0, backs[(number - 1) % 2][orders[number % 2]])
            extents = [(int(group.shape[0]), int(group.shape[1])) for group in grids[number % 2]]
            hidden, after = layer.mixer(layer.norm(residual), extents, memory)
            residual = residual + hidden
            follows.append(after)
        return self.norm_f(residual).index_select(0, backs[1]), follows


class Linear(nn.Module):
    """A linear layer under the name ``proj``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, DIM)


class Fuse(nn.Module):
    """A 1 × 1 convolution without bias, and its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * DIM, DIM, 1, bias=False)
        self.bn = nn.BatchNorm2d(DIM)


class Head(nn.Module):
    """Four maps of an encoder → feature → scores; in between go the blocks."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        for number, count in enumerate(channels, 1):
            setattr(self, f"linear_c{number}", Linear(count))
        self.linear_fuse = Fuse()
        self.linear_pred2 = nn.Conv2d(DIM, classes, 1)
        self.vs = Blocks()

    def fuse(self, maps: Sequence[Tensor], grid: Size) -> Tensor:
        """The encoder's maps, finest first → feature (1, 256, *grid).

        The published order is: project every map, enlarge it, concatenate, convolve, normalise. All but the
        enlarging are linear in the channels, so each map is multiplied once by the product of its matrices
        while it is small: 0.8 GMAC instead of 7.6 for 480×864.
        """
        factor, shift = folded(self.linear_fuse.bn)
        total = None
        for number, x in enumerate(maps, 1):
            # The checkpoint's order in the concatenation: coarsest map first.
            first = (len(maps) - number) * DIM
            mix = self.linear_fuse.conv.weight[:, first : first + DIM, 0, 0] * factor.reshape(-1, 1)
            linear = self.get_submodule(f"linear_c{number}.proj")
            weight = mix @ linear.get_parameter("weight")
            shift = shift + mix @ linear.get_parameter("bias")
            bias = shift if number == len(maps) else None
            part = functional.conv2d(x, weight[:, :, None, None], bias)
            part = bilinear(part, (int(maps[0].shape[2]), int(maps[0].shape[3])), align_corners=False)
            total = part if total is None else total + part
        assert total is not None
        return bilinear(functional.relu(total), grid, align_corners=False)


class TV3S(nn.Module):
    """Picture, normalised float32 (1, 3, H, W) → feature → scores, with a memory of what came before."""

    def __init__(self, backbone: nn.Module, classes: int, window: int = WINDOW) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = Head(backbone.channels, classes)  # type: ignore[arg-type]
        self.window = window

    def grid(self, size: Size) -> Size:
        """Extents of the feature: half of a quarter of the picture, rounded up to whole windows."""
        height, width = (
            math.ceil(int(math.ceil(extent / 4) / 2) / self.window) * self.window for extent in size
        )
        return height, width

    def windows(self, size: Size) -> tuple[int, int]:
        """How many windows the even layers have for a picture of ``size``, and how many the odd ones."""
        even, odd = (
            sum(group.shape[1] for group in cut(self.grid(size), self.window, shifted))
            for shifted in (False, True)
        )
        return even, odd

    def feature(self, x: Tensor) -> Tensor:
        """The feature of a picture, (1, 256, *grid)."""
        size = (int(x.shape[2]), int(x.shape[3]))
        feature: Tensor = self.decode_head.fuse(self.backbone(x), self.grid(size))
        return feature

    def remember(self, feature: Tensor, memories: Sequence[Memory]) -> tuple[Tensor, list[Memory]]:
        """The feature (1, h, w, 256) in the light of the frames before, of the same shape, and what is
        remembered now."""
        size = (int(feature.shape[1]), int(feature.shape[2]))
        seen, after = self.decode_head.vs(feature.reshape(-1, DIM), size, self.window, memories)
        return seen.reshape(feature.shape), after

    def classify(self, seen: Tensor) -> Tensor:
        """Scores (1, classes, h, w)."""
        scores: Tensor = self.decode_head.linear_pred2(seen)
        return scores

    def nothing(self, size: Size) -> list[Memory]:
        """What is remembered before the first frame: zeros."""
        return [
            (torch.zeros(count, STATES, INNER), torch.zeros(TAPS - 1, count, INNER))
            for _ in range(LAYERS // 2)
            for count in self.windows(size)
        ]
