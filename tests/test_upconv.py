"""Doubling by a convolution is what the transposed convolution gives."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from edge_vss.converters.ops.upconv import double


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (8, 3)])
def test_it_is_the_transposed_convolution(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, 6, *size), torch.randn(6, 4, 3, 3), torch.randn(4)
    expected = functional.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
    assert torch.allclose(double(x, weight, bias), expected, atol=1e-5)
