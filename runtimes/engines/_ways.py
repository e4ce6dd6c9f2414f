"""What a graph is run by: an engine, its threads, and what it computes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_vss.report import Json, Report


@dataclass(frozen=True)
class Way:
    """One way to run a graph."""

    engine: str
    threads: int = 0
    """0 leaves the number to the engine."""
    provider: str = ""
    """What computes; empty is the engine's usual one."""

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from the other ways of one engine."""
        return self.threads, self.provider

    @property
    def shown(self) -> str:
        """As people read it."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        return ", ".join(filter(None, (self.engine, self.provider, threads)))


@dataclass(frozen=True)
class Taken(Report):
    """What one graph is run by, and why."""

    way: Way
    milliseconds: float | None = None
    """Of one call, measured on this machine; None where nothing was measured."""
    tried: dict[str, float | str] = field(default_factory=dict)
    """All that was tried: milliseconds of a call, or what went wrong."""

    def to_json(self) -> dict[str, Json]:
        """``engine, threads, provider, milliseconds, tried{}``."""
        way = self.way
        tried: dict[str, Json] = {**self.tried}
        return {
            "engine": way.engine,
            "threads": way.threads,
            "provider": way.provider,
            "milliseconds": self.milliseconds,
            "tried": tried,
        }

    def __str__(self) -> str:
        return (
            self.way.shown if self.milliseconds is None else f"{self.way.shown}, {self.milliseconds:.2f} ms"
        )
