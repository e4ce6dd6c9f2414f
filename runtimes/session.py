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
from edge_vss.runtimes.engines import Graph
from edge_vss.runtimes.scene_cut import Cuts
from edge_vss.runtimes.state import State
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Decision, Frame, Policy, Prediction

ROUTES = ("start", "key", "nonkey")
"""What a policy may decide on; the bundle says which graphs each of them runs."""


class Session:
    """Segments the frames of one video, in order. Not thread-safe: one for every video.

    The state goes from one step to the next as plain arrays in ``state``, which can be saved and restored. It
    returns to its initial value where a frame has a ``start`` reason or another size; at a scene cut too,
    where the bundle remembers more than its last key frame.
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
        self._pending = ""
        self._owed: Decision | None = None
        self._wanted = {
            route: {spec.name for role in roles for spec in manifest.graph(role).inputs}
            for route, roles in manifest.routes.items()
        }

    def step(self, frame: Frame) -> Prediction:
        """Labels for the frame shown after the last one.

        Raises EngineError where a graph gives NaN or a class that the bundle does not know, OptionError where
        the policy gives a route that there is not. After a step that failed, the next one begins anew.
        """
        seconds = dict(frame.seconds)
        began = perf_counter()
        decision = self._decide(frame)
        # The anchor has moved on, and the state follows only when all graphs have run.
        self._pending = "failed step"
        tensors = {**self.state, **self._prepare(frame, decision, seconds, began)}
        made: dict[str, NDArray[Any]] = {}
        for role in self._manifest.routes[decision.route]:
            began = perf_counter()
            outputs = self._graphs[role](tensors)
            seconds[role] = seconds.get(role, 0.0) + perf_counter() - began
            self._check(role, outputs, frame.index)
            tensors |= outputs
            made |= outputs
        self.state.advance(tensors)
        self._pending = ""
        began = perf_counter()
        labels = self._shown_labels(made["labels"][0], frame)
        seconds["post"] = perf_counter() - began
        scores = made.get("logits", made.get("scores")) if self._logits else None
        return Prediction(
            labels=labels,
            decision=decision,
            frames_since_key=self._frames_since_key,
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            # The scores may be what the session goes on with, and a prediction is the caller's to change.
            logits=None if scores is None else scores[0].copy(),
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
            self._pending = reason
            return
        if self.state.restored:
            return
        wanted = self._asked(frame)
        if wanted.route == "start":
            self._pending = wanted.reason or "skipped start"
        elif wanted.route == "key":
            self._owed = self._owed or wanted

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
            if self._owed is not None and decision.route == "nonkey":
                decision = self._owed
        if decision.route not in self._manifest.routes:
            # Some families treat every frame after the first alike, and have only one of key and nonkey.
            present = [route for route in ("nonkey", "key", "start") if route in self._manifest.routes]
            decision = replace(decision, route=present[0])
        if decision.route == "start":
            self.state.reset()
        if decision.route != "nonkey":
            self._tracer.anchor(frame)
            self._frames_since_key = 0
        self._owed = None
        return decision

    def _asked(self, frame: Frame) -> Decision:
        """What the policy wants for the frame, which the tracer then has followed."""
        self._frames_since_key += 1
        decision = self.policy(frame, self._tracer.follow(frame, getattr(self.policy, "looks", True)))
        if decision.route not in ROUTES:
            raise OptionError(
                f"the policy gave the route {decision.route!r} at frame {frame.index}: "
                f"let it give one of {', '.join(ROUTES)}"
            )
        return decision

    def _start_reason(self, frame: Frame) -> str:
        cut = self._cuts is not None and self._cuts.between(frame)
        if self.state.restored:
            # A source begins with its first frame; the state goes on from another one's last.
            return "size changed" if frame.size != self.state.size else ""
        if frame.start or self._pending:
            return frame.start or self._pending
        if self.state.size is None:
            return "first frame"
        if frame.size != self.state.size:
            return "size changed"
        return "scene cut" if cut else ""

    def _prepare(
        self, frame: Frame, decision: Decision, seconds: dict[str, float], began: float
    ) -> dict[str, NDArray[Any]]:
        """What the route's graphs want besides state. Pixels are converted only for a graph that looks."""
        wanted, tensors = self._wanted[decision.route], {}
        if "motion" in wanted and self._manifest.motion is not None:
            motion = self._manifest.motion
            tensors["motion"] = self._tracer.root(motion.grid, motion.sampling)[None]
        seconds["motion"] = seconds.get("motion", 0.0) + perf_counter() - began
        if "image" in wanted:
            began = perf_counter()
            tensors["image"] = np.ascontiguousarray(frame.picture.rgb(self._manifest.frame_size)[None])
            seconds["image"] = perf_counter() - began
        return tensors

    def _check(self, role: str, outputs: dict[str, NDArray[Any]], index: int) -> None:
        # Where the graph sums its scores, the sum is NaN as soon as one of them is: no need to read them all.
        names = ["score_check"] if "score_check" in outputs else list(outputs)
        for name in names:
            values = outputs[name]
            # The minimum of an array that holds a NaN is NaN, and takes a tenth of the time of isnan().any().
            if values.dtype.kind == "f" and values.size and np.isnan(values.min()):
                raise EngineError(
                    f"the {role} graph gave NaN in {name} at frame {index}: check the model's weights, "
                    "--mean, --std and --scale, or try another engine"
                )
        if "labels" in outputs and int(outputs["labels"].max()) >= len(self._manifest.classes):
            known = len(self._manifest.classes)
            unknown = set(np.unique(outputs["labels"]).tolist()) - {*range(known), self._manifest.ignore}
            if unknown:
                raise EngineError(
                    f"the {role} graph gave class {min(unknown)} at frame {index}, and the bundle knows "
                    f"{known} classes: convert the model with the class list it was trained on"
                )

    def _shown_labels(self, labels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        if labels.shape == frame.size:
            return labels
        shown = cv2.resize(labels, frame.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(shown, np.uint8)
