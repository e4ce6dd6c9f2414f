"""One video through one bundle: the loop from frame to labels, with its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.errors import EngineError, OptionError
from edge_vss.runtimes.engines import Graph, Tensor, as_array
from edge_vss.runtimes.scene_cut import Cuts
from edge_vss.runtimes.state import State
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Decision, Frame, FrameStamp, Policy, Prediction, described

ROUTES = ("start", "key", "nonkey")
"""What a policy may decide on; the bundle says which graphs each of them runs."""


class Session:
    """Segments the frames of one video, in order. Not thread-safe: one for every video.

    The state goes from one step to the next by value, in ``state``, where it can be read, saved and restored.
    It returns to its initial value where a frame has a ``start`` reason or another size. At a scene cut it
    does so too, if the bundle remembers more than its last key frame.
    """

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
        self._tracer = Tracer(manifest.motion.trace if manifest.motion else "grid")
        self._cuts = Cuts() if manifest.remembers else None
        self._frames_since_key = 0
        self._start_next = ""
        """Why the next step must begin anew, or empty."""
        self._key_owed: Decision | None = None
        """A key frame that the policy wanted where a frame passed without inference."""
        self._inputs = {
            route: {spec.name for role in roles for spec in manifest.graph(role).inputs}
            for route, roles in manifest.routes.items()
        }
        self._carried = {state.next or state.name for state in manifest.state}

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
        the policy gives a route that does not exist, and where the frame needs a picture and has none. After
        a step that failed, the next one begins anew.
        """
        if not self.can_step(frame):
            raise OptionError(
                f"frame {frame.index} has to begin anew and has no picture: skip it, up to the next I-frame"
            )
        seconds = dict(frame.seconds)
        began = perf_counter()
        decision = self._decide(frame)
        # From here on the anchor may have changed, while the state changes only when all graphs have run.
        self._start_next = "failed step"
        tensors: dict[str, Tensor] = {
            **self.state.tensors,
            **self._prepare(frame, decision, seconds, began),
        }
        made: dict[str, Tensor] = {}
        for role in self._manifest.routes[decision.route]:
            began = perf_counter()
            outputs = self._graphs[role](tensors)
            seconds[role] = seconds.get(role, 0.0) + perf_counter() - began
            self._check(role, outputs, frame.index)
            tensors |= outputs
            made |= outputs
        stamp = FrameStamp(frame.index, frame.pts_seconds)
        self.state.advance(tensors, stamp, self._tracer.trace.anchor)
        self._start_next = ""
        began = perf_counter()
        labels = self._shown_labels(as_array(made["labels"])[0], frame)
        seconds["post"] = perf_counter() - began
        return Prediction(
            labels=labels,
            decision=decision,
            frames_since_key=self._frames_since_key,
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            logits=self._scores(made) if self._logits else None,
            seconds=seconds,
        )

    def skip(self, frame: Frame) -> None:
        """Let a frame pass without inference: no labels, but its motion counts for the next step.

        A key frame that the policy wanted here is made up for at the next step. Raises OptionError as step
        does.
        """
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
            self._frames_since_key = 0
        self._key_owed = None
        return decision

    def _present(self, route: str) -> str:
        """The route, or the one that is run instead: some families treat every frame after the first alike,
        and have only one of key and nonkey."""
        routes = self._manifest.routes
        return next(name for name in (route, "nonkey", "key", "start") if name in routes)

    def _asked(self, frame: Frame) -> Decision:
        """What the policy wants for the frame. The tracer follows the frame for it."""
        self._frames_since_key += 1
        decision = self.policy(frame, self._tracer.follow(frame))
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
            return frame.start or self._start_next
        if self.state.size is None:
            return "first frame"
        if frame.size != self.state.size:
            return "size changed"
        return "scene cut" if cut else ""

    def _prepare(
        self, frame: Frame, decision: Decision, seconds: dict[str, float], began: float
    ) -> dict[str, NDArray[Any]]:
        """What the route's graphs want besides state. Pixels are converted only where a graph reads them."""
        wanted, tensors = self._inputs[decision.route], {}
        if "motion" in wanted and self._manifest.motion is not None:
            motion = self._manifest.motion
            tensors["motion"] = self._tracer.root(motion.grid, motion.sampling)[None]
        seconds["motion"] = seconds.get("motion", 0.0) + perf_counter() - began
        if "image" in wanted:
            began = perf_counter()
            tensors["image"] = np.ascontiguousarray(frame.picture.rgb(self._manifest.frame_size)[None])
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
        if "labels" not in outputs:
            return
        labels, known = as_array(outputs["labels"]), len(self._manifest.classes)
        if int(labels.max()) >= known:
            unknown = set(np.unique(labels).tolist()) - {*range(known), self._manifest.ignore}
            if unknown:
                raise EngineError(
                    f"the {role} graph gave class {min(unknown)} at frame {index}, and the bundle knows "
                    f"{known} classes: convert the model with the class list it was trained on"
                )

    def _scores(self, made: Mapping[str, Tensor]) -> NDArray[np.float32] | None:
        name = next((name for name in ("logits", "scores") if name in made), None)
        if name is None:
            return None
        scores: NDArray[np.float32] = as_array(made[name])[0]
        # A prediction is the caller's to change, and the session goes on with what it carries.
        return scores.copy() if name in self._carried or not scores.flags.writeable else scores

    def _shown_labels(self, labels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        if labels.shape == frame.size:
            return labels
        shown = cv2.resize(labels, frame.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(shown, np.uint8)
