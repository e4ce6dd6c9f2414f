"""Which one here? Bundles on every engine that runs them, side by side on one video."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import HeadSpec
from edge_vss.errors import OptionError
from edge_vss.plugins import Plugin
from edge_vss.report import Json, Report
from edge_vss.runtimes.both_ways import check_both_ways
from edge_vss.runtimes.engines import ENGINES, EngineDescription, Load, usual_engine
from edge_vss.runtimes.opening import Opening, check_repeatable
from edge_vss.runtimes.tools.worker import Job, Measurement, parse

ROUNDS = 2
"""Times that each is measured, in turn; its best counts, because a neighbour can only slow it down."""
FAITHFUL = 0.97
"""Share of labels that have to be the reference's, for a recommendation."""
EXACT = 0.999
"""Share of labels above which two engines differ by rounding alone."""
FULL = "fp32"
"""The precision in which nothing is lost."""


@dataclass(frozen=True)
class Candidate:
    """One way to run: a bundle, and what runs it."""

    bundle: Path
    engine: str
    target: str
    """The bundle's artifact format."""
    provider: str = ""
    name: str = ""
    """How it is called in the table."""
    precision: str = FULL
    """The bundle's weights: ``fp32``, ``fp16`` or ``int8``."""
    model: str = ""
    """SHA-256 of the model that the bundle was made from: two bundles with the same are the same network."""
    heads: tuple[HeadSpec, ...] = ()
    """The bundle's maps, where it gives several."""


@dataclass(frozen=True)
class Row(Report):
    """What was found out about a candidate: ``measured``, or the ``problem`` that kept it from running."""

    candidate: Candidate
    measured: Measurement | None = None
    problem: str = ""
    first_start_seconds: float = 0.0
    """The first start; ``measured.start_seconds`` is a later one, which finds what the first has kept."""
    agreement: float | None = None
    """Share of labels that are the reference's, 0 to 1, of several heads in the worst; None where the
    maps' sizes differ."""

    def to_json(self) -> dict[str, Json]:
        """One flat object, with either the numbers or ``problem``."""
        named: dict[str, Json] = {
            "name": self.candidate.name,
            "engine": self.candidate.engine,
            "bundle": str(self.candidate.bundle),
        }
        if self.measured is None:
            return {**named, "problem": self.problem}
        later = {"first_start_seconds": self.first_start_seconds, "agreement": self.agreement}
        return {**named, **self.measured.to_json(), **later}


@dataclass(frozen=True)
class CompareReport(Report):
    """Candidates side by side."""

    rows: tuple[Row, ...]

    reference: str | None
    """The name of the row that the others' labels are compared with; None where nothing runs."""

    recommendation: str
    """One plain sentence."""

    left_out: tuple[str, ...] = ()
    """One line for everything that could not be made, and so was not compared."""

    both_ways: bool = False
    """Whether frames in between had their labels from the key frames on both sides."""


def candidates(path: Path) -> list[Candidate]:
    """Every engine of this machine, with its providers, that runs the bundle at ``path``."""
    manifest = bundle.read(path)
    target, precision = manifest.target, str(manifest.precision["weights"])
    found = []
    for plugin in engines_of(target):
        of_another = "" if plugin.description.targets[0] == target else f"({target} file)"
        for provider in ("", *_accelerators(plugin.description)):
            name = " ".join(filter(None, (plugin.name, provider, precision, of_another)))
            model = str(manifest.source.get("sha256", ""))
            found.append(
                Candidate(path, plugin.name, target, provider, name, precision, model, manifest.heads)
            )
    return found


def _accelerators(description: EngineDescription) -> list[str]:
    try:
        return description.accelerators()
    except Exception:  # a library that does not load: the engine's own row will tell what is wrong
        return []


