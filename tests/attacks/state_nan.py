"""A state file with right hashes that would make every step after it NaN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_vss.errors import StateFileError
from tests.attacks import Attack
from tests.attacks._state import forged_file
from tests.helpers.state_files import NBYTES

ATTACK = Attack(
    StateFileError, "{folder}/s is no state file, or a damaged one (scores holds NaN): start without it"
)


def make(folder: Path) -> Callable[[], object]:
    body = np.full(NBYTES // 4 + 1, np.nan, np.float32).tobytes()[:NBYTES]
    return forged_file(folder, body=body)
