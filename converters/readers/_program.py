"""Exported programs of strangers: a copy that holds only what was checked.

``torch.export.load`` unpickles what it finds, and turns text of the file into Python: names of nodes become
source code, sizes are evaluated, targets are looked up by name. So none of it reaches torch unread. The copy
is written anew from what was understood, and everything else is left out.
"""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from edge_vss.converters.readers._archive import entries, load_saved
from edge_vss.converters.readers._program_text import check_program
from edge_vss.errors import ModelError, one_line

MOST_JSON_BYTES = 128 << 20
PLAIN = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id")
"""Small entries that only say how the archive was written."""
OLD = ("serialized_state_dict", "serialized_constants", "serialized_example_inputs")
"""Entries of PyTorch 2.6 and 2.7, each written by ``torch.save``."""
KINDS = {"weights": "weights", "constants": "constants"}


def checked_copy(path: Path, to: Path) -> None:
    """Write the exported program ``path`` to ``to``, as far as it is tensors and a graph of operators.

    Raises ModelError where something in it could run code or needs far more memory than the file is large.
    """
    try:
        with path.open("rb") as file:
            found = entries(file, path)
            with zipfile.ZipFile(file) as source, zipfile.ZipFile(to, "w") as target:
                _Copy(path, source, target, found).all()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, struct.error) as error:
        raise ModelError(f"{path} is damaged ({one_line(error)}): export the model again") from None


class _Copy:
    """One copying: from which archive, to which, and the entries there are."""

    def __init__(
        self,
        path: Path,
        source: zipfile.ZipFile,
        target: zipfile.ZipFile,
        found: Mapping[str, zipfile.ZipInfo],
    ) -> None:
        self.path, self.source, self.target, self.found = path, source, target, found
        # Since PyTorch 2.8 everything lies in one folder, whatever that is called.
        program = next((name for name in found if name.endswith("/models/model.json")), "")
        self.root = program.removesuffix("models/model.json")

    def all(self) -> None:
        for entry in self.found:
            if "data/aotinductor/" in entry:
                raise ModelError(
                    f"{self.path} is compiled for one machine (AOTInductor): "
                    "give the exported program it was made from"
                )
        if "serialized_exported_program.json" in self.found:
            self._old()
            return
        # The folder's name is that of the archive's first entry.
        for name in PLAIN:
            if self.root + name in self.found:
                self._write(name, self._read(name, 1 << 10))
        self._json("models/model.json", check_program)
        for kind in KINDS:
            if f"{self.root}data/{kind}/model.pt" in self.found:
                self._saved(f"data/{kind}/model.pt", kind)
            else:
                self._payloads(kind)
        self._saved("data/sample_inputs/model.pt", "sample inputs")

    def _old(self) -> None:
        self.root = ""
        self._write("version", self._read("version", 1 << 10))
        self._json("serialized_exported_program.json", check_program)
        for name in self.found:
            stem, _, end = name.partition(".")
            if stem in OLD and end in ("pt", "json"):
                self._saved(name, stem.removeprefix("serialized_").replace("_", " "))

    def _payloads(self, kind: str) -> None:
        """The raw tensors of ``data/kind`` that its list names, and the pickled ones."""
        listed = self._json(f"data/{kind}/model_{kind}_config.json", lambda content, path: None)
        config = listed.get("config")
        if not isinstance(config, dict):
            raise self._damaged(f"the list of {kind}")
        written, claimed = set(), 0
        for payload in config.values():
            name = payload.get("path_name") if isinstance(payload, dict) else None
            if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
                raise self._damaged(f"the list of {kind}")
            if name.startswith(("custom_obj", "opaque_obj")):
                raise ModelError(
                    f"{self.path} holds an object that is no tensor ({name}), and opening it could run any "
                    "code: export the model again with tensors only"
                )
            place = f"data/{kind}/{name}"
            claimed += self._claimed(payload, place)
            if place in written:
                continue
            written.add(place)
            if payload.get("use_pickle"):
                self._saved(place, kind)
            else:
                self._copy(place)
        held = sum(self.found[self.root + place].file_size for place in written)
        if claimed > 64 * held + (1 << 20):
            raise ModelError(f"{self.path} claims {claimed} values in {held} bytes: do not use this file")

    def _claimed(self, payload: Mapping[str, Any], place: str) -> int:
        """How many values a tensor says it has."""
        meta = payload.get("tensor_meta")
        if meta is None:
            return 0
        sizes = [size.get("as_int") if isinstance(size, dict) else None for size in meta.get("sizes", [])]
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise self._damaged(place)
        return math.prod(size for size in sizes if size is not None)

    def _read(self, name: str, most: int) -> bytes:
        entry = self.found.get(self.root + name)
        if entry is None or entry.file_size > most:
            raise self._damaged(name)
        return self.source.read(entry)

    def _json(self, name: str, check: Callable[[Any, Path], None]) -> dict[str, Any]:
        try:
            content = json.loads(self._read(name, MOST_JSON_BYTES))
        except (ValueError, RecursionError):
            raise self._damaged(name) from None
        if not isinstance(content, dict):
            raise self._damaged(name)
        check(content, self.path)
        # As it was understood: of two keys of one name, torch's reader sees the one that was checked.
        self._write(name, json.dumps(content).encode())
        return content

    def _saved(self, name: str, what: str) -> None:
        content = self._read(name, 1 << 40)
        value = load_saved(content, self.path, what) if content else None
        again = io.BytesIO()
        if content:
            torch.save(value, again)
        self._write(name, again.getvalue())

    def _copy(self, name: str) -> None:
        entry = self.found.get(self.root + name)
        if entry is None:
            raise self._damaged(name)
        kept = zipfile.ZipInfo((self.root or "") + name)
        kept.file_size = entry.file_size
        with self.source.open(entry) as source, self.target.open(kept, "w") as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def _write(self, name: str, content: bytes) -> None:
        self.target.writestr(self.root + name, content)

    def _damaged(self, what: str) -> ModelError:
        return ModelError(f"{self.path} is damaged ({what} cannot be read): export the model again")
