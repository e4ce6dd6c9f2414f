"""Compiles C to WebAssembly. Needs ziglang in the version of the extra ``dev``: another version makes another
file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def build(
    folder: Path,
    target: Path,
    functions: Sequence[str],
    memory_bytes: int,
    stack_bytes: int,
    *,
    vectors: bool = False,
) -> None:
    """Compile all C files of a folder into one that exports ``functions``, its memory and ``__heap_base``.

    The memory has its size from the start and never grows. Pages that nothing touches cost nothing.
    ``vectors``: for machines that compute four numbers at a time, as wasmtime does everywhere. Raises
    CalledProcessError without ziglang, or where the C code is wrong.
    """
    command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-freestanding", "-std=c99"]
    command += ["-O3", "-flto", "-mbulk-memory", "-nostdlib", "-fvisibility=hidden"]
    command += ["-Wall", "-Wextra", "-Werror", *(["-msimd128"] if vectors else [])]
    linker = ["--no-entry", "--strip-all", "--export-memory", "--export=__heap_base"]
    linker += [f"--export={name}" for name in functions]
    linker += [
        f"--initial-memory={memory_bytes}",
        f"--max-memory={memory_bytes}",
        "-z",
        f"stack-size={stack_bytes}",
    ]
    command += [f"-Wl,{','.join(linker)}", *sorted(path.name for path in folder.glob("*.c"))]
    with tempfile.TemporaryDirectory() as cache:
        # zig's own cache, so that nothing old is taken and nothing is left behind.
        places = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        subprocess.run(
            [*command, "-o", str(target.resolve())], cwd=folder, env={**os.environ, **places}, check=True
        )
