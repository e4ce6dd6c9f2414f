"""What the attacks by a state's file share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.runtimes import _state_file
from tests.helpers.state_files import MANIFEST, NBYTES, content_of_a_file, forged, header_of


def read(folder: Path) -> Callable[[], object]:
    """Reads the file ``s`` of a folder."""
    return lambda: _state_file.read(folder / "s", MANIFEST)


def forged_file(
    folder: Path, text: bytes | None = None, body: bytes | None = None, **changes: object
) -> Callable[[], object]:
    """Writes a file with ``changes`` of its header, or another header or content, whose hashes are right."""
    whole = content_of_a_file()
    content = whole[-NBYTES:] if body is None else body
    (folder / "s").write_bytes(forged({**header_of(whole), **changes}, content, text))
    return read(folder)
