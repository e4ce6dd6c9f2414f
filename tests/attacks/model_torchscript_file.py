"""A TorchScript module that writes a file when it runs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import ModelError
from tests.attacks import Attack
from tests.attacks._models import reading

ATTACK = Attack(
    ModelError,
    "{folder}/script.pt opens files as it runs (torch.save): do not use this model",
    needs=("torch",),
)


def make(folder: Path) -> Callable[[], object]:
    from tests.helpers.conversion import save_script, trained

    path = save_script(folder, trained())
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in entries if name.endswith("conversion.py"))
    place = str(folder / "sprung")
    entries[name] = entries[name].replace(
        b"    return ", f'    torch.save(x, "{place}")\n    return '.encode()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return reading(path)
