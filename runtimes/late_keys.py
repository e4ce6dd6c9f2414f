"""Key frames whose labels come late: the session goes on from the last one, and is never late itself.

Motion makes that possible. A key frame that was asked for has a trace of its own, which follows the stream
while the network runs. When its result is there, the state and the trace are changed for these, and so the
new labels are already where things are now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

from edge_vss.bundle import Manifest
from edge_vss.decisions import Cause, Decision, Policy, Prediction, Track, described
from edge_vss.errors import EngineError, OptionError, one_line
from edge_vss.plugins import LOG
from edge_vss.report import Report
from edge_vss.runtimes._requests import Computed, Request, Workplace
from edge_vss.runtimes.budget import Budget
from edge_vss.runtimes.engines import Graph, Tensor
from edge_vss.runtimes.plan import Plan
from edge_vss.runtimes.scene_cut import Cuts
from edge_vss.runtimes.session import Session
from edge_vss.runtimes.sources._decoded import DecodedPicture
from edge_vss.runtimes.staleness import staleness
from edge_vss.runtimes.tracing.root_map import Trace
from edge_vss.video import Frame

MOST_FAILURES = 3
"""So many key frames may fail one after the other; then the session stops."""


@dataclass(frozen=True)
class KeyFigures(Report):
    """What became of the key frames that were asked for."""

    taken: int = 0
    """Their labels were taken over."""
    dropped: int = 0
    """A cut, a loss or another size came before their labels."""
    failed: int = 0
    """The network failed."""
    seconds: float = 0.0
    """What their graphs took, those of all that were taken over together."""


class LateSession(Session):
    """A session whose key frames are computed meanwhile. Every frame gets labels at once, but those that have
    nothing to go on: the first one, and where the state begins anew (loss, seek, another size, a cut where
    the bundle remembers).

    ``workplace`` computes, and ``closing`` ends what the session alone has of it. The policy is asked on the
    way back to the key frame that was begun last.
    """

    late = True

    def __init__(
        self,
        manifest: Manifest,
        graphs: Mapping[str, Graph],
        policy: Policy,
        logits: bool,
        workplace: Workplace,
        closing: Callable[[], None] = lambda: None,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(manifest, graphs, policy, logits)
        check_late(manifest, policy)
        self.figures = KeyFigures()

        self.budget = budget
        self.spent_seconds: float | None = None
        """How long ago the next frame's packet came; None for what its stages took."""
        self._workplace = workplace
        self._closing = closing
        self._requests: list[Request] = []
        """At most three: one that is done, one under way, and one that waits."""
        self._fresh: tuple[Decision, Computed] | None = None
        """The frame's own labels, where its key frame took no time."""
        self._failures = 0
        self._dropped = False
        """Whether a cut has dropped a key frame, and none was taken over since."""
        # A bundle that remembers looks for cuts itself, and begins anew there.
        self._scenes = None if manifest.remembers else Cuts()

    @property
    def wants_motion(self) -> bool:
        """Whether frames need motion. Frames in between come under every policy."""
        return described(self.policy).measures or self._runner.reads("nonkey", "motion")

    def close(self) -> None:
        """Take no more frames. A key frame that is under way ends, and is forgotten."""
        self._requests = []
        self._workplace.close()
        self._closing()

    def skip(self, frame: Frame) -> None:
        """Let a frame pass without labels. Its motion counts, and it may be asked for as a key frame."""
        self._check(frame)
        self._workplace.tick()
        decision = self._beginning(frame)
        if decision is None:
            # Without waiting: who lets a frame pass is behind already.
            decision = self._following(frame, waits=False)
            self._fresh = None
            if decision.route != "start":
                return
        self._drop()
        if decision.route == "start":
            self._start_next = decision.reason or "skipped start"

    def _decide(self, frame: Frame) -> Decision:
        self._workplace.tick()
        decision = self._beginning(frame)
        if decision is None:
            decision = self._following(frame)
            if decision.route != "start":
                return decision
        self._drop()
        return self._settled(frame, decision)

    def _following(self, frame: Frame, waits: bool = True) -> Decision:
        """Start, key where the frame's own labels are there already, or nonkey. A budget may wait for key
        frames, where ``waits``."""
        self._tracer.follow(frame)
        for request in self._requests:
            request.trace = request.trace.and_then(frame)
        cut = self._scenes is not None and frame.has_picture and self._scenes.between(frame)
        if cut and self._requests:
            # Where cuts come faster than key frames, the first labels would stay for ever.
            if not self._dropped:
                self._drop()
                self._dropped = True
            self._request(frame, Decision("key", "scene cut", Cause.OTHER))
        self._take_over(frame)
        # What waits is no key frame yet: a newer frame takes its place as long as the policy asks.
        begun = [request.trace for request in self._requests if request.started]
        latest = begun[-1] if begun else self._tracer.trace
        wanted = self._ask(frame, latest.track(frame))
        if wanted.route == "start":
            return wanted
        if wanted.route == "key" and frame.has_picture and self._fresh is None:
            self._request(frame, wanted)
            self._workplace.settle(self._requests[-1])
            self._take_over(frame)
        if waits:
            self._wait_for(frame)
        if self._fresh is not None:
            return replace(self._fresh[0], route=self._present("key"))
        since = self._tracer.trace.frames_since_key
        reason = f"carried {since}" + (f", {wanted.reason} is asked for" if wanted.route == "key" else "")
        return Decision(self._present("nonkey"), reason, Cause.CARRIED)

    def _wait_for(self, frame: Frame) -> None:
        """Wait for key frames as long as the budget allows."""
        if self.budget is None:
            return
        spent = sum(frame.seconds.values()) if self.spent_seconds is None else self.spent_seconds
        until = perf_counter() + self.budget.patience(spent)
        while self._requests and self._fresh is None:
            if not self._workplace.wait(self._requests[0], until - perf_counter()):
                break
            self.budget.waits()
            self._take_over(frame)

    def _request(self, frame: Frame, decision: Decision) -> None:
        """Ask for the frame as a key frame, instead of what waits."""
        trace = self._tracer.start(frame)
        shown = self._tracer.trace
        request = Request(
            stamp=trace.anchor,
            size=frame.size,
            decision=decision,
            trace=trace,
            job=self._job(frame, trace, "key", self.state.tensors),
            doubt=_Doubt(shown, frame),
            age_seconds=frame.pts_seconds - shown.anchor.pts_seconds,
        )
        self._workplace.offer(request)
        # Only now is it sure that what waited was not begun meanwhile.
        self._requests = [other for other in self._requests if other.started]
        self._requests.append(request)

    def _job(
        self, frame: Frame, trace: Trace, route: str, state: Mapping[str, Tensor]
    ) -> Callable[[], Computed]:
        """What a worker does for a key frame. It knows nothing of the session, which may be gone by then."""
        runner, route = self._runner, self._present(route)
        seconds: dict[str, float] = {}
        taken: Mapping[str, Tensor] | None = None
        if not isinstance(frame.picture, DecodedPicture):
            # A decoder's picture stays as it is. Another may be the caller's, who fills it anew.
            taken = runner.prepare(frame, trace, route, seconds)

        def job() -> Computed:
            given = {**state, **(runner.prepare(frame, trace, route, seconds) if taken is None else taken)}
            return Computed(runner.run(route, given, seconds, trace.anchor.index, trace.size), given, seconds)

        return job

    def _take_over(self, frame: Frame) -> None:
        """Change to the last key frame that is done, if there is one. Of one that failed, say so."""
        while self._requests and self._requests[0].done:
            request = self._requests.pop(0)
            if request.computed is None:
                self._failed(request, frame)
                continue
            self._failures, self._dropped = 0, False
            computed = request.computed
            self._count(computed)
            self.state.advance({**computed.given, **computed.made}, request.stamp, request.stamp)
            self._tracer.switch(self._way(request, frame))
            at_once = request.stamp.index == frame.index
            self._fresh = (request.decision, computed) if at_once else None

    def _count(self, computed: Computed) -> None:
        took = sum(computed.seconds.get(role, 0.0) for role in self._manifest.routes[self._present("key")])
        figures = self.figures
        self.figures = replace(figures, taken=figures.taken + 1, seconds=figures.seconds + took)

    def _way(self, request: Request, frame: Frame) -> Trace:
        """From the frame back to the key frame whose labels it takes over."""
        return request.trace

    def _failed(self, request: Request, frame: Frame) -> None:
        self._failures += 1
        self.figures = replace(self.figures, failed=self.figures.failed + 1)
        cause = request.error
        told = str(cause) if isinstance(cause, EngineError) else one_line(cause or EngineError(), named=True)
        where = f"key frame {request.stamp.index} failed"
        if self._failures >= MOST_FAILURES:
            self._start_next = "failed key frames"
            self._drop()
            raise EngineError(f"{where}, as did the {self._failures - 1} before it: {told}") from cause
        LOG.warning("%s, and its labels are left out: %s", where, told)
        if not self._requests and frame.has_picture:
            self._request(frame, replace(request.decision, reason=f"{request.decision.reason}, once more"))

    def _drop(self) -> None:
        """Forget what was asked for: it belongs to another scene."""
        self._workplace.withdraw()
        begun = sum(request.started for request in self._requests)
        self.figures = replace(self.figures, dropped=self.figures.dropped + begun)
        self._requests = []
        self._fresh = None

    def _run(
        self, route: str, given: Mapping[str, Tensor], seconds: dict[str, float], frame: Frame
    ) -> dict[str, Tensor]:
        if route == "nonkey":
            return super()._run(route, given, seconds, frame)
        runner = self._runner

        def job() -> Computed:
            spent: dict[str, float] = {}
            return Computed(runner.run(route, given, spent, frame.index, frame.size), given, spent)

        computed = self._workplace.now(job)
        seconds.update(computed.seconds)
        self._count(computed)
        return dict(computed.made)

    def carry_out(self, plan: Plan, tensors: Mapping[str, Tensor] | None = None) -> Prediction:
        """As `Session.carry_out`. Raises OptionError with ``tensors``: no frame waits here."""
        if tensors is not None:
            raise OptionError(
                "key frames come late here, and frames cannot wait for them: choose one of both"
            )
        fresh, self._fresh = self._fresh, None
        if fresh is None:
            return super().carry_out(plan)
        seconds = dict(plan.frame.seconds)
        seconds["motion"] = seconds.get("motion", 0.0) + plan.seconds
        for stage, spent in fresh[1].seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
        return self._prediction(plan, fresh[1].made, seconds)


