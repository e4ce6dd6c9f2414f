"""LMANet (IROS 2021, arXiv 2101.01715): a network for pictures that also reads what it saw before.

Every frame is encoded. Its query is matched with the keys of the last frames near the same place, what their
values say there is fused with the feature, and the decoder goes on as if nothing had happened. Parameters
carry the names of LMANet's checkpoints; what inference never uses is left out.

The paper's R = 21 is the width of the window, not its radius (Eq. 2 defines it as the radius).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss.converters.networks import erfnet, resnet101
from edge_vss.converters.networks.pspnet import BINS, Pools
from edge_vss.video import Size

STRIDE = 8
"""Of the feature, in both variants."""

EPSILON = 1e-3
"""Of the batch norms of fusion, whatever the encoder's is."""


class KeyValue(nn.Module):
    """Feature (N, C, h, w) → key (N, ``keys``, h, w) and value (N, ``values``, h, w), or the feature itself
    for a value where ``values`` is None."""

    def __init__(self, channels: int, keys: int, values: int | None) -> None:
        super().__init__()
        self.Key = nn.Conv2d(channels, keys, 3, padding=1)
        self.Value = nn.Identity() if values is None else nn.Conv2d(channels, values, 3, padding=1)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        return self.Key(feature), self.Value(feature)


