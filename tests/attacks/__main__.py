"""Runs the attacks named, one after the other, in a process of their own: ``python -m tests.attacks NAME ...``

Each ends in a line of JSON: the attack's name, and what is wrong about how it was refused ("" where nothing is).
A limit on memory hits everything in a process, other libraries' threads too, so no other test may be in it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.attacks import Attack

SKIPPED = "not installed: "


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


def fault(name: str, folder: Path) -> str:
    """What is wrong about how an attack is refused; empty where nothing is."""
    module = importlib.import_module(f"tests.attacks.{name}")
    attack: Attack = module.ATTACK
    for needed in attack.needs:
        if find_spec(needed) is None:
            return f"{SKIPPED}{needed}"
    call = module.make(folder)
    before = contents(folder)
    try:
        with little_memory(attack.memory_mb):
            call()
    except BaseException as error:
        said = str(error)
        if type(error) is not attack.error:
            return f"it ends in {type(error).__name__} ({said[:500]}), not in {attack.error.__name__}"
        if not re.fullmatch(pattern(attack.line, folder), said):
            return f"it says {said[:500]!r}, not {attack.line!r}"
        if not said.isprintable():
            return f"its line acts on a terminal: {said!r}"
        return "" if contents(folder) == before else "the folder was changed"
    return "it is not refused"


def main(names: list[str]) -> None:
    """Judge every attack named."""
    for name in names:
        print(json.dumps([name, None]), flush=True)
        with tempfile.TemporaryDirectory(prefix="edge-vss-attack-") as folder:
            found = fault(name, Path(os.path.realpath(folder)))
        print(json.dumps([name, found]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
