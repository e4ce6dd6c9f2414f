"""A small share of what `make soak` does for hours; tests/fuzzing/soak.py has the long form."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.fuzzing.soak import PARTS, damaged, soaked

SHARES = {
    "streams": 0.008,
    "bundles": 0.02,
    "kills": 0.015,
    "kills-convert": 0.015,
    "kills-serve": 0.015,
    "growth": 0.004,
    "digests": 0.04,
    "sessions": 1.0,
}
SOAK = os.environ.get("EDGE_VSS_SOAK") == "1"


@pytest.mark.parametrize("part", PARTS)
def test_nothing_goes_wrong(tiny_bundle: Path, part: str) -> None:
    pytest.importorskip("onnxruntime", reason="the bundle is run with onnxruntime")
    rows = list(soaked(tiny_bundle, iter([part]), 1.0 if SOAK else SHARES.get(part, 1.0)))
    assert rows and all(row.tried or "not installed" in row.notes for row in rows)
    assert not [row for row in rows if row.wrong]


def test_damage_is_damage_and_the_same_again() -> None:
    data = bytes(range(256)) * 8
    found = [damaged(data, random.Random(seed)) for seed in range(50)]
    assert found == [damaged(data, random.Random(seed)) for seed in range(50)]
    assert sum(made != data for made in found) > 40 and all(found)
