"""A transposed convolution that doubles the extents, by way of an ordinary one.

Every pixel of the result sees at most 2 × 2 of the input: four kinds of pixels, four kernels, and one
convolution.
TFLite's converter refuses the transposed one, and ONNX Runtime has it in no fast layout.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TAPS = (((0, 1),), ((0, 2), (1, 0)))
"""For an even and an odd row or column of the result: the input's offset, and the row of the kernel on it."""


def double(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """conv_transpose2d with stride 2, padding 1 and output_padding 1.

    x float32 (1, C, h, w), weight (C, D, 3, 3), bias (D,) → (1, D, 2h, 2w).
    """
    inputs, outputs = int(weight.shape[0]), int(weight.shape[1])
    _, _, height, width = (int(extent) for extent in x.shape)
    turned, kernels = weight.transpose(0, 1), []
    for rows in TAPS:
        for columns in TAPS:
            empty = torch.zeros(outputs, inputs)
            taps = {(y, x): turned[:, :, down, across] for y, down in rows for x, across in columns}
            kernel = [torch.stack([taps.get((y, x), empty) for x in (0, 1)], 2) for y in (0, 1)]
            kernels.append(torch.stack(kernel, 2))
    four = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), torch.cat(kernels), bias.repeat(4))
    # Channels last, an upper and a lower pair of pixels are two rows of one picture.
    pairs = four.permute(0, 2, 3, 1).reshape(height, width, 2, 2 * outputs).transpose(1, 2)
    return pairs.reshape(1, 2 * height, 2 * width, outputs).permute(0, 3, 1, 2)


def even_kernels(weight: Tensor) -> Tensor:
    """The kernels of `double_even`: weight (C, D, 4, 4) → (4 · D, C, 2, 2), one for each kind of pixel."""
    turned = weight.transpose(0, 1)
    # An even pixel sees the input before it and its own, an odd one its own and the one after.
    kinds = [turned[:, :, 1 - down :: 2, 1 - across :: 2] for down in (0, 1) for across in (0, 1)]
    return torch.cat(kinds).flip(2, 3)


def double_even(x: Tensor, kernels: Tensor) -> Tensor:
    """conv_transpose2d with a kernel of 4, stride 2 and padding 1.

    x float32 (1, C, h, w), `even_kernels` of its weight (C, D, 4, 4) → (1, D, 2h, 2w).
    """
    _, _, height, width = (int(extent) for extent in x.shape)
    outputs = int(kernels.shape[0]) // 4
    four = functional.conv2d(functional.pad(x, (1, 1, 1, 1)), kernels)
    lines = []
    for down, pair in enumerate((four[:, : 2 * outputs], four[:, 2 * outputs :])):
        rows = pair[:, :, down : down + height]
        even, odd = rows[:, :outputs, :, :width], rows[:, outputs:, :, 1:]
        lines.append(torch.stack((even, odd), 4).reshape(1, outputs, height, 2 * width))
    return torch.stack(lines, 3).reshape(1, outputs, 2 * height, 2 * width)
