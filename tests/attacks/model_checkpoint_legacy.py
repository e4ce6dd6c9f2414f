"""The same in the form that torch.save wrote before PyTorch 1.6."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import Trap, reading

ATTACK = Attack(
    ModelError,
    "{folder}/weights.pt is a pickle of Python objects (posix.mkdir), and opening it could run any "
    "code: save model.state_dict() and give --model file.py:function, or pass --trust-pickle if you "
    "trust it",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    import torch

    path = folder / "weights.pt"
    torch.save({"state_dict": Trap(folder)}, path, _use_new_zipfile_serialization=False)
    return reading(path, factory="tests.helpers.conversion:Net")