def compare(
    chosen: Sequence[Candidate],
    source: str | Path,
    *,
    policy: str | None = None,
    opening: Opening = Opening(),
    threads: int = 0,
    frames: int = 60,
    both_ways: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> CompareReport:
    """Measure every candidate ``ROUNDS`` times, in turn, each time in a process of its own.

    The labels that each gives are compared with those of the reference: full precision, on the CPU, by the
    usual engine of its target. With ``both_ways``, frames in between have their labels from both sides.

    Raises OptionError where there is nothing to compare, and for ``both_ways`` with a bundle that cannot do
    it.
    """
    if not chosen:
        raise OptionError(
            f"no engine for these bundles is installed: install one of {', '.join(ENGINES.names())}"
        )
    check_repeatable(source)
    if both_ways:
        for path in dict.fromkeys(candidate.bundle for candidate in chosen):
            check_both_ways(bundle.read(path), str(path))
        opening = replace(opening, parts=True)
    rows = [Row(candidate) for candidate in chosen]
    with tempfile.TemporaryDirectory(prefix="edge-vss-compare-") as name:
        folder = Path(name)
        order = list(range(len(chosen)))
        for turn in range(ROUNDS):
            for index in order:
                if rows[index].problem:
                    continue
                candidate = chosen[index]
                tell(f"{candidate.name}, round {turn + 1} of {ROUNDS}")
                job = Job(
                    bundle=str(candidate.bundle),
                    engine=candidate.engine,
                    provider=candidate.provider,
                    threads=threads,
                    source=str(source),
                    policy=policy,
                    opening=asdict(opening),
                    frames=frames,
                    both_ways=both_ways,
                    labels="" if turn else str(folder / f"{index}.npy"),
                )
                rows[index] = _better(rows[index], _measured(job, folder))
            order.reverse()
        reference = _reference(rows)
        if reference is not None:
            rows = _agreeing(rows, folder, reference)
    return CompareReport(
        rows=tuple(rows),
        reference=None if reference is None else rows[reference].candidate.name,
        recommendation=recommendation(rows),
        both_ways=both_ways,
    )


def _measured(job: Job, folder: Path) -> Measurement | str:
    """The measurement, or what went wrong."""
    order, result = folder / "job.json", folder / "result.json"
    order.write_text(json.dumps(job.to_json()), encoding="utf-8")
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "edge_vss.runtimes.tools.worker", str(order), str(result)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.exists():
        return parse(result.read_text(encoding="utf-8"))
    if done.returncode < 0:
        return f"the engine crashed ({signal.Signals(-done.returncode).name})"
    last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return f"the engine failed ({last[:200]})"


def _better(row: Row, now: Measurement | str) -> Row:
    """The row with the faster of two measurements, and with the start of the later one."""
    if isinstance(now, str):
        return replace(row, measured=None, problem=now)
    if row.measured is None:
        return replace(row, measured=now, first_start_seconds=now.start_seconds)
    faster = max(row.measured, now, key=lambda measured: measured.fps)
    return replace(row, measured=replace(faster, start_seconds=now.start_seconds))


def _reference(rows: Sequence[Row]) -> int | None:
    """The place of the row that the others' labels are compared with."""

    def rank(index: int) -> tuple[bool, bool, bool, int]:
        candidate = rows[index].candidate
        usual = usual_engine(candidate.target).name
        return candidate.precision != FULL, candidate.provider != "", candidate.engine != usual, index

    running = [index for index, row in enumerate(rows) if row.measured is not None]
    return min(running, key=rank, default=None)


def _agreeing(rows: Sequence[Row], folder: Path, reference: int) -> list[Row]:
    """The rows with their ``agreement``."""
    expected = np.load(folder / f"{reference}.npy", mmap_mode="r")
    found = []
    for index, row in enumerate(rows):
        agreement = None
        if row.measured is not None:
            labels = np.load(folder / f"{index}.npy", mmap_mode="r")
            agreement = _agreement(row.candidate.heads, labels, expected)
        found.append(replace(row, agreement=agreement))
    return found


def _agreement(
    heads: Sequence[HeadSpec], found: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> float | None:
    """The share that is the same, of several heads in the worst of them; None for maps of other sizes."""
    if found.shape != expected.shape:
        return None
    if not heads:
        return float(np.mean(found == expected))
    return min(float(np.mean(head.same(found[:, i], expected[:, i]))) for i, head in enumerate(heads))


def recommendation(rows: Sequence[Row]) -> str:
    """One plain sentence: which to take."""
    running = [(row, row.measured.fps) for row in rows if row.measured is not None]
    if not running:
        return "nothing runs here: see the problems above"
    faithful = [(row, fps) for row, fps in running if (row.agreement or 0.0) >= FAITHFUL]
    exact = [(row, fps) for row, fps in faithful if (row.agreement or 0.0) >= EXACT]
    best, fps = max(faithful or running, key=lambda pair: pair[1])
    text = f"take {best.candidate.name}: {fps:.1f} fps, the fastest here"
    if best.agreement is not None:
        text += f", with {best.agreement:.1%} of the reference's labels"
    if exact and (best, fps) not in exact:
        other, slower = max(exact, key=lambda pair: pair[1])
        text += f"; with all of them, {other.candidate.name} at {slower:.1f} fps"
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


def slower_than_full(rows: Sequence[Row]) -> list[str]:
    """One line for every row of a reduced precision that is slower than the same network in fp32 there."""
    full = {_way(row): row.measured.fps for row in rows if row.measured and row.candidate.precision == FULL}
    return [
        f"{row.candidate.name} is slower than {FULL} here ({row.measured.fps:.1f} against "
        f"{full[_way(row)]:.1f} fps)"
        for row in rows
        if row.measured and row.candidate.precision != FULL and row.measured.fps < full.get(_way(row), 0.0)
    ]


def _way(row: Row) -> tuple[str, str, str, str]:
    """What two rows share that differ in precision alone."""
    candidate = row.candidate
    return candidate.model, candidate.target, candidate.engine, candidate.provider
