"""The command line, called in this process."""

from __future__ import annotations

from typing import Any

import typer.testing

_APART: dict[str, Any] = {"mix_stderr": False}


class CliRunner(typer.testing.CliRunner):
    """Typer's own, with ``stdout`` and ``stderr`` apart: before click 8.2 that had to be asked for."""

    def __init__(self) -> None:
        try:
            super().__init__(**_APART)
        except TypeError:
            super().__init__()
