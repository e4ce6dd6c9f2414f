"""CReFF, AR-Seg's cross-resolution feature fusion: the key frame's feature, warped, repairs a low one.

AR-Seg, CVPR 2023 (arXiv 2303.07224), with what its released weights expect.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from edge_vss.converters.ops.local_attention import local_attention, macs
from edge_vss.converters.ops.resize import bilinear, bilinear_rows
from edge_vss.converters.ops.warp import warp_feature
from edge_vss.video import Size

WINDOW = 7


class CReFF(nn.Module):
    """Warped key feature float32 (1, C, H, W), low feature (1, C, h, w) → fused feature (1, C, H, W).

    The attention is not scaled by the channels, and zero padding takes part in its softmax.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("lr_query_conv", "hr_key_conv", "hr_value_conv"):
            setattr(self, name, nn.Conv2d(channels, channels, 3, padding=1, groups=channels))

    def forward(self, warped: Tensor, low: Tensor) -> Tensor:
        low = bilinear(low, (int(warped.shape[2]), int(warped.shape[3])), align_corners=True)
        query, key, value = self.project(warped, low)
        return low + local_attention(query, key, value, WINDOW)

    def scores(self, warped: Tensor, low: Tensor, classifier: nn.Conv2d) -> Tensor:
        """``classifier(self(warped, low))`` for a 1 × 1 classifier, at two thirds of the time.

        Classifying is linear, and so is mixing values: classified first, a value has as many channels as
        there are classes, and the second product of the attention costs next to nothing.
        """
        low = bilinear(low, (int(warped.shape[2]), int(warped.shape[3])), align_corners=True)
        query, key, value = self.project(warped, low)
        scores: Tensor = classifier(low)
        return scores + local_attention(query, key, conv2d(value, classifier.weight), WINDOW)

    def score_rows(
        self, feature: Tensor, motion: Tensor, low: Tensor, classifier: nn.Conv2d, first: int, end: int
    ) -> Tensor:
        """Rows ``first`` to ``end`` of the scores, (1, classes, end − first, W), from the key feature
        (1, H, W, C) not yet warped: what these rows need, and no more, is warped and enlarged."""
        height, width = int(feature.shape[1]), int(feature.shape[2])
        # A window reaches 3 rows further, and the 3 × 3 convolution under it one more.
        reach = WINDOW // 2
        top, bottom = max(first - reach - 1, 0), min(end + reach + 1, height)
        warped = warp_feature(feature, motion, top, bottom - top).permute(0, 3, 1, 2)
        enlarged = bilinear_rows(low, (height, width), first - 1 if first else 0, min(end + 1, height))
        inner = slice(1 if first else 0, (1 if first else 0) + end - first)
        within = slice(max(first - reach, 0) - top, min(end + reach, height) - top)
        query, key, value = self.project(warped, enlarged)
        value = conv2d(value[:, :, within], classifier.weight)
        above, below = reach - min(first, reach), reach - min(height - end, reach)
        scores: Tensor = classifier(enlarged[:, :, inner])
        return scores + local_attention(
            query[:, :, inner],
            pad(key[:, :, within], (0, 0, above, below)),
            pad(value, (0, 0, above, below)),
            WINDOW,
            haloed=True,
        )

    def project(self, warped: Tensor, low: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, of the same shapes."""
        return (
            self.get_submodule("lr_query_conv")(low),
            self.get_submodule("hr_key_conv")(warped),
            self.get_submodule("hr_value_conv")(warped),
        )

    @staticmethod
    def macs(channels: int, size: Size) -> int:
        """Multiply-accumulates at a feature of ``size``, as the paper counts them: convolutions and
        attention."""
        return 3 * 9 * channels * size[0] * size[1] + macs(size, channels, channels, WINDOW)
