"""One route's graphs for one frame: what goes in, what they give, and what is shown of it. Keeps no state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import HeadSpec, Manifest, MotionSpec
from edge_vss.errors import EngineError
from edge_vss.runtimes.engines import Graph, Tensor, as_array
from edge_vss.runtimes.fitting import Fitting, unseen
from edge_vss.runtimes.operations import OwnWay, only_shown
from edge_vss.runtimes.tracing.root_map import Trace
from edge_vss.runtimes.tracing.two_sides import chosen, lead_at
from edge_vss.video import Frame, Size


@dataclass(frozen=True)
class Fusing:
    """How a frame in between can be made of both key frames, where its route first carries a tensor from the
    key frame and then reads nothing else of that: the tensor is chosen position by position, and what follows
    runs once."""

    carry: str
    """The role of the graph that carries."""
    rest: tuple[str, ...]
    """The roles that follow."""
    axes: Mapping[str, int]
    """Carried tensor → the axis of the motion's rows; its columns are on the next one."""


def fusing(manifest: Manifest) -> Fusing | None:
    """How a bundle fuses both sides; None where each side has to make labels of its own."""
    carry, *rest = manifest.routes.get("nonkey", ("",))
    if not rest or manifest.motion is None or not manifest.labels_from_key_frames:
        return None
    graph, after = manifest.graph(carry), [manifest.graph(role) for role in rest]
    axes = {}
    for spec in graph.outputs:
        places = [i for i in range(len(spec.shape) - 1) if spec.shape[i : i + 2] == manifest.motion.grid]
        if len(places) != 1:
            return None
        axes[spec.name] = places[0]
    own = {state.name for state in manifest.state} | {"motion"}
    shown = {head.tensor for head in manifest.maps}
    read = {spec.name for each in after for spec in each.inputs}
    if {spec.name for spec in graph.inputs} <= own and not read & own and not shown & axes.keys():
        return Fusing(carry, tuple(rest), axes)
    return None


