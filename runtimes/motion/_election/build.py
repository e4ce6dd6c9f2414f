"""Compiles elections to WebAssembly: ``python -m edge_vss.runtimes.motion._election.build``."""

from __future__ import annotations

from pathlib import Path

from edge_vss.runtimes.motion import _wasm_build

HERE = Path(__file__).parent
WASM = HERE / "election.wasm"

FUNCTIONS = (
    "election_create",
    "election_array",
    "election_begin",
    "election_offer",
    "election_restart",
    "election_neighbours",
    "election_differences",
    "election_look",
)

MEMORY_BYTES = 64 << 20
"""Room for frames of 8K."""

_STACK_BYTES = 64 << 10


def build(target: Path = WASM) -> None:
    """Compile to a file. Raises CalledProcessError as `_wasm_build.build` does."""
    _wasm_build.build(HERE, target, FUNCTIONS, MEMORY_BYTES, _STACK_BYTES, vectors=True)


if __name__ == "__main__":
    build()
