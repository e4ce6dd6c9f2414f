"""Every attack in tests/attacks: refused in its one line, in little time and memory, with nothing changed."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import tests.attacks
from tests.attacks import Attack

NAMES = sorted(
    module.name for module in pkgutil.iter_modules(tests.attacks.__path__) if not module.name.startswith("_")
)


@contextmanager
def little_memory(megabytes: int) -> Iterator[None]:
    """Let the process ask for only so much more than it has now, on Linux."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def contents(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder below ``folder``, with what would tell that it was changed."""
    found = {}
    for path in folder.rglob("*"):
        entry = path.lstat()
        found[str(path.relative_to(folder))] = (entry.st_mode, entry.st_size, entry.st_mtime_ns)
    return found


def pattern(line: str, folder: Path) -> str:
    """The expected line as a regular expression."""
    return ".*".join(re.escape(part.replace("{folder}", str(folder))) for part in line.split("..."))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"tests.attacks.{name}")
    attack: Attack = module.ATTACK
    for needed in attack.needs:
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    call = module.make(tmp_path)
    before = contents(tmp_path)
    with little_memory(attack.memory_mb), pytest.raises(attack.error) as caught:
        call()
    said = str(caught.value)
    assert type(caught.value) is attack.error
    assert re.fullmatch(pattern(attack.line, tmp_path), said), said
    assert said.isprintable(), repr(said)
    assert contents(tmp_path) == before


def test_every_file_of_an_attack_is_found() -> None:
    files = {path.stem for path in Path(tests.attacks.__file__).parent.glob("[!_]*.py")}
    assert set(NAMES) == files and len(files) > 0
