"""What was measured before, in the user's cache folder: for one machine, its versions, and graphs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from edge_vss.bundle import Manifest
from edge_vss.claim import Claim
from edge_vss.files import open_plain, read_plain
from edge_vss.plugins import Plugin
from edge_vss.processor import cpu
from edge_vss.runtimes.engines import EngineDescription, EngineOptions, Load, cache_folder
from edge_vss.runtimes.engines._ways import Taken, Way

FOLDER = "auto"
MOST_BYTES = 1 << 20
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Asked:
    """All that a choice depends on. Where any of it differs, it is measured anew."""

    machine: dict[str, Any]
    versions: dict[str, str]
    graphs: dict[str, str]
    """Role → SHA-256 of its files."""
    options: dict[str, Any]

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        options: EngineOptions,
        engines: Sequence[Plugin[Load, EngineDescription]],
        roles: Sequence[str],
    ) -> Asked:
        """For these engines on this machine, and the graphs of these roles."""
        return cls(
            machine={"cpu": asdict(cpu(Path("/"))), "node": platform.node(), "system": platform.platform()},
            versions={
                "edge-vss": _version("edge-vss"),
                **{engine.name: _versions(engine.description) for engine in engines},
            },
            graphs={
                graph.role: f"{graph.sha256} {graph.data_sha256}".strip()
                for graph in manifest.graphs
                if graph.role in roles
            },
            options=asdict(options),
        )

    def to_json(self) -> Any:
        """As JSON gives it back."""
        return json.loads(json.dumps(asdict(self)))


class Memory:
    """Where the answer to one question is kept, if anywhere."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked.to_json()
        digest = hashlib.sha256(json.dumps(self._asked, sort_keys=True).encode()).hexdigest()[:32]
        folder = cache_folder(FOLDER)
        self._path = None if folder is None else folder / f"{digest}.json"

    def read(self) -> dict[str, Taken] | None:
        """What was taken; None where nothing is remembered, or what is there is damaged or of another
        machine."""
        if self._path is None:
            return None
        try:
            held = json.loads(read_plain(open_plain(self._path), MOST_BYTES))
            if held["asked"] != self._asked or set(held["taken"]) != set(self._asked["graphs"]):
                return None
            engines = set(self._asked["versions"])
            return {role: _taken(entry, engines) for role, entry in held["taken"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def write(self, taken: dict[str, Taken]) -> None:
        """Keep an answer. Where nothing can be written, it is measured again next time."""
        if self._path is None:
            return
        content = {"asked": self._asked, "taken": {role: entry.to_json() for role, entry in taken.items()}}
        with suppress(OSError):
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".choice-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(content, file, indent=1)
                os.replace(name, self._path)
            except BaseException:
                os.unlink(name)
                raise

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """Only one process measures a bundle: others would be measured along. They wait, for so long."""
        claim = None
        if self._path is not None:
            with suppress(OSError):
                claim = self._claimed(self._path, monotonic() + seconds)
        try:
            yield
        finally:
            if claim is not None:
                claim.release()

    def _claimed(self, path: Path, deadline: float) -> Claim | None:
        while monotonic() < deadline:
            with suppress(BlockingIOError):
                return Claim(path.parent / f".{path.stem}.lock")
            sleep(_POLL_SECONDS)
        return None


def count() -> int:
    """How many choices are remembered here."""
    folder = cache_folder(FOLDER)
    return 0 if folder is None else sum(1 for _ in folder.glob("*.json"))


def _taken(entry: dict[str, Any], engines: set[str]) -> Taken:
    """Raises ValueError, KeyError or TypeError for an entry that is damaged."""
    engine, threads, provider, spent = (
        entry[name] for name in ("engine", "threads", "provider", "milliseconds")
    )
    fits = engine in engines and isinstance(threads, int) and threads >= 0 and isinstance(provider, str)
    if not fits or not (spent is None or (isinstance(spent, float) and math.isfinite(spent))):
        raise ValueError("damaged")
    tried = {str(name): value for name, value in entry["tried"].items() if isinstance(value, (float, str))}
    return Taken(Way(engine, threads, provider), spent, tried)


def _versions(engine: EngineDescription) -> str:
    found = (f"{name} {number}" for name in engine.packages if (number := _version(name)) != "?")
    return ", ".join(found) or "?"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
