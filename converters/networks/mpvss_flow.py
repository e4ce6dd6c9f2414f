"""The flow of MPVSS (NeurIPS 2023, arXiv 2310.18954): what moved between two pictures, for every segment.

An encoder like FlowNet's sees both pictures. A decoder mixes its three coarsest maps with the segmentor's
queries by attention, and gives one flow that all share and one for each query; a convolution joins the two.
Parameters carry the names of the published network, without ``motion.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.ops.attention import attend, sine_positions
from edge_vss.converters.ops.upconv import double_even, even_kernels
from edge_vss.errors import ModelError
from edge_vss.video import Size

MEAN = (0.411, 0.432, 0.450)
HEAD = 32
"""Channels of an attention head."""
LAYERS, LEVELS = 9, 3
KERNELS = ((7,), (5,), (5, 3), (3, 3), (3, 3), (3, 3))
"""Of conv1 to conv6; the first convolution of each strides by two."""


@dataclass(frozen=True)
class FlowShape:
    """How wide a network is."""

    channels: tuple[int, ...] = (64, 128, 256, 512, 512, 1024)
    """Of conv1 to conv6."""
    dim: int = 256
    """Of queries and of the maps they are mixed with; a multiple of 32."""
    queries: int = 100
    inner: int = 2048
    """Of the layers between attentions."""
    hidden: int = 512
    """Of the two small networks that make the queries' flow."""
    fine: int = 128
    """What is passed on from one scale of the shared flow to the next."""
    finest: int = 64


def shape_of(weights: Mapping[str, Tensor]) -> FlowShape:
    """How wide the network of a state dict is. Raises ModelError where it is none of these."""
    where = {
        **{f"channels{n}": (f"encoder.conv{n}.0.conv.weight", 0) for n in range(1, 7)},
        "queries": ("decoder.query_embed.weight", 0),
        "dim": ("decoder.query_embed.weight", 1),
        "inner": ("decoder.transformer_ffn_layers.0.linear1.weight", 0),
        "hidden": ("decoder.scale_layer.layers.0.weight", 0),
        "fine": ("decoder.deconv5.conv.weight", 1),
        "finest": ("decoder.deconv2.conv.weight", 1),
    }
    found = {}
    for name, (key, axis) in where.items():
        if key not in weights or weights[key].dim() <= axis:
            raise ModelError(f"there is no {key}")
        found[name] = int(weights[key].shape[axis])
    channels = tuple(found.pop(f"channels{n}") for n in range(1, 7))
    if found["dim"] % HEAD:
        raise ModelError(f"decoder.query_embed.weight has {found['dim']} channels, no multiple of {HEAD}")
    return FlowShape(channels, **found)


class Conv(nn.Module):
    """A convolution under the name ``conv``."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return found


class Up(nn.Module):
    """A transposed convolution that doubles the extents, without a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
        self.kernels: Tensor | None = None

    def settle(self) -> None:
        """Once for all: the weights will not change any more."""
        self.kernels = even_kernels(self.conv.weight.detach())

    def forward(self, x: Tensor, size: Size) -> Tensor:
        """Cut to ``size`` at the right and at the bottom."""
        kernels = even_kernels(self.conv.weight) if self.kernels is None else self.kernels
        return double_even(x, kernels)[:, :, : size[0], : size[1]]


class MLP(nn.Module):
    """Three linear layers."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        sizes = ((inputs, hidden), (hidden, hidden), (hidden, outputs))
        self.layers = nn.ModuleList(nn.Linear(into, out) for into, out in sizes)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.layers
        found: Tensor = third(functional.relu(second(functional.relu(first(x)))))
        return found


class Encoder(nn.Module):
    """Current and key picture, float32 (1, 6, h, w) → maps of conv2 to conv6, 1/4 and smaller."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        inputs = 6
        for number, (outputs, kernels) in enumerate(zip(channels, KERNELS, strict=True), 1):
            steps = []
            for index, kernel in enumerate(kernels):
                steps.append(Conv(inputs, outputs, kernel, 1 if index else 2))
                inputs = outputs
            setattr(self, f"conv{number}", nn.ModuleList(steps))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for number in range(1, len(KERNELS) + 1):
            for convolution in self.get_submodule(f"conv{number}").children():
                x = functional.leaky_relu(convolution(x), 0.1)
            maps.append(x)
        return maps[1:]


class Attention(nn.Module):
    """Self-attention with its residual and norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, dim // HEAD)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        own = self.self_attn
        parts = zip(own.in_proj_weight.chunk(3), own.in_proj_bias.chunk(3), strict=True)
        query, key, value = (functional.linear(x, weight, bias) for weight, bias in parts)
        found: Tensor = self.norm(x + own.out_proj(attend(query, key, value, own.num_heads)))
        return found


class FeedForward(nn.Module):
    """Two linear layers with their residual and norm."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x + self.linear2(functional.relu(self.linear1(x))))
        return found