class Fusion(nn.Module):
    """Value of this frame and of the memory, (N, D, h, w) each → feature (N, C, h, w).

    Two gates, each of which sees both, weigh the two (LMANet, Eq. 6, with the norms that it leaves out).
    """

    def __init__(self, values: int, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(values, EPSILON)
        self.bn2 = nn.BatchNorm2d(values, EPSILON)
        self.conv_layer_1 = nn.Conv2d(values, channels, 3, padding=1)
        self.conv_layer_2 = nn.Conv2d(values, channels, 3, padding=1)
        self.conv_layer_3 = nn.Conv2d(2 * values, channels, 3, padding=1)
        self.conv_layer_4 = nn.Conv2d(2 * values, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels, EPSILON)

    def forward(self, value: Tensor, memory: Tensor) -> Tensor:
        value, memory = functional.relu(self.bn1(value)), functional.relu(self.bn2(memory))
        both = torch.cat([value, memory], 1)
        now = self.conv_layer_1(value) * torch.sigmoid(self.conv_layer_3(both))
        then = self.conv_layer_2(memory) * torch.sigmoid(self.conv_layer_4(both))
        return functional.relu(self.bn(now + then))


class NarrowFusion(nn.Module):
    """The same for values as wide as the feature: gates on the values themselves, of what is left of their
    sum in ``inner`` channels.

    One convolution narrows both. Checkpoints hold a second one, ``conv_layer_2``, that nothing uses.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv_layer_1 = nn.Conv2d(channels, inner, 1)
        self.bn0 = nn.BatchNorm2d(inner, EPSILON)
        self.conv_layer_3 = nn.Conv2d(inner, channels, 1)
        self.conv_layer_4 = nn.Conv2d(inner, channels, 1)
        self.bn = nn.BatchNorm2d(channels, EPSILON)

    def forward(self, value: Tensor, memory: Tensor) -> Tensor:
        both = functional.relu(self.bn0(self.conv_layer_1(value) + self.conv_layer_1(memory)))
        now = value * torch.sigmoid(self.conv_layer_3(both))
        then = memory * torch.sigmoid(self.conv_layer_4(both))
        return functional.relu(self.bn(now + then))


class Classifier(nn.Module):
    """Feature with its pyramid (N, C, h, w) → scores (N, classes, h, w); the last class always has 0.

    The ignored class has no weights: it wins where all others are below zero.
    """

    def __init__(self, channels: int, inner: int, classes: int) -> None:
        super().__init__()
        self.cls = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Identity(),
            nn.Conv2d(inner, classes - 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.cls(x)
        return torch.cat([scores, torch.zeros_like(scores[:, :1])], 1)


class LMANet(nn.Module):
    """What a frame goes through, step by step; the memory, and reading it, are the caller's.

    ``encode`` → ``ask`` → read → ``fuse`` → ``decode``, then ``memorise`` for the frames to come. A frame
    without any memory is decoded as it was encoded.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projection: Callable[[], KeyValue],
        fusion: nn.Module,
        decoder: nn.Module,
        ppm: nn.Module | None = None,
        *,
        channels: int,
        key_channels: int,
        value_channels: int,
        upsampling: int,
    ) -> None:
        super().__init__()
        self.channels, self.key_channels, self.value_channels = channels, key_channels, value_channels
        self.upsampling = upsampling
        """Extents of the scores over the feature's: 8 is the picture's own; with 1, corners are aligned on
        the way to the frame."""
        self.encoder = encoder
        # Trained apart: a query's key and a memory's differ even for the same frame.
        self.kv_M_r4, self.kv_Q_r4 = projection(), projection()
        self.memory_fusion = fusion
        self.decoder = decoder
        if ppm is not None:
            self.ppm = ppm

    @staticmethod
    def grid(size: Size) -> Size:
        """Extents of the feature for a picture of ``size``."""
        return -(-size[0] // STRIDE), -(-size[1] // STRIDE)

    def encode(self, x: Tensor) -> Tensor:
        """Picture, normalised float32 (1, 3, H, W) → feature (1, C, h, w)."""
        feature: Tensor = self.encoder(x)
        return feature

    def memorise(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value, (1, key_channels, h, w) and (1, value_channels, h, w), for later frames to read."""
        key, value = self.kv_M_r4(feature)
        return key, value

    def ask(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of the frame that reads, of the same shapes."""
        key, value = self.kv_Q_r4(feature)
        return key, value

    def fuse(self, value: Tensor, memory: Tensor) -> Tensor:
        """``ask``'s value, and what was read of the memory's values → feature (1, C, h, w)."""
        feature: Tensor = self.memory_fusion(value, memory)
        return feature

    def decode(self, feature: Tensor) -> Tensor:
        """Scores (1, classes, h · upsampling, w · upsampling)."""
        scores: Tensor = self.decoder(self.ppm(feature) if "ppm" in self._modules else feature)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a frame without memory."""
        return self.decode(self.encode(x))


def erf(classes: int) -> LMANet:
    """LMANet on ERFNet: 2.7 M weights, 33 GMAC a frame at 512 × 1024 with four slots."""
    channels, keys, values = erfnet.CHANNELS[-1], 16, 64
    return LMANet(
        erfnet.Encoder(),
        lambda: KeyValue(channels, keys, values),
        Fusion(values, channels),
        erfnet.Decoder(classes),
        channels=channels,
        key_channels=keys,
        value_channels=values,
        upsampling=STRIDE,
    )


def psp101(classes: int) -> LMANet:
    """LMANet on PSPNet: 72 M weights, and 2.4 TMAC a frame at 1025 × 2049 with three slots."""
    channels, keys, inner = resnet101.CHANNELS, 128, 512
    return LMANet(
        resnet101.ResNet101(),
        lambda: KeyValue(channels, keys, None),
        NarrowFusion(channels, channels // 8),
        Classifier(channels + len(BINS) * inner, inner, classes),
        Pools(channels, inner),
        channels=channels,
        key_channels=keys,
        value_channels=channels,
        upsampling=1,
    )


@dataclass(frozen=True)
class LmanetVariant:
    """One published combination of network and data set."""

    build: Callable[[int], LMANet]
    """Number of classes, the ignored one included → network."""
    classes: str
    """Name of the class set."""
    size: Size
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of RGB from 0 to 1."""
    slots: int
    """Frames in memory."""
    multiple: int
    rest: int
    """Height and width are multiples of ``multiple``, and ``rest`` more."""
    aliases: Mapping[str, str]
    """Second names in checkpoints, by how they begin → the names used here."""
    auxiliary: tuple[str, ...]
    """How names begin that checkpoints hold and inference does not use."""
    window: int = 21
    """Side of the square of positions that a query looks at, in each slot."""


VARIANTS: Mapping[str, LmanetVariant] = {
    "erf": LmanetVariant(
        erf, "cityscapes20", (512, 1024), (0.0,) * 3, (1.0,) * 3, 4, STRIDE, 0, {}, erfnet.AUXILIARY
    ),
    "psp101": LmanetVariant(
        psp101,
        "cityscapes20",
        (1025, 2049),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        3,
        STRIDE,
        1,
        {"layer": "encoder.layer", "cls.": "decoder.cls."},
        ("memory_fusion.conv_layer_2.", "aux."),
    ),
}
