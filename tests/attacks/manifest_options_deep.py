"""A manifest with options that JSON can read, and that are too deep for what copies and shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import spoiled

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss/manifest.json is not valid JSON (it is nested more than 32 deep): convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    deep = json.loads("[" * 400 + "]" * 400)
    return spoiled(folder, lambda data: data["options"].update(deep=deep))
