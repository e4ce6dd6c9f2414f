"""A folder of label maps with a pipe in it, which nobody writes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import SourceError
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from tests.attacks import Attack

ATTACK = Attack(
    SourceError,
    "{folder}/0.png cannot be read (it is no plain file): check the place and its permissions",
)


def make(folder: Path) -> Callable[[], object]:
    os.mkfifo(folder / "0.png")
    return lambda: GroundTruth(folder)[0]
