"""Networks that exist only as an artifact: what ONNX, OpenVINO and TFLite have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.converters.readers import ReaderDescription
from edge_vss.converters.values import Chain
from edge_vss.errors import ModelError, OptionError
from edge_vss.video import Size


class ArtifactNetwork(torch.nn.Module):
    """A graph that only exists as an artifact, with static shapes.

    torch can run it, through the artifact's own engine, but cannot trace it.

    It gives its outputs by name; those chosen with ``only`` as a tensor, or several as a tuple.
    """

    description: ReaderDescription
    """Of its reader: what it is called, and which targets can hold it."""
    chosen: tuple[str, ...] = ()

    def run(self, picture: Tensor) -> dict[str, Tensor]:
        """All outputs by name."""
        raise NotImplementedError

    def only(self, *outputs: str) -> ArtifactNetwork:
        """The same graph with these outputs, in this order."""
        raise NotImplementedError

    def forward(self, picture: Tensor) -> Any:
        outputs = self.run(picture)
        if not self.chosen:
            return outputs
        chosen = tuple(outputs[name] for name in self.chosen)
        return chosen[0] if len(chosen) == 1 else chosen


def scales_itself(path: Path, dtype: str) -> OptionError:
    """The error for options about pixels where a network takes them as they are."""
    return OptionError(
        f"{path} takes {dtype} pictures and scales them itself: leave --mean, --std and --scale out"
    )


def around(module: torch.nn.Module, role: str, target: str) -> tuple[Any, Any, Any] | None:
    """The stages of a module before an artifact's network, that network, and the stages after it.

    None where there is no such network. Raises ModelError where ``target`` cannot hold it.
    """
    stages: list[torch.nn.Module] = [*module.stages] if isinstance(module, Chain) else [module]
    at = next((i for i, stage in enumerate(stages) if isinstance(stage, ArtifactNetwork)), None)
    if at is None:
        return None
    network = stages[at]
    assert isinstance(network, ArtifactNetwork)
    title, targets = network.description.title, network.description.targets
    if target not in targets:
        raise ModelError(
            f"{role}: a graph from {title} cannot be written for the target {target}: convert with --target "
            f"{' or '.join(targets)}, or give the model that it was made from"
        )
    return Chain(*stages[:at]), network, Chain(*stages[at + 1 :])


def picture_input(
    path: Path, dtype: str, extents: list[int | None], size: Size | None, dtypes: tuple[str, ...]
) -> tuple[Size, str]:
    """What the one input of a graph takes: the size of its pictures, and the layout (``NCHW`` or ``NHWC``).

    None in ``extents`` is free; then ``size`` decides. Raises ModelError for what is not one picture.
    """
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