class Decoder(nn.Module):
    """The encoder's maps and the segmentor's queries → a flow for every query."""

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        _, second, third, fourth, fifth, sixth = shape.channels
        dim, fine = shape.dim, shape.fine
        self.shape = shape
        self.scale_layer = MLP(second, shape.hidden, 2 * dim)
        self.input_proj = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in (sixth, fifth, fourth))
        self.level_embed = nn.Embedding(LEVELS, dim)
        self.query_embed = nn.Embedding(shape.queries, dim)
        self.transformer_self_attention_layers = nn.ModuleList(Attention(dim) for _ in range(LAYERS))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(dim, shape.inner) for _ in range(LAYERS))
        self.decoder_norm = nn.LayerNorm(dim)
        self.output_head = MLP(dim, shape.hidden, dim)
        joined = [dim, dim + fine + 2, dim + fine + 2, third + fine + 2]
        outputs = [fine, fine, fine, shape.finest]
        for number, inputs, passed in zip((6, 5, 4, 3), joined, outputs, strict=True):
            setattr(self, f"predict_flow{number}", Conv(inputs, 2, 3, bias=False))
            setattr(self, f"upsample_flow{number - 1}", Up(2, 2))
            setattr(self, f"deconv{number - 1}", Up(inputs, passed))
        self.predict_flow = Conv(second + shape.finest + 2, 2, 3, bias=False)
        self.fuse_layer = Conv(4, 2, 3)

    def mixed(self, maps: list[Tensor], queries: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Queries (Q, D), and the three coarsest maps (1, D, h, w), coarsest first, after all layers."""
        count = int(queries.shape[0])
        sizes = [(int(x.shape[2]), int(x.shape[3])) for x in maps]
        cells = [
            (project(x) + self.level_embed.weight[level].reshape(1, -1, 1, 1)).flatten(2)[0].T
            for level, (project, x) in enumerate(zip(self.input_proj, maps, strict=True))
        ]
        positions = [sine_positions(size, self.shape.dim) for size in sizes]
        layers = zip(self.transformer_self_attention_layers, self.transformer_ffn_layers, strict=True)
        for number, (attention, further) in enumerate(layers):
            level = number % LEVELS
            # As published, what is added here stays in the stream: positions three times, embeddings nine.
            joined = torch.cat((queries + self.query_embed.weight, cells[level] + positions[level]))
            joined = further(attention(joined))
            queries, cells[level] = joined[:count], joined[count:]
        return queries, [x.T.reshape(1, -1, *size) for x, size in zip(cells, sizes, strict=True)]

    def shared(self, maps: list[Tensor]) -> Tensor:
        """The flow that all queries share (1, 2, h, w), at the last and finest of ``maps``."""
        x = maps[0]
        for number, finer in zip((6, 5, 4, 3), maps[1:], strict=True):
            size = (int(finer.shape[2]), int(finer.shape[3]))
            coarse = self.get_submodule(f"predict_flow{number}")(x)
            passed = functional.leaky_relu(self.get_submodule(f"deconv{number - 1}")(x, size), 0.1)
            larger = self.get_submodule(f"upsample_flow{number - 1}")(coarse, size)
            x = torch.cat((finer, passed, larger), 1)
        found: Tensor = self.predict_flow(x)
        return found

    def forward(self, maps: list[Tensor], queries: Tensor) -> Tensor:
        """Maps of conv2 to conv6, queries (Q, D) → flow float32 (Q, 2, h, w), x first, at conv2's extents."""
        second, third, fourth, fifth, sixth = maps
        height, width = (int(extent) for extent in second.shape[2:])
        queries, refined = self.mixed([sixth, fifth, fourth], queries)
        count, dim = int(queries.shape[0]), self.shape.dim
        common = self.shared([*refined, third, second]).expand(count, -1, -1, -1)
        wanted = self.output_head(self.decoder_norm(queries))
        motion = self.scale_layer(second.flatten(2)[0].T).T
        # The second half of the motion map is x: the published weights have it so, the paper the other way.
        own = [
            torch.matmul(wanted, half).reshape(count, 1, height, width)
            for half in (motion[dim:], motion[:dim])
        ]
        found: Tensor = self.fuse_layer(torch.cat((common, *own), 1))
        return found


class Flow(nn.Module):
    """Two reduced pictures and the key frame's queries → a flow for every query, current → key.

    current and key float32 (1, 3, h, w), as `reduced` gives them; queries (Q, D) → float32 (Q, 2, ⌈h/4⌉,
    ⌈w/4⌉), in pixels of that grid, x first.
    """

    def __init__(self, shape: FlowShape) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(shape.channels), Decoder(shape)

    def settle(self) -> Flow:
        """The same, once its weights will not change any more: quicker to convert."""
        for module in self.eval().requires_grad_(False).modules():
            if isinstance(module, Up):
                module.settle()
        return self

    def forward(self, current: Tensor, key: Tensor, queries: Tensor) -> Tensor:
        found: Tensor = self.decoder(self.encoder(torch.cat((current, key), 1)), queries)
        return found


def reduced(picture: Tensor) -> Tensor:
    """A picture (1, 3, H, W), scaled, with its mean taken off and padded to multiples of 32 → half as large.

    Bilinear reduction to a half is the mean of four pixels.
    """
    return functional.avg_pool2d(picture, 2)
