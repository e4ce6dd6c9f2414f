"""A network that exists only as an artifact: what the three formats of one have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.converters.values import Chain
from edge_vss.errors import ModelError
from edge_vss.video import Size


class GivenNetwork(torch.nn.Module):
    """A given graph with static shapes. torch can run it (through its own engine), not trace it.

    Gives its outputs by name, or the one chosen with ``only`` as a tensor.
    """

    kind = ""
    targets: tuple[str, ...] = ()
    """The targets that can hold such a graph; the first is its own."""
    chosen: str | None = None

    def run(self, picture: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        raise NotImplementedError

    def only(self, output: str) -> GivenNetwork:
        """The same graph with one output."""
        raise NotImplementedError

    def forward(self, picture: Tensor) -> Any:
        outputs = self.run(picture)
        return outputs[self.chosen] if self.chosen else outputs


def around(module: torch.nn.Module, role: str, target: str) -> tuple[Any, Any, Any] | None:
    """What stands before a given network in a chain of stages, the network, and what stands after it; None
    where there is none. Raises ModelError where ``target`` cannot hold such a network."""
    stages: list[torch.nn.Module] = [*module.stages] if isinstance(module, Chain) else [module]
    at = next((i for i, stage in enumerate(stages) if isinstance(stage, GivenNetwork)), None)
    if at is None:
        return None
    network = stages[at]
    assert isinstance(network, GivenNetwork)
    if target not in network.targets:
        raise ModelError(
            f"{role}: a given {network.kind} graph cannot be written for the target {target}: convert with "
            f"--target {' or '.join(network.targets)}, or give the model that it was made from"
        )
    return Chain(*stages[:at]), network, Chain(*stages[at + 1 :])


def picture_input(
    path: Path, dtype: str, extents: list[int | None], size: Size | None, dtypes: tuple[str, ...]
) -> tuple[Size, str]:
    """What the one input of a graph takes: the size, given or fixed by the graph, and the layout (``NCHW`` or
    ``NHWC``). None in ``extents`` is free. Raises ModelError for what is not one picture."""
    if dtype not in dtypes or len(extents) != 4:
        raise ModelError(
            f"{path} takes {dtype} {extents}: it has to take one picture, {' or '.join(dtypes)}, (1, 3, H, W)"
        )
    layout = "NHWC" if extents[3] == 3 and extents[1] != 3 else "NCHW"
    batch, channels, height, width = (extents[layout.index(axis)] for axis in "NCHW")
    if (batch or 1) < 0 or channels not in (None, 3) or batch not in (None, 0, -1, 1):
        raise ModelError(f"{path} takes {extents} ({layout}): it has to take one picture with 3 channels")
    return check_size(path, (height, width), size), layout


def check_size(path: Path, fixed: tuple[int | None, int | None], size: Size | None) -> Size:
    """The size to convert at: what the model fixes, what was asked. Raises ModelError where they differ."""
    height, width = ((extent if extent and extent > 0 else None) for extent in fixed)
    if size is None:
        if height is None or width is None:
            raise ModelError(f"{path} takes pictures of any size: say which with --size HxW")
        return height, width
    if height not in (None, size[0]) or width not in (None, size[1]):
        made_for = f"{height or size[0]}x{width or size[1]}"
        raise ModelError(
            f"{path} was exported for {made_for} and does not take {size[0]}x{size[1]}: use --size "
            f"{made_for}, or export it again"
        )
    return size


def one_line(error: BaseException) -> str:
    """The first line of what a library says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
