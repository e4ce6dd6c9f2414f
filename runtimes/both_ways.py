"""Labels from both sides: a frame between two key frames waits for the later one.

A recording knows its future. Each frame in between is labelled twice, from the key frame before it and from
the one after it, and each position has the label of the side that followed it better
(edge_vss.runtimes.tracing.two_sides). That takes about twice the time of a frame in between, and every answer
comes one interval late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

from edge_vss.decisions import Cause, Decision, Prediction
from edge_vss.errors import OptionError
from edge_vss.runtimes.engines import Tensor
from edge_vss.runtimes.plan import Plan
from edge_vss.runtimes.tracing.reversal import reversed_motion
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.runtimes.tracing.trust import OfFused, cells_of, of_two_sides
from edge_vss.runtimes.tracing.two_sides import (
    Floats,
    Look,
    apart,
    chosen,
    lead_at,
    lead_of_later,
    look_at,
    merged,
)
from edge_vss.video import Frame, Size

MOST_BYTES = 256 * 2**20
"""Most bytes of frames that wait: 740 frames of 480×360, 180 of 720p, 80 of 1080p, 20 of 4K. Then the next
frame becomes a key frame."""

Labelled = tuple[Frame, Prediction]


class Labelling(Protocol):
    """Frames in, frames with labels out, perhaps some frames later."""

    def push(self, frame: Frame) -> list[Labelled]:
        """Take the frame shown next; gives what is labelled by now, in order."""

    def finish(self) -> list[Labelled]:
        """What is left, at the end of the video."""


def labelled(frames: Iterable[Frame], by: Labelling) -> Iterator[Labelled]:
    """Every frame with its labels, in order."""
    for frame in frames:
        yield from by.push(frame)
    yield from by.finish()


def check_both_ways(bundle: HasKeyFrames, name: str = "this bundle") -> None:
    """Raises OptionError for a bundle whose frames in between need more than a key frame."""
    if not bundle.labels_from_key_frames:
        raise OptionError(
            f"the frames of {name} depend on the frames before them, so they cannot be labelled from both "
            "sides: leave --both-ways out"
        )


class HasKeyFrames(Protocol):
    """What there is to ask of a manifest or a session."""

    @property
    def labels_from_key_frames(self) -> bool:
        """As `Manifest.labels_from_key_frames`."""


class Tensors(Protocol):
    """What a session goes on with."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """As `State.tensors`."""


class Planned(HasKeyFrames, Protocol):
    """What is asked of a `Session`. Only that is named, because the session imports this module."""

    late: bool

    @property
    def state(self) -> Tensors:
        """As `Session.state`."""

    @property
    def trace_mode(self) -> str:
        """As `Session.trace_mode`."""

    def owe_key(self, decision: Decision) -> None:
        """As `Session.owe_key`."""

    def plan(self, frame: Frame) -> Plan:
        """As `Session.plan`."""

    @property
    def fuses(self) -> bool:
        """As `Session.fuses`."""

    def carry_out(self, plan: Plan, tensors: Mapping[str, Tensor] | None = None) -> Prediction:
        """As `Session.carry_out`."""

    def carry_out_fused(
        self,
        plan: Plan,
        before: Mapping[str, Tensor],
        ahead: Plan,
        later: Mapping[str, Tensor],
        lead: Floats,
    ) -> Prediction:
        """As `Session.carry_out_fused`."""


@dataclass(frozen=True)
class _Waiting:
    plan: Plan
    look: Look
    seconds: float
    """What looking took."""


class BothWays:
    """Labels one video from both sides. Not thread-safe; the session belongs to it meanwhile.

    Frames that must begin anew (loss, seek, size) and the end of the video have no later side: what waits
    then is labelled from its key frame alone. At a scene cut, neither side matches what lies beyond it.

    Raises OptionError for a bundle whose frames in between depend on each other.
    """

    def __init__(self, session: Planned) -> None:
        if session.late:
            raise OptionError(
                "key frames that come late (background, key_delay) do not go together with labels from both "
                "sides, which wait for them: choose one"
            )
        check_both_ways(session)
        self._session = session
        self._tracer = Tracer(session.trace_mode)
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._key: Look | None = None
        self._before: Mapping[str, Tensor] = session.state.tensors
        self.twice = 0
        """Frames so far whose labels came from both sides: the graphs of `Session.twice` ran twice."""

    def push(self, frame: Frame) -> list[Labelled]:
        """Take the frame shown next; gives the frames that are labelled by now, in order.

        Raises what `Session.step` raises. Frames that waited are lost then, and the next frame begins anew.
        """
        if self._bytes + frame.nbytes > MOST_BYTES:
            self._session.owe_key(Decision("key", "no room for frames that wait", Cause.LONGEST))
        if frame.begins_part:
            self._session.owe_key(Decision("key", "a part begins", Cause.I_FRAME))
        plan = self._session.plan(frame)
        began = perf_counter()
        look = look_at(frame)
        looking = perf_counter() - began
        if plan.decision.route == "nonkey":
            self._waiting.append(_Waiting(plan, look, looking))
            self._bytes += frame.nbytes + look.nbytes
            return []
        waited, self._waiting, self._bytes = self._waiting, [], 0
        before, anchor = self._before, self._key
        prediction = self._session.carry_out(plan)
        prediction.seconds["choose"] = looking
        self._before, self._key = self._session.state.tensors, look
        alone = plan.decision.route == "start" or anchor is None
        later = None if alone else _Later(frame, look, self._before)
        return [*self._labelled(waited, before, anchor, later), (frame, prediction)]

    def finish(self) -> list[Labelled]:
        """The frames that still wait, at the end of the video."""
        waited, self._waiting, self._bytes = self._waiting, [], 0
        return list(self._labelled(waited, self._before, self._key, None))

    def _labelled(
        self, waited: list[_Waiting], before: Mapping[str, Tensor], anchor: Look | None, later: _Later | None
    ) -> Iterator[Labelled]:
        ways = {} if later is None or anchor is None else self._ways_ahead(waited, later.frame)
        for place, waiting in enumerate(waited, 1):
            plan, frame = waiting.plan, waiting.plan.frame
            if later is None or anchor is None:
                alone = self._session.carry_out(plan, before)
                alone.seconds["choose"] = waiting.seconds
                yield frame, alone
                continue
            ahead = ways[frame.index]
            self.twice += 1
            yield frame, self._of_two(waiting, before, anchor, ahead, later, place / (len(waited) + 1))

    def _ways_ahead(self, waited: list[_Waiting], key: Frame) -> dict[int, Plan]:
        """The plans of frames with their ways to the key frame shown after them, by the frames' indices."""
        trace, shown_next, found = self._tracer.start(key), key, {}
        for waiting in reversed(waited):
            frame, began = waiting.plan.frame, perf_counter()
            motion = None if shown_next.motion is None else reversed_motion(shown_next.motion)
            trace = trace.and_then(replace(frame, motion=motion))
            found[frame.index] = replace(waiting.plan, trace=trace, seconds=perf_counter() - began)
            shown_next = frame
        return found

    def _of_two(
        self,
        waiting: _Waiting,
        before: Mapping[str, Tensor],
        anchor: Look,
        ahead: Plan,
        later: _Later,
        share: float,
    ) -> Prediction:
        plan, size = waiting.plan, waiting.plan.frame.size
        began = perf_counter()
        lead = lead_of_later(
            apart(waiting.look, anchor, plan.trace),
            apart(waiting.look, later.look, ahead.trace),
            share,
            size,
        )
        seen = plan.thumb
        assert seen is not None, "the sides are compared by pictures"
        choosing = waiting.seconds + perf_counter() - began
        if self._session.fuses:
            found = self._session.carry_out_fused(plan, before, ahead, later.state, lead)
            found.trust = OfFused(plan.trace, ahead.trace, seen, cells_of(lead, size))
        else:
            one = self._session.carry_out(plan, before)
            other = self._session.carry_out(ahead, later.state)
            began = perf_counter()
            found = self._merged(one, other, lead, size)
            trust = of_two_sides(plan.trace, ahead.trace, seen, lead, one.labels, other.labels)
            # What decoding and measuring the frame took is in both.
            for name, spent in plan.frame.seconds.items():
                found.seconds[name] -= spent
            found.trust = trust
            choosing += perf_counter() - began
        found.seconds["choose"] = found.seconds.get("choose", 0.0) + choosing
        return found

    def _merged(self, one: Prediction, other: Prediction, lead: Floats, size: Size) -> Prediction:
        heads = {name: merged(mine, other.heads[name], lead) for name, mine in one.heads.items()}
        labels = next(iter(heads.values())) if heads else merged(one.labels, other.labels, lead)
        logits = None
        if one.logits is not None and other.logits is not None:
            grid = (one.logits.shape[1], one.logits.shape[2])
            logits = chosen(one.logits, other.logits, lead_at(lead, size, grid), 1)
        seconds = {name: spent + other.seconds.get(name, 0.0) for name, spent in one.seconds.items()}
        return replace(one, labels=labels, heads=heads, seconds=seconds, logits=logits)


@dataclass(frozen=True)
class _Later:
    """The key frame after the frames that wait."""

    frame: Frame
    look: Look
    state: Mapping[str, Tensor]