class _Doubt:
    """How stale the labels are that a frame has, measured when a worker asks."""

    def __init__(self, trace: Trace, frame: Frame) -> None:
        self._track: Track = trace.track(frame)

    def __call__(self) -> float:
        return staleness(self._track)


def check_late(manifest: Manifest, policy: Policy) -> None:
    """Raises OptionError for a bundle whose key frames cannot come late."""
    made = {spec.name for role in manifest.routes.get("nonkey", ()) for spec in manifest.graph(role).outputs}
    kept = {name for state in manifest.state for name in (state.name, state.next) if name}
    family = manifest.family
    if not {"key", "nonkey"} <= set(manifest.routes):
        raise OptionError(
            f"the network of {family} sees every frame in order, so its key frames cannot come late: "
            "take a bundle that carries labels, as family propagate does"
        )
    if made & kept:
        carry = manifest.options.get("carry")
        raise OptionError(
            f"the memory of {family} goes on at every frame{f' with --carry {carry}' if carry else ''}, so "
            "its key frames cannot come late: convert the model with another --carry (tv3s: seen)"
        )
    if manifest.remembers and described(policy).routes == {"key"}:
        raise OptionError(
            f"{family} sees every frame in order under the policy {policy}, so its key frames cannot come "
            "late: with --policy interval:5 or continuous, frames in between are carried (--carry)"
        )
