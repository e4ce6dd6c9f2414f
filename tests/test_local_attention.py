"""Local attention in tiles: the same as one product per offset."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_vss.converters.families.arseg import to_labels
from edge_vss.converters.networks.bisenet import BiSeNet18
from edge_vss.converters.networks.creff import CReFF
from edge_vss.converters.networks.resnet import scaled
from edge_vss.converters.ops.local_attention import local_attention, macs
from edge_vss.converters.ops.resize import average_pool, bilinear, bilinear_rows
from edge_vss.converters.ops.warp import warp_feature
from edge_vss.converters.readers._untrained_weights import fill


def by_offsets(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    height, width = query.shape[2:]
    around = window // 2
    keys, values = (F.pad(x, (around,) * 4) for x in (key, value))
    cut = [(dy, dx) for dy in range(window) for dx in range(window)]
    logits = torch.stack([(query * keys[:, :, y : y + height, x : x + width]).sum(1) for y, x in cut])
    weights = logits.softmax(0)
    shifted = torch.stack([values[:, :, y : y + height, x : x + width] for y, x in cut])
    mixed: Tensor = (weights.unsqueeze(2) * shifted).sum(0)
    return mixed


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    window=st.sampled_from([1, 3, 7]),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_tiles_give_what_offsets_give(height: int, width: int, window: int, tile: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(height * 31 + width)
    query, key, value = (torch.randn(1, 5, height, width, generator=generator) for _ in range(3))
    expected = by_offsets(query, key, value, window)
    torch.testing.assert_close(
        local_attention(query, key, value, window, tile), expected, rtol=1e-4, atol=1e-5
    )


def test_padding_takes_part_in_the_softmax() -> None:
    one = torch.ones(1, 1, 1, 1)
    # Of nine positions eight are outside: logit 0 and value 0; the one inside has logit 1.
    expected = torch.e / (torch.e + 8)
    assert local_attention(one, one, one, 3).item() == pytest.approx(float(expected))


@pytest.mark.parametrize("rows", [5, 8, 40])
def test_scores_and_their_strips_are_those_of_the_fused_feature(rows: int) -> None:
    fusion, classifier = CReFF(6), torch.nn.Conv2d(6, 5, 1)
    for module in (fusion, classifier):
        fill(module)
    generator = torch.Generator().manual_seed(1)
    feature = torch.randn(1, 24, 30, 6, generator=generator)
    low, motion = (
        torch.randn(1, 6, 12, 15, generator=generator),
        torch.randn(1, 2, 24, 30, generator=generator),
    )
    with torch.inference_mode():
        warped = warp_feature(feature, motion * 2).permute(0, 3, 1, 2)
        expected = classifier(fusion(warped, low))
        whole = fusion.scores(warped, low, classifier)
        strips = [
            fusion.score_rows(feature, motion * 2, low, classifier, top, min(top + rows, 24))
            for top in range(0, 24, rows)
        ]
    torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat(strips, 2), expected, rtol=1e-4, atol=1e-5)


def test_cost_is_counted_by_the_window() -> None:
    assert macs((90, 120), 256, 256, 7) == 90 * 120 * 49 * 512


def test_a_feature_is_warped_as_the_published_grid_does_it() -> None:
    generator = torch.Generator().manual_seed(2)
    feature, motion = (
        torch.randn(1, 4, 9, 11, generator=generator),
        torch.randn(1, 2, 9, 11, generator=generator),
    )
    motion = motion * 4
    x = (motion[:, 0] + torch.arange(11)) * 2 / 10 - 1
    y = (motion[:, 1] + torch.arange(9).reshape(-1, 1)) * 2 / 8 - 1
    expected = F.grid_sample(feature, torch.stack([x, y], -1), padding_mode="zeros", align_corners=False)
    found = warp_feature(feature.permute(0, 2, 3, 1), motion).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(
        warp_feature(feature.permute(0, 2, 3, 1), motion * 0), feature.permute(0, 2, 3, 1)
    )


@pytest.mark.parametrize("size", [(6, 6), (45, 60), (23, 30), (5, 7)])
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_pooling_is_adaptive_pooling(size: tuple[int, int], cells: int) -> None:
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(average_pool(x, cells), F.adaptive_avg_pool2d(x, cells), rtol=1e-5, atol=1e-6)


def test_rows_of_a_resize_are_those_of_the_whole() -> None:
    x = torch.randn(1, 3, 12, 9, generator=torch.Generator().manual_seed(4))
    whole = bilinear(x, (31, 20), align_corners=True)
    for first, end in ((0, 5), (4, 31), (30, 31)):
        torch.testing.assert_close(
            bilinear_rows(x, (31, 20), first, end), whole[:, :, first:end], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("size", [(360, 480), (90, 120), (97, 131)])
def test_labels_are_those_of_both_resizes(size: tuple[int, int]) -> None:
    grid = BiSeNet18.grid(size)
    scores = torch.randn(1, 12, *grid, generator=torch.Generator().manual_seed(5))
    twice = bilinear(scores, (8 * grid[0], 8 * grid[1]), align_corners=False)
    expected = bilinear(twice, size, align_corners=True).argmax(1)
    assert (to_labels(scores, 8, size) == expected).float().mean() > 0.9999


def test_a_width_never_leaves_nothing() -> None:
    assert [scaled(64, width) for width in (1.0, 0.25, 0.001)] == [64, 16, 1]
