"""Many streams through one network: each moves its labels by itself, and key frames are shared out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from edge_vss.decisions import Policy
from edge_vss.errors import OptionError
from edge_vss.runtimes._key_workers import KeyWorkers
from edge_vss.runtimes._reader import check_pace
from edge_vss.runtimes._requests import Request
from edge_vss.runtimes._stream import Out, Reading, Shown, Stream, StreamReport
from edge_vss.runtimes.motion import Measure
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import Source
from edge_vss.values import MOST_SECONDS, check_limit, positive, whole_number

SCHEDULERS = ("doubt", "turns")
LONGEST_SECONDS = 2.0
"""A stream whose labels are older goes before those that are in more doubt."""
_JOIN_SECONDS = 5.0


class Fleet:
    """Frames of several streams with their labels, as they come: each item is (name, frame, prediction).

    Every stream has a thread for decoding and one for its labels, which never waits for another stream.
    ``key_workers`` threads compute key frames for all of them. The stream whose labels are most in doubt is
    next: the number that the policy ``adaptive`` compares with its limit, times the stream's priority. One
    whose labels are older than ``longest_seconds`` goes before all others, the oldest first.

    A stream that fails ends alone: `errors` has the cause, and the log a line. The frames of a stream whose
    reader is too slow wait, and those of a live one pass without labels; their motion counts.

    Close a fleet, or use it in a ``with`` block.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        sources: Mapping[str, Any],
        *,
        key_workers: int = 1,
        policy: str | Policy | None = "continuous",
        priorities: Mapping[str, float] = {},
        longest_seconds: float = LONGEST_SECONDS,
        schedule: str = "doubt",
        motion: str | Measure = "auto",
        opening: Opening = Opening(),
        pace: float | None = None,
        limit: int | None = None,
    ) -> None:
        """``sources`` are named: paths, URLs, camera numbers, arrays (as `open_source` takes them), or what
        gives Frames.

        ``schedule`` is ``doubt`` or ``turns`` (one stream after the other). ``policy`` says which frames may
        become key frames. ``pace`` reads every stream at so many frames a second. ``limit`` ends each
        stream after so many frames.

        Raises OptionError for no sources, priorities of others or not above 0, fewer workers than 1, and for
        a bundle whose key frames cannot come late. A source that cannot be opened ends alone.
        """
        if not isinstance(sources, Mapping) or not sources:
            raise OptionError("a fleet wants one source or more: give a mapping of names to sources")
        whole_number("key_workers", key_workers, 1, "1 is a good start")
        positive("longest_seconds", longest_seconds, "2 is a good start", most=MOST_SECONDS)
        if schedule not in SCHEDULERS:
            raise OptionError(f"no schedule is called {schedule!r}: choose one of {', '.join(SCHEDULERS)}")
        if unknown := sorted(set(priorities) - set(sources)):
            raise OptionError(f"no stream is called {unknown[0]!r}: it cannot have a priority")
        for name, priority in priorities.items():
            positive(f"the priority of {name}", priority, "1 is the usual one")
        check_pace(pace)
        check_limit(limit)
        self._names = list(sources)
        self._scheduler = Scheduler(
            {desk: float(priorities[name]) for desk, name in enumerate(self._names) if name in priorities},
            longest_seconds,
            schedule,
        )
        self._workers = KeyWorkers(key_workers, self._scheduler)
        self._out = Out(len(self._names))
        chosen = segmenter.chosen(policy)
        self._streams = [
            Stream(
                name,
                sources[name],
                segmenter.late(chosen, self._workers.desk(patient=False)),
                Reading(opening, motion, pace, limit),
                self._out,
            )
            for name in self._names
        ]
        self._begun = False

    @property
    def errors(self) -> dict[str, BaseException]:
        """Stream → why it has ended, of those that failed."""
        return {stream.name: stream.error for stream in self._streams if stream.error is not None}

    def reports(self) -> dict[str, StreamReport]:
        """Stream → how it went, up to now."""
        return {stream.name: stream.report() for stream in self._streams}

    def source(self, name: str) -> Source | None:
        """The open source of a stream, once it is open."""
        return next(stream.source for stream in self._streams if stream.name == name)

    def __iter__(self) -> Iterator[Shown]:
        if self._begun:
            raise OptionError("the frames of a fleet come once: make another one")
        self._begun = True
        for stream in self._streams:
            stream.begin()
        return self._shown()

    def _shown(self) -> Iterator[Shown]:
        try:
            while (item := self._out.get()) is not None:
                yield item
        finally:
            self.close()

    def close(self) -> None:
        """End all streams. Their threads end with what they have under way."""
        self._out.close()
        for stream in self._streams:
            stream.stop()
        self._workers.close()
        # One wait for all. A source that is silent is not waited for long.
        deadline = monotonic() + _JOIN_SECONDS
        for stream in self._streams:
            stream.join(deadline)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Scheduler:
    """Which stream gets the next key frame. Called by workers, one at a time. ``priorities`` are those of
    desks, where they are not 1."""

    def __init__(
        self,
        priorities: Mapping[int, float] = {},
        longest_seconds: float = LONGEST_SECONDS,
        schedule: str = "doubt",
    ) -> None:
        self._priorities = priorities
        self._longest = longest_seconds
        self._turns = schedule == "turns"
        self._last = -1

    def __call__(self, waiting: Mapping[int, Request]) -> int:
        if self._turns:
            self._last = min(waiting, key=lambda desk: (desk <= self._last, desk))
            return self._last
        oldest = max(waiting, key=lambda desk: waiting[desk].age_seconds)
        if waiting[oldest].age_seconds >= self._longest:
            return oldest
        return max(waiting, key=lambda desk: self._doubt(waiting[desk]) * self._priorities.get(desk, 1.0))

    @staticmethod
    def _doubt(request: Request) -> float:
        try:
            return request.doubt()
        except Exception:  # a picture of a caller's own that fails must end its own stream alone
            return 0.0
