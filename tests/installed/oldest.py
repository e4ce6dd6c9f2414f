"""Runs the runtime's tests with the oldest versions that pyproject.toml admits.

    python tests/installed/oldest.py [PYTEST ARGUMENT ...]

The environment has no torch and is kept in .venv-oldest. It is made with Python 3.10 where that is here, or
3.11; EDGE_VSS_OLDEST_PYTHON names another. What the tests need of the converters is made beforehand, by the
Python that runs this script.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-oldest"
PINS = FOLDER / ".pins"
EXTRAS = ("onnxruntime", "openvino", "tflite", "hevc")
TOOLS = ("hypothesis", "jsonschema", "pillow", "psutil", "pytest", "pytest-timeout", "pytest-xdist", "scipy")
"""What the tests themselves use, in any version."""
TARGETS = ("onnx", "openvino", "tflite")


def main(arguments: list[str]) -> None:
    """Make the environment and the bundles, and run the tests; a failure ends the script with its status."""
    begun = time.monotonic()
    python = environment()
    with tempfile.TemporaryDirectory(prefix="edge-vss-oldest-") as bundles:
        command = [sys.executable, "-m", "tests.helpers.engine_bundles", bundles, *TARGETS]
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        pytest = [str(python), "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "-r", "fE", "-n", "2"]
        done = subprocess.run(
            [*pytest, "--dist", "loadfile", *(arguments or ["tests"])],
            cwd=ROOT,
            env={**os.environ, "EDGE_VSS_BUNDLES": bundles, "PYTHONPATH": str(ROOT)},
        )
    if done.returncode:
        sys.exit(done.returncode)
    print(f"oldest: passed with {', '.join(pins())}; {time.monotonic() - begun:.0f} s")


def pins() -> list[str]:
    """Every requirement of the runtime half, at exactly its lower bound.

    The reference engine is not among them: it is ONNX's own evaluator, which the converters bring.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for name in EXTRAS for line in extras[name])]
    return sorted({oldest(Requirement(line)) for line in wanted})


def oldest(requirement: Requirement) -> str:
    """``name==version`` of a requirement's lower bound. ValueError where it has none."""
    for part in requirement.specifier:
        if part.operator in (">=", "=="):
            return f"{requirement.name}=={part.version}"
    raise ValueError(f"{requirement} has no lower bound: nobody could say what the oldest version is")


def environment() -> Path:
    """The Python of the environment, which is made anew where the lower bounds have changed."""
    python, text = FOLDER / "bin" / "python", "\n".join(pins())
    if PINS.is_file() and PINS.read_text() == text:
        return python
    subprocess.run([base(), "-m", "venv", "--clear", str(FOLDER)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *pins(), *TOOLS], check=True)
    # The tree itself comes by PYTHONPATH; installed, it needs no more than the pins.
    no_more = ["--no-deps", "--editable", str(ROOT)]
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *no_more], check=True)
    PINS.write_text(text)
    return python


def base() -> str:
    """The oldest Python here, from 3.10 on: the oldest versions have no wheels for the newest ones."""
    for name in filter(None, (os.environ.get("EDGE_VSS_OLDEST_PYTHON"), "python3.10", "python3.11")):
        found = shutil.which(name)
        # A shim of a version manager may be there for a Python that is not.
        if found and not subprocess.run([found, "-c", ""], capture_output=True).returncode:
            return found
    return sys.executable


if __name__ == "__main__":
    main(sys.argv[1:])
