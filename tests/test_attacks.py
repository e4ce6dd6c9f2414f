"""Every attack in tests/attacks: refused in its one line, in little time and memory, with nothing changed."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tests.attacks
from tests.attacks.__main__ import SKIPPED

NAMES = sorted(
    module.name for module in pkgutil.iter_modules(tests.attacks.__path__) if not module.name.startswith("_")
)
SECONDS = 60.0
"""The most that an attack may take, with what it imports."""


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """Attack → what is wrong about how it is refused."""
    found: dict[str, str] = {}
    while waiting := [name for name in NAMES if name not in found]:
        found |= judged(waiting)
    return found


def judged(names: list[str]) -> dict[str, str]:
    """As many as one process gets through: one that crashes or hangs in an attack ends there."""
    command = [sys.executable, "-m", "tests.attacks", *names]
    limit = SECONDS * len(names)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        said, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        said, status = (late.stdout or b"").decode(), None
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    found: dict[str, str] = {name: what for name, what in lines if what is not None}
    begun = next((name for name, _ in reversed(lines)), names[0])
    if begun not in found:
        found[begun] = "it never ends" if status is None else f"the process ends with status {status}"
    return found


@pytest.mark.timeout(SECONDS * len(NAMES))
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_is_refused_in_one_line(name: str, faults: dict[str, str]) -> None:
    fault = faults[name]
    if fault.startswith(SKIPPED):
        pytest.skip(fault)
    assert not fault


def test_every_file_of_an_attack_is_found() -> None:
    files = {path.stem for path in Path(tests.attacks.__file__).parent.glob("[!_]*.py")}
    assert set(NAMES) == files and len(files) > 0
