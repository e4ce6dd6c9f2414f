"""Which one here? Bundles on every engine that runs them, side by side on one video."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_vss import bundle
from edge_vss.errors import OptionError
from edge_vss.plugins import Plugin
from edge_vss.runtimes.engines import ENGINES, EngineDescription, Load

ROUNDS = 2
"""Times that each is measured, in turn; its best counts, because a neighbour can only slow it down."""
FAITHFUL = 0.97
"""Share of labels that have to be the reference's, for a recommendation."""


@dataclass(frozen=True)
class Candidate:
    """One way to run: a bundle, and what runs it."""

    bundle: Path
    engine: str
    provider: str = ""
    name: str = ""


def candidates(path: Path) -> list[Candidate]:
    """Every engine of this machine, with its providers, that runs the bundle at ``path``."""
    manifest = bundle.read(path)
    found = []
    for plugin in engines_of(manifest.target):
        also = " (ONNX file)" if manifest.target == "onnx" and plugin.name != "onnxruntime" else ""
        for provider in ("", *plugin.description.accelerators()):
            words = filter(None, (plugin.name, provider, manifest.precision["weights"]))
            found.append(Candidate(path, plugin.name, provider, " ".join(words) + also))
    return found


def compare(
    chosen: Sequence[Candidate],
    source: str | Path,
    *,
    policy: str | None = None,
    motion: str = "auto",
    threads: int = 0,
    frames: int = 60,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure every candidate ``ROUNDS`` times, in turn, each time in a process of its own.

    Gives ``rows`` (fps, latency, start-up, memory, and ``agreement``: the share of labels equal to the
    reference's), ``reference``, and ``recommendation``. A candidate that fails has ``problem`` instead of
    numbers. Raises OptionError where there is nothing to compare.
    """
    if not chosen:
        raise OptionError(
            f"no engine for these bundles is installed: install one of {', '.join(ENGINES.names())}"
        )
    found: list[dict[str, Any]] = [{} for _ in chosen]
    with tempfile.TemporaryDirectory(prefix="edge-vss-compare-") as name:
        folder = Path(name)
        order = list(range(len(chosen)))
        for turn in range(ROUNDS):
            for index in order:
                if "problem" in found[index]:
                    continue
                tell(f"{chosen[index].name}, round {turn + 1} of {ROUNDS}")
                job = {
                    **asdict(chosen[index]),
                    "bundle": str(chosen[index].bundle),
                    "source": str(source),
                    "policy": policy,
                    "motion": motion,
                    "threads": threads,
                    "frames": frames,
                    "labels": "" if turn else str(folder / f"{index}.npy"),
                }
                found[index] = _better(found[index], _measured(job, folder))
            order.reverse()
        rows = [
            {"name": candidate.name, "engine": candidate.engine, "bundle": str(candidate.bundle), **result}
            for candidate, result in zip(chosen, found, strict=True)
        ]
        reference = _reference(chosen, found)
        if reference is not None:
            _agree(rows, folder, reference)
    return {
        "rows": rows,
        "reference": None if reference is None else rows[reference]["name"],
        "recommendation": _recommendation(rows),
    }


def _measured(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    given, result = folder / "job.json", folder / "result.json"
    given.write_text(json.dumps(job), encoding="utf-8")
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "edge_vss.runtimes.tools.worker", str(given), str(result)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.exists():
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found
    if done.returncode < 0:
        return {"problem": f"the engine crashed ({signal.Signals(-done.returncode).name})"}
    last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return {"problem": f"the engine failed ({last[:200]})"}


def _better(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The faster of two measurements; the start of the later one, which finds what the first has kept."""
    if not before or "problem" in now:
        return {**now, "first_start_seconds": now.get("start_seconds")}
    faster = now if now["fps"] > before["fps"] else before
    kept = ("start_seconds", "first_start_seconds")
    return {**faster, **dict(zip(kept, (now["start_seconds"], before["first_start_seconds"]), strict=True))}


def _reference(chosen: Sequence[Candidate], found: Sequence[dict[str, Any]]) -> int | None:
    """The candidate whose labels the others' are compared with: fp32, by ONNX Runtime if that is there."""
    running = [index for index, result in enumerate(found) if "problem" not in result]
    ranks = {
        index: ("fp32" not in chosen[index].name, chosen[index].engine != "onnxruntime", index)
        for index in running
    }
    return min(running, key=ranks.__getitem__, default=None)


def _agree(rows: list[dict[str, Any]], folder: Path, reference: int) -> None:
    expected = np.load(folder / f"{reference}.npy", mmap_mode="r")
    for index, row in enumerate(rows):
        if "problem" not in row:
            labels = np.load(folder / f"{index}.npy", mmap_mode="r")
            same = labels.shape == expected.shape
            row["agreement"] = float(np.mean(labels == expected)) if same else None


def _recommendation(rows: Sequence[dict[str, Any]]) -> str:
    """One plain sentence."""
    running = [row for row in rows if "problem" not in row]
    if not running:
        return "nothing runs here: see the problems above"
    faithful = [row for row in running if (row.get("agreement") or 0.0) >= FAITHFUL]
    exact = [row for row in faithful if row["agreement"] >= 0.999]
    best = max(faithful or running, key=lambda row: row["fps"])
    text = f"take {best['name']}: {best['fps']:.1f} fps, the fastest here"
    if best.get("agreement") is not None:
        text += f", with {best['agreement']:.1%} of the reference's labels"
    if exact and best not in exact:
        other = max(exact, key=lambda row: row["fps"])
        text += f"; with all of them, {other['name']} at {other['fps']:.1f} fps"
    return text


def engines_of(target: str) -> list[Plugin[Load, EngineDescription]]:
    """The engines installed here that run a target, but for reference engines, which are too slow to take."""
    return [
        plugin
        for plugin in ENGINES.all()
        if target in plugin.description.targets
        and plugin.description.installed
        and not plugin.description.reference
    ]


def quantised_is_slower(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line for every engine whose int8 is slower than its fp32 here."""
    speeds = {row["name"]: row["fps"] for row in rows if "problem" not in row}
    return [
        f"{name} is slower than fp32 here ({speeds[name]:.1f} against {speeds[full]:.1f} fps)"
        for name in speeds
        if (full := name.replace("int8", "fp32")) != name and full in speeds and speeds[name] < speeds[full]
    ]
