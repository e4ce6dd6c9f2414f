"""A graph file in a folder that is a link to the bundle itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edge_vss.bundle import read
from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import sound

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: the file 'inner/key.onnx' of key is reached by a link: do not use this bundle",
)


def make(folder: Path) -> Callable[[], object]:
    target = sound(folder)
    (target / "inner").symlink_to(target)
    data = json.loads((target / "manifest.json").read_text())
    data["graphs"][0]["file"] = "inner/key.onnx"
    (target / "manifest.json").write_text(json.dumps(data))
    return lambda: read(target)
