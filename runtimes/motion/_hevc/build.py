"""Compiles the parser to WebAssembly: ``python -m edge_vss.runtimes.motion._hevc.build``."""

from __future__ import annotations

from pathlib import Path

from edge_vss.runtimes.motion import _wasm_build

HERE = Path(__file__).parent
WASM = HERE / "hevc.wasm"

FUNCTIONS = (
    "hevc_create",
    "hevc_restart",
    "hevc_input",
    "hevc_start_packet",
    "hevc_next_picture",
    "hevc_picture",
    "hevc_cells",
    "hevc_blocks",
    "hevc_reasons",
)

MEMORY_BYTES = 64 << 20
"""The parser never asks for more."""

_STACK_BYTES = 128 << 10


def build(target: Path = WASM) -> None:
    """Compile to a file. Raises CalledProcessError as `_wasm_build.build` does."""
    _wasm_build.build(HERE, target, FUNCTIONS, MEMORY_BYTES, _STACK_BYTES)


if __name__ == "__main__":
    build()
