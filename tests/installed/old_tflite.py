"""Runs the engines' tests against tflite-runtime 2.14 in an environment of its own, because it wants NumPy 1.

    python tests/installed/old_tflite.py

EDGE_VSS_KEEP_BUNDLES names a folder where another run of the tests has left bundles. The environment is kept
in .venv-tflite. Where it cannot be made (no wheel for this Python or machine, no network), that is said and
is no failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-tflite"
READY = FOLDER / ".ready"
NEWEST = (3, 11)
"""The last Python that tflite-runtime was built for."""


def main() -> None:
    """Make the environment and the bundles, and run the tests; a failure ends the script with its status."""
    begun = time.monotonic()
    python = environment()
    with tempfile.TemporaryDirectory(prefix="edge-vss-engines-") as folder:
        bundles = os.environ.get("EDGE_VSS_KEEP_BUNDLES") or folder
        subprocess.run(
            [sys.executable, "-m", "tests.helpers.engine_bundles", bundles, "tflite"],
            cwd=ROOT,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        command = [str(python), "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "-r", "fE"]
        done = subprocess.run(
            [*command, "tests/test_engines.py", "tests/test_engine_memory.py", "-k", "tflite"],
            cwd=ROOT,
            env={**os.environ, "EDGE_VSS_BUNDLES": bundles},
        )
    if done.returncode:
        sys.exit(done.returncode)
    print(f"tflite-runtime: the engine's tests passed; {time.monotonic() - begun:.0f} s")


def environment() -> Path:
    """The Python of the environment; ends the script where there can be none."""
    python = FOLDER / "bin" / "python"
    if sys.version_info[:2] > NEWEST:
        skip(f"it has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]}")
    if READY.exists() and READY.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime:
        return python
    venv.create(FOLDER, with_pip=True, clear=True)
    wanted = ["--editable", ".[tflite-runtime]", "hypothesis", "pytest>=8", "pytest-timeout>=2.3"]
    made = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *wanted], cwd=ROOT, capture_output=True, text=True
    )
    if made.returncode:
        skip(next((line for line in made.stderr.splitlines() if line.startswith("ERROR")), "pip failed"))
    READY.touch()
    return python


def skip(reason: str) -> None:
    print(f"tflite-runtime: skipped, {reason}")
    sys.exit(0)


if __name__ == "__main__":
    main()
