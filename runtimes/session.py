"""One video through one bundle: the loop from frame to labels, with its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import HeadSpec, Manifest
from edge_vss.decisions import Decision, Policy, Prediction, described
from edge_vss.errors import EngineError, OptionError
from edge_vss.one_process import OneProcess
from edge_vss.runtimes.engines import Graph, Tensor, as_array
from edge_vss.runtimes.fitting import Fitting
from edge_vss.runtimes.operations import OwnWay, only_shown
from edge_vss.runtimes.scene_cut import Cuts
from edge_vss.runtimes.state import State
from edge_vss.runtimes.tracing.root_map import Trace, Tracer, thumb
from edge_vss.runtimes.tracing.trust import Carried, OwnLabels
from edge_vss.text import kind_of
from edge_vss.video import Frame, FrameStamp, Size

ROUTES = ("start", "key", "nonkey")
"""What a policy may decide on; the bundle says which graphs each of them runs."""


UNSEEN = 255
"""The label of what a cropped picture does not show, where the bundle has no id for that."""


@dataclass(frozen=True)
class Plan:
    """What is to be done for one frame."""

    frame: Frame
    decision: Decision
    trace: Trace
    """The way from the frame back to its key frame."""
    seconds: float
    """What deciding took."""


class Session(OneProcess):
    """Segments the frames of one video, in order. Not thread-safe: one for every video.

    The state goes from one step to the next by value, in ``state``, where it can be read, saved and restored.
    It returns to its initial value where a frame has a ``start`` reason or another size. At a scene cut it
    does so too, if the bundle remembers more than its last key frame.
    """

    INSTEAD = "load the bundle there, and hand the state over with state.save and state.restore"

    def __init__(
        self, manifest: Manifest, graphs: Mapping[str, Graph], policy: Policy, logits: bool = False
    ) -> None:
        produced = {spec.name for graph in manifest.graphs for spec in graph.outputs}
        if logits and not produced & {"logits", "scores"}:
            raise OptionError(
                f"this bundle gives no scores, only {', '.join(sorted(produced))}: "
                "convert the model with --carry scores, or leave logits out"
            )
        self.policy = policy
        self.state = State(manifest)
        self._manifest = manifest
        self._graphs = graphs
        self._logits = logits
        self._tracer = Tracer(self.trace_mode)
        self._cuts = Cuts() if manifest.remembers else None
        self._fitted: Fitting | None = None
        self._start_next = ""
        """Why the next step must begin anew, or empty."""
        self._key_owed: Decision | None = None
        """A key frame that the policy wanted where a frame passed without inference."""
        self._inputs = {
            route: {spec.name for role in roles for spec in manifest.graph(role).inputs}
            for route, roles in manifest.routes.items()
        }
        self._only_shown = only_shown(manifest)
        self._trusts = self.labels_from_key_frames
        self._carried = {state.next or state.name for state in manifest.state}

    @property
    def trace_mode(self) -> str:
        """How motion is traced back for this bundle: ``grid`` or ``exact``."""
        return self._manifest.motion.trace if self._manifest.motion else "grid"

    @property
    def labels_from_key_frames(self) -> bool:
        """Whether frames in between depend on their key frame and their motion alone, so that they may wait,
        and may take another key frame's labels."""
        made = {
            spec.name
            for role in self._manifest.routes.get("nonkey", ())
            for spec in self._manifest.graph(role).outputs
        }
        kept = {name for state in self._manifest.state for name in (state.name, state.next) if name}
        return "nonkey" in self._manifest.routes and not self._manifest.remembers and not made & kept

    @property
    def wants_motion(self) -> bool:
        """Whether frames need motion. If not, the source may leave it out: the labels are the same.

        Only frames after an anchor are traced back to it, so only graphs of the ``nonkey`` route count, and
        policies that measure.
        """
        policy = described(self.policy)
        # A session also takes the key route by itself, where a state was restored.
        chosen = {self._present(route) for route in policy.routes | {"key"}}
        return policy.measures or ("nonkey" in chosen and "motion" in self._inputs["nonkey"])

    @property
    def why_pictures(self) -> str:
        """Why frames that are no I-frames need a picture, in a clause; empty where they do not."""
        if "image" in self._inputs[self._present("nonkey")]:
            return f"the family {self._manifest.family} looks at every picture"
        if self._cuts is not None:
            return "this bundle remembers, and cuts are looked for in every picture"
        if described(self.policy).pictures:
            return f"the policy {self.policy} makes key frames of others than I-frames (take gop)"
        return ""

    def can_step(self, frame: Frame) -> bool:
        """Whether `step` can take the frame. One that has to begin anew needs a picture; where it has none,
        let it pass with `skip`, until one comes that has."""
        begins = frame.start or self._start_next or self.state.restored or self._key_owed
        return frame.has_picture or not (begins or frame.size != self.state.size)

    def step(self, frame: Frame) -> Prediction:
        """Labels for the frame shown after the last one.

        Raises EngineError where a graph gives NaN or a class that the bundle does not know, OptionError where
        ``frame`` is no Frame, or needs a picture and has none, or the policy gives no Decision or a route
        that does not exist. After a step that failed, the next one begins anew.
        """
        return self.carry_out(self.plan(frame))

    def plan(self, frame: Frame) -> Plan:
        """Decide the route of the frame shown after the last one; no graph runs.

        A frame on the ``nonkey`` route may wait, also while those after it are planned: it needs the state of
        its own key frame, which `carry_out` takes. Raises OptionError as `step` does.
        """
        _check_frame(frame)
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
        given: dict[str, Tensor] = {
            **(self.state.tensors if tensors is None else tensors),
            **self._prepare(plan, seconds),
        }
        made: dict[str, Tensor] = {}
        for role in self._manifest.routes[plan.decision.route]:
            began = perf_counter()
            outputs = self._called(role, given, frame.size)
            seconds[role] = seconds.get(role, 0.0) + perf_counter() - began
            self._check(role, outputs, frame.index)
            given |= outputs
            made |= outputs
        if tensors is None:
            stamp = FrameStamp(frame.index, frame.pts_seconds)
            self.state.advance(given, stamp, plan.trace.anchor)
            self._start_next = ""
        began = perf_counter()
        shown = {head.name: self._shown(head, made, frame.size) for head in self._manifest.maps}
        labels = next(iter(shown.values()))
        seconds["post"] = perf_counter() - began
        return Prediction(
            labels=labels,
            decision=plan.decision,
            frames_since_key=plan.trace.frames_since_key,
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            logits=self._scores(made) if self._logits else None,
            seconds=seconds,
            heads=shown if self._manifest.heads else {},
            trust=self._trust(plan) if self._trusts else None,
        )

    def _called(self, role: str, given: Mapping[str, Tensor], size: Size) -> Mapping[str, Tensor]:
        graph = self._graphs[role]
        if role in self._only_shown and isinstance(graph, OwnWay):
            height, width = self._manifest.frame_size
            # A smaller frame shows only some of the pixels, so that the others need not be made.
            if size[0] * size[1] < height * width and self._fitting(size).window is None:
                return graph.at(given, size)
        return graph(given)

    def _trust(self, plan: Plan) -> OwnLabels | Carried:
        if plan.decision.route != "nonkey":
            return OwnLabels(plan.frame.size)
        return Carried(plan.trace, thumb(plan.frame) if plan.frame.has_picture else None)

    def owe_key(self, decision: Decision) -> None:
        """Make the next frame a key frame, whatever the policy wants there."""
        self._key_owed = self._key_owed or decision

    def skip(self, frame: Frame) -> None:
        """Let a frame pass without inference: no labels, but its motion counts for the next step.

        A key frame that the policy wanted here is made up for at the next step. Raises OptionError as step
        does.
        """
        _check_frame(frame)
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
        reason = self._start_reason(frame)
        self.state.size = frame.size
        if reason:
            decision = Decision("start", reason)
        elif self.state.restored:
            decision = Decision("key", "restored state")
        else:
            decision = self._asked(frame)
            if self._key_owed is not None and decision.route == "nonkey":
                decision = self._key_owed
        decision = replace(decision, route=self._present(decision.route))
        if decision.route == "start":
            self.state.reset()
        if decision.route != "nonkey":
            self._tracer.anchor(frame)
        self._key_owed = None
        return decision

    def _present(self, route: str) -> str:
        """The route, or the one that is run instead: some families treat every frame after the first alike,
        and have only one of key and nonkey."""
        routes = self._manifest.routes
        return next(name for name in (route, "nonkey", "key", "start") if name in routes)

    def _asked(self, frame: Frame) -> Decision:
        """What the policy wants for the frame. The tracer follows the frame for it."""
        decision = self.policy(frame, self._tracer.follow(frame))
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
        if self.state.restored:
            # The source calls this frame its first, but the state goes on from where another source ended.
            return "size changed" if frame.size != self.state.size else ""
        if frame.start or self._start_next:
            return str(frame.start or self._start_next)
        if self.state.size is None:
            return "first frame"
        if frame.size != self.state.size:
            return "size changed"
        return "scene cut" if cut else ""

    def _prepare(self, plan: Plan, seconds: dict[str, float]) -> dict[str, NDArray[Any]]:
        """What the route's graphs want besides state. Pixels are converted only where a graph reads them."""
        began = perf_counter()
        wanted, tensors = self._inputs[plan.decision.route], {}
        if "motion" in wanted and self._manifest.motion is not None:
            motion = self._manifest.motion
            window = self._fitting(plan.frame.size).window
            tensors["motion"] = plan.trace.root(motion.grid, motion.sampling, window)[None]
        seconds["motion"] = seconds.get("motion", 0.0) + plan.seconds + perf_counter() - began
        if "image" in wanted:
            began = perf_counter()
            image = self._fitting(plan.frame.size).image(plan.frame.picture)
            tensors["image"] = np.ascontiguousarray(image[None])
            seconds["image"] = perf_counter() - began
        return tensors

    def _check(self, role: str, outputs: Mapping[str, Tensor], index: int) -> None:
        # A graph's score_check is the sum of its scores: NaN as soon as one score is, and quicker to read.
        names = ["score_check"] if "score_check" in outputs else list(outputs)
        for name in names:
            if outputs[name].dtype.kind != "f":
                continue
            values = as_array(outputs[name])
            # The minimum of an array that holds a NaN is NaN, and takes a tenth of the time of isnan().any().
            if values.size and np.isnan(values.min()):
                raise EngineError(
                    f"the {role} graph gave NaN in {name} at frame {index}: check the model's weights, "
                    "--mean, --std and --scale, or try another engine"
                )
        for head in self._manifest.maps:
            if head.tensor not in outputs or head.is_matte:
                continue
            labels, known = as_array(outputs[head.tensor]), len(head.classes)
            if int(labels.max()) < known:
                continue
            if unknown := set(np.unique(labels).tolist()) - {*range(known), head.ignore}:
                where = f" in {head.tensor}" if self._manifest.heads else ""
                raise EngineError(
                    f"the {role} graph gave class {min(unknown)}{where} at frame {index}, and the bundle "
                    f"knows {known} classes: convert the model with the class list it was trained on"
                )

    def _scores(self, made: Mapping[str, Tensor]) -> NDArray[np.float32] | None:
        name = next((name for name in ("logits", "scores") if name in made), None)
        if name is None:
            return None
        scores: NDArray[np.float32] = as_array(made[name])[0]
        # A prediction is the caller's to change, and the session goes on with what it carries.
        return scores.copy() if name in self._carried or not scores.flags.writeable else scores

    def _shown(self, head: HeadSpec, made: Mapping[str, Tensor], size: Size) -> NDArray[np.uint8]:
        """A map at the frame's size."""
        values: NDArray[np.uint8] = as_array(made[head.tensor])[0]
        if head.is_matte:
            return self._fitting(size).matte(values)
        return self._fitting(size).labels(values, UNSEEN if head.ignore is None else head.ignore)

    def _fitting(self, size: Size) -> Fitting:
        if self._fitted is None or self._fitted.frame != size:
            self._fitted = Fitting(size, self._manifest.frame_size, self._manifest.fit)
        return self._fitted


def _check_frame(frame: object) -> None:
    if not isinstance(frame, Frame):
        raise OptionError(
            f"a step takes a Frame, got {kind_of(frame)}: open RGB pictures with open_source, and "
            "step over its frames"
        )
