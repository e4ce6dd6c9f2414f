"""One video through one bundle: the loop from frame to labels, with its state."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.decisions import Decision, Policy, Prediction, Track
from edge_vss.errors import OptionError
from edge_vss.plugins import LOG
from edge_vss.runtimes._of_bundle import OfBundle
from edge_vss.runtimes._runner import Runner
from edge_vss.runtimes.both_ways import BothWays, labelled
from edge_vss.runtimes.engines import Graph, Tensor
from edge_vss.runtimes.plan import Plan
from edge_vss.runtimes.scene_cut import Cuts
from edge_vss.runtimes.staleness import Staling
from edge_vss.runtimes.state import State
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.runtimes.tracing.trust import Carried, OwnLabels
from edge_vss.text import kind_of
from edge_vss.video import Frame, FrameStamp

ROUTES = ("start", "key", "nonkey")
"""What a policy may decide on; the bundle says which graphs each of them runs."""


class Session(OfBundle):
    """Segments the frames of one video, in order. Not thread-safe: one for every video.

    The state goes from one step to the next by value, in ``state``, where it can be read, saved and restored.
    It returns to its initial value where a frame has a ``start`` reason or another size. At a scene cut it
    does so too, if the bundle remembers more than its last key frame.
    """

    INSTEAD = "load the bundle there, and hand the state over with state.save and state.restore"
    late = False
    """Whether key frames are computed meanwhile (`edge_vss.runtimes.late_keys`)."""

    def __init__(
        self, manifest: Manifest, graphs: Mapping[str, Graph], policy: Policy, logits: bool = False
    ) -> None:
        produced = {spec.name for graph in manifest.graphs for spec in graph.outputs}
        if logits and not produced & {"logits", "scores"}:
            raise OptionError(
                f"this bundle gives no scores, only {', '.join(sorted(produced))}: "
                "convert the model with --carry scores, or leave logits out"
            )
        super().__init__(manifest, Runner(manifest, graphs), policy)
        self.state = State(manifest)
        self._logits = logits
        self._process = os.getpid()
        self._tracer = Tracer(self.trace_mode)
        self._cuts = Cuts() if self.looks_for_cuts else None
        self._start_next = ""
        """Why the next step must begin anew, or empty."""
        self._key_owed: Decision | None = None
        """A key frame that the policy wanted where a frame passed without inference."""
        self._trusts = self.labels_from_key_frames
        self._last_index: int | None = None
        self._warned = False

    def can_step(self, frame: Frame) -> bool:
        """Whether `step` can take the frame. One that has to begin anew needs a picture; where it has none,
        let it pass with `skip`, until one comes that has."""
        begins = frame.start or self._start_next or self.state.restored or self._key_owed
        return frame.has_picture or not (begins or frame.size != self.state.size)

    def step(self, frame: Frame) -> Prediction:
        """Labels for the frame shown after the last one. Frames that get no labels go to `skip`: motion leads
        from each frame to the one before. Where one was left out, labels begin anew.

        Raises EngineError where a graph gives NaN or a class that the bundle does not know, OptionError where
        ``frame`` is no Frame, or needs a picture and has none, or the policy gives no Decision or a route
        that does not exist. After a step that failed, the next one begins anew.
        """
        return self.carry_out(self.plan(frame))

    def between(self, frames: Iterable[Frame], *, both_ways: bool = False) -> Iterator[Prediction]:
        """A prediction for every frame of a video, in order; ``prediction.index`` says for which.

        With ``both_ways``, frames between two key frames take their labels from both. Every answer then comes
        one interval late, and up to 256 MB of frames wait (`edge_vss.both_ways` gives the frames too).
        Without it, this is `step`, frame by frame.

        Raises OptionError at once for ``both_ways`` where frames in between depend on each other, and where
        key frames come late; then what `step` raises.
        """
        if not both_ways:
            return map(self.step, frames)
        return (prediction for _, prediction in labelled(frames, BothWays(self)))

    def plan(self, frame: Frame) -> Plan:
        """Decide the route of the frame shown after the last one; no graph runs.

        A frame on the ``nonkey`` route may wait, also while those after it are planned: it needs the state of
        its own key frame, which `carry_out` takes. Raises OptionError as `step` does.
        """
        self._check(frame)
        if not self.can_step(frame):
            raise OptionError(
                f"frame {frame.index} has to begin anew and has no picture: skip it, up to the next I-frame"
            )
        began = perf_counter()
        decision = self._decide(frame)
        return Plan(frame, decision, self._tracer.trace, perf_counter() - began)

    def carry_out(self, plan: Plan, tensors: Mapping[str, Tensor] | None = None) -> Prediction:
        """Run the graphs that were planned for a frame, with the state there is now, which goes on.

        With ``tensors``, the state of a key frame, they run with that, and the state stays as it is: for a
        frame that waited. Raises EngineError as `step` does.
        """
        frame, seconds = plan.frame, dict(plan.frame.seconds)
        if tensors is None:
            # From here on the anchor may have changed, while the state changes only when all graphs have run.
            self._start_next = "failed step"
        seconds["motion"] = seconds.get("motion", 0.0) + plan.seconds
        route = plan.decision.route
        given: dict[str, Tensor] = {
            **(self.state.tensors if tensors is None else tensors),
            **self._runner.prepare(frame, plan.trace, route, seconds),
        }
        made = self._run(route, given, seconds, frame)
        if tensors is None:
            stamp = FrameStamp(frame.index, frame.pts_seconds)
            self.state.advance({**given, **made}, stamp, plan.trace.anchor)
            self._start_next = ""
        return self._prediction(plan, made, seconds)

    def carry_out_fused(
        self,
        plan: Plan,
        before: Mapping[str, Tensor],
        ahead: Plan,
        later: Mapping[str, Tensor],
        lead: NDArray[np.float32],
    ) -> Prediction:
        """Run the graphs once for a frame that waited, with what is carried from the better of two key
        frames.

        Only where the session ``fuses``. ``plan`` and ``ahead`` have the frame's ways to the earlier and to
        the later one, whose states are ``before`` and ``later``. ``lead`` is by how much the later one is
        better, as `lead_of_later` gives it. Raises EngineError as `step` does.
        """
        seconds = dict(plan.frame.seconds)
        seconds["motion"] = seconds.get("motion", 0.0) + plan.seconds + ahead.seconds
        ways = ((plan.trace, before), (ahead.trace, later))
        return self._prediction(plan, self._runner.fused(plan.frame, ways, lead, seconds), seconds)

    def _run(
        self, route: str, given: Mapping[str, Tensor], seconds: dict[str, float], frame: Frame
    ) -> dict[str, Tensor]:
        return self._runner.run(route, given, seconds, frame.index, frame.size)

    def _prediction(self, plan: Plan, made: Mapping[str, Tensor], seconds: dict[str, float]) -> Prediction:
        frame, anchor = plan.frame, plan.trace.anchor
        began = perf_counter()
        shown = self._runner.shown(made, frame.size)
        labels = next(iter(shown.values()))
        seconds["post"] = perf_counter() - began
        # A network that takes no motion sees every frame: its labels are this frame's own.
        own = not plan.trace.frames_since_key or not self._runner.reads("nonkey", "motion")
        stale = None if own else Staling(plan.trace, plan.thumb)
        return Prediction(
            labels=labels,
            decision=plan.decision,
            frames_since_key=plan.trace.frames_since_key,
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            logits=self._runner.scores(made) if self._logits else None,
            seconds=seconds,
            heads=shown if self._manifest.heads else {},
            trust=self._trust(plan) if self._trusts else None,
            anchor_index=frame.index if own else anchor.index,
            age_seconds=0.0 if own else frame.pts_seconds - anchor.pts_seconds,
            measure_staleness=stale,
        )

    def _trust(self, plan: Plan) -> OwnLabels | Carried:
        if plan.decision.route != "nonkey":
            return OwnLabels(plan.frame.size)
        return Carried(plan.trace, plan.thumb)

    def close(self) -> None:
        """Let go of threads, where the session has any. There is no step after this one."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def owe_key(self, decision: Decision) -> None:
        """Make the next frame a key frame, whatever the policy wants there."""
        self._key_owed = self._key_owed or decision

    def skip(self, frame: Frame) -> None:
        """Let a frame pass without inference: no labels, but its motion counts for the next step.

        A key frame that the policy wanted here is made up for at the next step. Raises OptionError as step
        does.
        """
        self._check(frame)
        reason = self._start_reason(frame)
        self.state.size = frame.size
        if reason:
            self._start_next = reason
            return
        if self.state.restored:
            return
        wanted = self._asked(frame)
        if wanted.route == "start":
            self._start_next = wanted.reason or "skipped start"
        elif wanted.route == "key":
            self._key_owed = self._key_owed or wanted

    def _decide(self, frame: Frame) -> Decision:
        """The frame's route; the tracer then knows the way from the frame back to its anchor."""
        decision = self._beginning(frame)
        if decision is None:
            decision = self._asked(frame)
            if self._key_owed is not None and decision.route == "nonkey":
                decision = self._key_owed
        return self._settled(frame, decision)

    def _beginning(self, frame: Frame) -> Decision | None:
        """What there is to do where nothing can be carried to the frame; None where something can."""
        reason = self._start_reason(frame)
        self.state.size = frame.size
        if reason:
            return Decision("start", reason)
        return Decision("key", "restored state") if self.state.restored else None

    def _settled(self, frame: Frame, decision: Decision) -> Decision:
        """The decision as the bundle's routes have it, with what it changes."""
        decision = replace(decision, route=self._present(decision.route))
        if decision.route == "start":
            self.state.reset()
        if decision.route != "nonkey":
            self._tracer.anchor(frame)
        self._key_owed = None
        return decision

    def _asked(self, frame: Frame) -> Decision:
        """What the policy wants for the frame. The tracer follows the frame for it."""
        return self._ask(frame, self._tracer.follow(frame))

    def _ask(self, frame: Frame, track: Track) -> Decision:
        decision = self.policy(frame, track)
        if not isinstance(decision, Decision):
            raise OptionError(
                f"the policy gave {decision!r} at frame {frame.index}: let it give a Decision, "
                "as in Decision('key', 'why')"
            )
        if decision.route not in ROUTES:
            raise OptionError(
                f"the policy gave the route {decision.route!r} at frame {frame.index}: "
                f"let it give one of {', '.join(ROUTES)}"
            )
        return decision

    def _start_reason(self, frame: Frame) -> str:
        cut = self._cuts is not None and self._cuts.between(frame)
        before, self._last_index = self._last_index, frame.index
        if self.state.restored:
            # The source calls this frame its first, but the state goes on from where another source ended.
            return "size changed" if frame.size != self.state.size else ""
        if frame.start or self._start_next:
            return str(frame.start or self._start_next)
        if self.state.size is None:
            return "first frame"
        if frame.size != self.state.size:
            return "size changed"
        if before is not None and frame.index != before + 1 and self._runner.reads("nonkey", "motion"):
            self._warn(before, frame.index)
            return "frames left out"
        return "scene cut" if cut else ""

    def _warn(self, before: int, index: int) -> None:
        if not self._warned:
            LOG.warning(
                "frame %d came after frame %d, so labels begin anew: hand frames between to session.skip",
                index,
                before,
            )
        self._warned = True

    def _check(self, frame: object) -> None:
        if not isinstance(frame, Frame):
            raise OptionError(
                f"a step takes a Frame, got {kind_of(frame)}: open RGB pictures with open_source, and "
                "step over its frames"
            )
        self._check_process(self._process)
