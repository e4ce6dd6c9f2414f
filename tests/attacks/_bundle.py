"""A sound bundle to spoil. Its graph files are no graphs: `read` looks at their hashes alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_vss import bundle
from tests.test_bundle import manifest


def sound(folder: Path) -> Path:
    """The bundle ``street.vss`` in ``folder``."""
    target = folder / "street.vss"
    with bundle.building(target) as building:
        bundle.write(building, manifest(building))
    return target


def spoiled(folder: Path, change: Callable[[dict[str, Any]], None]) -> Callable[[], object]:
    """The call that reads the sound bundle with ``change`` made to its manifest."""
    target = sound(folder)
    data = json.loads((target / "manifest.json").read_text())
    change(data)
    (target / "manifest.json").write_text(json.dumps(data))
    return lambda: bundle.read(target)
