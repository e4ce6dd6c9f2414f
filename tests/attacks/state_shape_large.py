"""A state file with a tensor of 4 GiB that its bundle does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import OptionError
from tests.attacks import Attack
from tests.attacks._state import forged_file

ATTACK = Attack(
    OptionError,
    "{folder}/s: scores is float32 (1073741824,), and this bundle wants float32 (1, 2, 12, 16): ...",
)


def make(folder: Path) -> Callable[[], object]:
    return forged_file(folder, tensors=[{"name": "scores", "dtype": "float32", "shape": [1 << 30]}])