class Runner:
    """Runs the routes of a bundle. Several threads may use one."""

    def __init__(self, manifest: Manifest, graphs: Mapping[str, Graph]) -> None:
        self._manifest = manifest
        self._graphs = graphs
        self._fitted: Fitting | None = None
        self._inputs = {
            route: {spec.name for role in roles for spec in manifest.graph(role).inputs}
            for route, roles in manifest.routes.items()
        }
        self._only_shown = only_shown(manifest)
        self.fusing = fusing(manifest)
        self._carried = {state.next or state.name for state in manifest.state}

    def reads(self, route: str, name: str) -> bool:
        """Whether a graph of the route has an input of that name."""
        return name in self._inputs.get(route, ())

    def prepare(
        self, frame: Frame, trace: Trace, route: str, seconds: dict[str, float]
    ) -> dict[str, NDArray[Any]]:
        """What the route's graphs want besides state. Pixels are converted only where a graph reads them.

        ``seconds`` by stage, which this adds to.
        """
        began = perf_counter()
        wanted = self._inputs[route]
        tensors: dict[str, NDArray[Any]] = {}
        if "motion" in wanted and self._manifest.motion is not None:
            tensors["motion"] = self._root(self._manifest.motion, frame.size, trace)
        seconds["motion"] = seconds.get("motion", 0.0) + perf_counter() - began
        if "image" in wanted:
            began = perf_counter()
            tensors["image"] = self.image(frame)
            seconds["image"] = perf_counter() - began
        return tensors

    def _root(self, motion: MotionSpec, size: Size, trace: Trace) -> NDArray[np.float32]:
        return trace.root(motion.grid, motion.sampling, self._fitting(size).window)[None]

    def fused(
        self,
        frame: Frame,
        ways: Sequence[tuple[Trace, Mapping[str, Tensor]]],
        lead: NDArray[np.float32],
        seconds: dict[str, float],
    ) -> dict[str, Tensor]:
        """All that the ``nonkey`` route gives, of a bundle that is fused (`fusing`).

        ``ways`` has the trace to the earlier key frame and its state, and those of the later one. ``lead`` is
        by how much the later one is better. Raises EngineError as `run` does.
        """
        fusing, motion = self.fusing, self._manifest.motion
        assert fusing is not None and motion is not None
        sides = []
        for trace, state in ways:
            began = perf_counter()
            given = {**state, "motion": self._root(motion, frame.size, trace)}
            seconds["motion"] = seconds.get("motion", 0.0) + perf_counter() - began
            sides.append(self._run((fusing.carry,), given, seconds, frame.index, frame.size))
        began = perf_counter()
        window = self._fitting(frame.size).window
        at = lead_at(lead, frame.size, motion.grid, motion.sampling, window)
        one, other = ({name: as_array(side[name]) for name in fusing.axes} for side in sides)
        carried = {name: chosen(one[name], other[name], at, axis) for name, axis in fusing.axes.items()}
        seconds["choose"] = seconds.get("choose", 0.0) + perf_counter() - began
        given = dict(carried)
        if self.reads("nonkey", "image"):
            began = perf_counter()
            given["image"] = self.image(frame)
            seconds["image"] = perf_counter() - began
        return carried | self._run(fusing.rest, given, seconds, frame.index, frame.size)

    def image(self, frame: Frame) -> NDArray[np.uint8]:
        """The tensor ``image``: uint8 (1, H, W, 3) RGB of the graphs' size."""
        return np.ascontiguousarray(self._fitting(frame.size).image(frame.picture)[None])

    def run(
        self, route: str, given: Mapping[str, Tensor], seconds: dict[str, float], index: int, size: Size
    ) -> dict[str, Tensor]:
        """All that the route's graphs make of ``given``, for the frame ``index`` of this size.

        Raises EngineError where a graph gives NaN or a class that the bundle does not know.
        """
        return self._run(self._manifest.routes[route], given, seconds, index, size)

    def _run(
        self,
        roles: Sequence[str],
        given: Mapping[str, Tensor],
        seconds: dict[str, float],
        index: int,
        size: Size,
    ) -> dict[str, Tensor]:
        known: dict[str, Tensor] = dict(given)
        made: dict[str, Tensor] = {}
        for role in roles:
            began = perf_counter()
            outputs = self._called(role, known, size)
            seconds[role] = seconds.get(role, 0.0) + perf_counter() - began
            self._check(role, outputs, index)
            known |= outputs
            made |= outputs
        return made

    def _called(self, role: str, given: Mapping[str, Tensor], size: Size) -> Mapping[str, Tensor]:
        graph = self._graphs[role]
        if role in self._only_shown and isinstance(graph, OwnWay):
            height, width = self._manifest.frame_size
            # A smaller frame shows only some of the pixels, so that the others need not be made.
            if size[0] * size[1] < height * width and self._fitting(size).window is None:
                return graph.at(given, size)
        return graph(given)

    def shown(self, made: Mapping[str, Tensor], size: Size) -> dict[str, NDArray[np.uint8]]:
        """Every map by its name, at the frame's size."""
        return {head.name: self._map(head, made, size) for head in self._manifest.maps}

    def scores(self, made: Mapping[str, Tensor]) -> NDArray[np.float32] | None:
        """The scores (C, h, w) where the route gave any."""
        name = next((name for name in ("logits", "scores") if name in made), None)
        if name is None:
            return None
        scores: NDArray[np.float32] = as_array(made[name])[0]
        # A prediction is the caller's to change, and the session goes on with what it carries.
        return scores.copy() if name in self._carried or not scores.flags.writeable else scores

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

    def _map(self, head: HeadSpec, made: Mapping[str, Tensor], size: Size) -> NDArray[np.uint8]:
        values: NDArray[np.uint8] = as_array(made[head.tensor])[0]
        if head.is_matte:
            return self._fitting(size).matte(values)
        return self._fitting(size).labels(values, unseen(head.ignore))

    def _fitting(self, size: Size) -> Fitting:
        fitted = self._fitted
        if fitted is None or fitted.frame != size:
            self._fitted = fitted = Fitting(size, self._manifest.frame_size, self._manifest.fit)
        return fitted
