"""Compiles the parser to WebAssembly: ``python -m edge_vss.runtimes.motion._hevc.build``.

Needs ziglang in the version of the extra ``dev``: another version makes another file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

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
"""What the file exports, beside its memory and ``__heap_base``."""

MEMORY_BYTES = 64 << 20
"""All the memory there is, from the start: the parser never asks for more. Pages that nothing touches cost
nothing."""

_STACK_BYTES = 128 << 10


def build(target: Path = WASM) -> None:
    """Compile to a file. Raises CalledProcessError without ziglang, or where the C code is wrong."""
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "--target=wasm32-freestanding",
        "-std=c99",
        "-O3",
        "-flto",
    ]
    command += ["-mbulk-memory", "-nostdlib", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    linker = ["--no-entry", "--strip-all", "--export-memory", "--export=__heap_base"]
    linker += [f"--export={name}" for name in FUNCTIONS]
    linker += [
        f"--initial-memory={MEMORY_BYTES}",
        f"--max-memory={MEMORY_BYTES}",
        "-z",
        f"stack-size={_STACK_BYTES}",
    ]
    command += [f"-Wl,{','.join(linker)}", *sorted(path.name for path in HERE.glob("*.c"))]
    with tempfile.TemporaryDirectory() as cache:
        # zig's own cache, so that nothing old is taken and nothing is left behind.
        places = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        subprocess.run(
            [*command, "-o", str(target.resolve())], cwd=HERE, env={**os.environ, **places}, check=True
        )


if __name__ == "__main__":
    build()
