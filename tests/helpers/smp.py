"""segmentation_models.pytorch in the tests."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from typing import Any

import pytest


@cache
def _operators() -> Any:
    import torch

    library: Any = torch.library.Library
    made = library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        made.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return made


def segmentation_models() -> Any:
    """The package; the test is skipped without it.

    Its timm imports torchvision. Where that was built for a GPU that is not here, its operators are missing.
    None of them is called, so that declaring two is enough.
    """
    for name in ("segmentation_models_pytorch", "timm", "torchvision"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _operators()
    return pytest.importorskip("segmentation_models_pytorch")
