"""Engine ``auto``: for each graph of a bundle, the engine that is quickest on this machine.

Every candidate is measured in a process of its own (edge_vss.runtimes.engines._timing): one that crashes,
hangs or gives other labels costs its time and nothing else. What was taken is remembered beside the compiled
graphs (edge_vss.runtimes.engines._remembered).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from edge_vss.bundle import Manifest
from edge_vss.plugins import LOG, Plugin
from edge_vss.runtimes.engines import ENGINES, EngineDescription, EngineOptions, Load, engine_for
from edge_vss.runtimes.engines._remembered import Asked, Memory
from edge_vss.runtimes.engines._ways import Taken, Way

AUTO = "auto"
LIMIT_SECONDS = 20.0
"""The longest that all candidates together are measured. What is not measured by then is not taken."""
LEAST_GMAC = 0.1
"""A bundle whose graphs take less together runs in some milliseconds anywhere. Unless ``auto`` is asked for,
nothing is measured then."""
AHEAD = 0.95
"""Share of the time up to which another engine, or more threads, are worth it."""
AHEAD_MS = 0.05
"""Milliseconds that another engine has to save as well."""

Engine = Plugin[Load, EngineDescription]


def candidates(target: str, options: EngineOptions = EngineOptions()) -> list[Engine]:
    """The engines here that run a target and have a choice of the options that are set, the usual one first.

    Reference engines are none: they are too slow.
    """
    usual = engine_for(target, EngineOptions()).name
    chosen = {option for option in ("provider", "hint") if getattr(options, option)}
    found = [
        plugin
        for plugin in ENGINES.all()
        if target in plugin.description.targets
        and plugin.description.installed
        and not plugin.description.reference
        and not plugin.description.problem()
        and chosen <= plugin.description.options
    ]
    return sorted(found, key=lambda plugin: plugin.name != usual)


def choose(
    path: Path, manifest: Manifest, options: EngineOptions, name: str, roles: Sequence[str]
) -> dict[str, Taken]:
    """What each of a bundle's graphs is to be run by, for the graphs of these roles.

    ``name`` is an engine, ``auto``, or empty: then it is ``auto`` where several engines run the bundle, and
    where it costs enough for that to matter. Raises OptionError as `engine_for` does.
    """
    found = candidates(manifest.target, options) if name in ("", AUTO) else []
    costs = sum(graph.gmac for graph in manifest.graphs if graph.role in roles)
    if len(found) < 2 or (not name and costs < LEAST_GMAC):
        usual = engine_for(manifest.target, options, "" if name == AUTO else name).name
        taken = Taken(Way(usual, options.threads, options.provider))
        return dict.fromkeys(roles, taken)
    asked = Asked.of(manifest, options, found, roles)
    memory = Memory(asked)
    if (known := memory.read()) is not None:
        return known
    with memory.alone(LIMIT_SECONDS):
        # Another process may have measured it meanwhile.
        if (known := memory.read()) is not None:
            return known
        taken_of = best(measured(path, options, found, roles), found[0].name, options)
        memory.write(taken_of)
    LOG.info("%s: %s", path, "; ".join(f"{role}: {taken}" for role, taken in taken_of.items()))
    return taken_of


def remembered(manifest: Manifest, options: EngineOptions) -> dict[str, Taken]:
    """What was taken for a bundle before; empty where nothing was measured. Measures nothing.

    Raises OptionError where no engine runs the bundle's target.
    """
    roles = [graph.role for graph in manifest.graphs]
    found = candidates(manifest.target, options)
    return Memory(Asked.of(manifest, options, found, roles)).read() or {}


Tried = dict[str, dict[Way, "float | str"]]
"""Role → what was tried for it → milliseconds of a call, or what went wrong."""


def best(tried: Tried, usual: str, options: EngineOptions) -> dict[str, Taken]:
    """For each graph the quickest of what was tried; the usual engine where nothing was measured.

    Graphs keep to the engine that is best for the dearest of them, and to fewer threads, unless another saves
    enough: a second engine costs memory and a start, and a thread is one that the decoder does not have.
    """
    times = {
        role: {way: spent for way, spent in ways.items() if isinstance(spent, float)}
        for role, ways in tried.items()
    }
    dearest = max(times.values(), key=lambda ways: min(ways.values(), default=0.0), default={})
    main = _quickest(dearest).engine if dearest else usual
    taken = {}
    for role, ways in tried.items():
        shown = {
            way.shown: round(spent, 3) if isinstance(spent, float) else spent for way, spent in ways.items()
        }
        if not times[role]:
            taken[role] = Taken(Way(usual, options.threads, options.provider), None, shown)
            continue
        way = _quickest(times[role])
        at_home = {other: spent for other, spent in times[role].items() if other.engine == main}
        if at_home and not _worth(times[role][way], min(at_home.values())):
            way = _quickest(at_home)
        taken[role] = Taken(way, round(times[role][way], 3), shown)
    return taken


def _worth(spent: float, instead_of: float) -> bool:
    return spent < AHEAD * instead_of and spent < instead_of - AHEAD_MS


def _quickest(times: Mapping[Way, float]) -> Way:
    """The quickest way; with fewer threads where more of them do not pay."""
    quickest = min(times, key=lambda way: times[way])
    most = quickest.threads or sys.maxsize
    alike = [way for way in times if (way.engine, way.provider) == (quickest.engine, quickest.provider)]
    fewer = [way for way in alike if 0 < way.threads < most]
    for way in sorted(fewer, key=lambda way: way.threads):
        if not _worth(times[quickest], times[way]):
            return way
    return quickest


def measured(path: Path, options: EngineOptions, engines: Sequence[Engine], roles: Sequence[str]) -> Tried:
    """What a call of each graph takes on each engine, in one process per engine, one after the other."""
    tried: Tried = {role: {} for role in roles}
    deadline = monotonic() + LIMIT_SECONDS
    with tempfile.TemporaryDirectory(prefix="edge-vss-auto-") as name:
        for engine in engines:
            _one_engine(Path(name), path, options, engine.name, tried, deadline)
    return tried


def _one_engine(
    folder: Path, path: Path, options: EngineOptions, engine: str, tried: Tried, deadline: float
) -> None:
    lines = folder / f"{engine}.jsonl"
    while (left := deadline - monotonic()) > 0:
        skip = [[role, *way.key] for role, ways in tried.items() for way in ways if way.engine == engine]
        lines.write_bytes(b"")
        job: dict[str, Any] = {
            "bundle": str(path), "engine": engine, "threads": options.threads, "provider": options.provider,
            "hint": options.hint, "roles": list(tried), "skip": skip, "given": str(folder / "given"),
            "seconds": left,
        }  # fmt: skip
        problem = _ran(job, lines, left)
        open_: tuple[str, Way] | None = None
        for line in _whole_lines(lines):
            role, way = line["role"], Way(engine, line["threads"], line["provider"])
            if "result" in line:
                tried[role][way], open_ = line["result"], None
            else:
                open_ = role, way
        if problem:
            LOG.debug("%s of %s: %s", engine, path, problem)
        if open_ is None:
            return
        # It crashed or hung in this one: the rest is tried without it.
        tried[open_[0]][open_[1]] = problem or "it ended without a result"


def _ran(job: dict[str, Any], lines: Path, seconds: float) -> str:
    """Run the measuring process; what went wrong with it, or nothing."""
    command = [sys.executable, "-m", "edge_vss.runtimes.engines._timing", json.dumps(job), str(lines)]
    # The program may have come to its modules in other ways than by the environment.
    places = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": places},
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return "over the time limit"
    except OSError as error:  # a program that was frozen into one file has no Python to start
        return f"not measured ({error.strerror})"
    if done.returncode < 0:
        return f"crashed ({signal.Signals(-done.returncode).name})"
    return f"failed (status {done.returncode})" if done.returncode else ""


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    # The last line of a process that crashed may be cut off.
    text = path.read_text(encoding="utf-8", errors="replace")
    return [json.loads(line) for line in text.split("\n") if line.endswith("}")]
