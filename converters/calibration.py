"""The frames of a video that int8 is fitted to, and others that it is measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.converters.quantizers import Samples
from edge_vss.decisions import Decision, Prediction, Track
from edge_vss.errors import OptionError
from edge_vss.files import sha256
from edge_vss.runtimes.engines import Graph, Tensor, as_array
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame

PLACES = 32
"""Places in a video that are looked at: a key frame, and the frames that follow it."""
FOLLOWING = 2
LEAST_FRAMES = 24
FEW = 4
"""Places that are enough to try things on."""

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Plan:
    """Which frames of a video are looked at, and what for. It is also the policy of the sessions that do so.

    The first and the third quarter of the places are for fitting, the second and the fourth for measuring:
    whole stretches, because a frame's neighbours look like it and would be no test.
    """

    stride: int
    places: int

    def __call__(self, frame: Frame, track: Track) -> Decision:
        return Decision("key" if frame.index % self.stride == 0 else "nonkey", "calibration")

    def fits(self, index: int) -> bool | None:
        """True for a frame to fit to, False for one to measure on, None for one that is left out."""
        place, after = divmod(index, self.stride)
        if place >= self.places or after > FOLLOWING:
            return None
        return 4 * place // self.places % 2 == 0


@dataclass(frozen=True)
class Step:
    """One frame as the graphs were given it, and the labels that they gave."""

    route: str
    inputs: Tensors
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class Recording:
    """What the fp32 graphs did on the frames to fit to."""

    samples: Samples
    steps: tuple[Step, ...]


def plan(video: Path) -> Plan:
    """The frames to look at. Raises OptionError for a video that is too short."""
    with open_source(video) as source:
        count = source.info.frames or sum(1 for _ in source)
    if count < LEAST_FRAMES:
        raise _too_short(video, count)
    stride = max(FOLLOWING + 1, count // PLACES)
    return Plan(stride, min(PLACES, -(-count // stride)))


def record(segmenter: Segmenter, video: Path, plan: Plan) -> Recording:
    """What the graphs are called with on the frames to fit to, and what they give there."""
    samples: dict[str, list[Mapping[str, NDArray[Any]]]] = {}
    given: Tensors = {}

    def recorded(role: str, graph: Graph) -> Graph:
        names = [spec.name for spec in segmenter.manifest.graph(role).inputs]

        def call(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            inputs = {name: as_array(tensors[name]) for name in names}
            samples.setdefault(role, []).append(inputs)
            results = graph(tensors)
            given.update(inputs)
            if "labels" in results:
                given["labels"] = as_array(results["labels"])
            return results

        return call

    graphs = {role: recorded(role, graph) for role, graph in segmenter.graphs.items()}
    session, steps = replace(segmenter, graphs=graphs).session(plan), []
    for frame in _frames(video, plan):
        if not plan.fits(frame.index):
            session.skip(frame)
            continue
        given.clear()
        route = session.step(frame).decision.route
        labels = given.pop("labels")
        steps.append(
            Step(route, {name: given[name] for name in ("image", "motion") if name in given}, labels)
        )
    return Recording(samples, tuple(steps))


def measured(segmenter: Segmenter, video: Path, plan: Plan) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The number of each frame to measure on, and its labels at the frame's own size."""
    session = segmenter.session(plan)
    for frame in _frames(video, plan):
        if plan.fits(frame.index) is False:
            yield frame.index, _label_maps(segmenter.manifest, session.step(frame))
        else:
            session.skip(frame)


def _label_maps(manifest: Manifest, prediction: Prediction) -> NDArray[np.uint8]:
    """The labels, of several heads one above the other."""
    maps = [prediction.heads[head.name] for head in manifest.heads if not head.is_matte]
    return np.stack(maps) if maps else prediction.labels


def agreement(manifest: Manifest, graphs: Mapping[str, Graph], steps: Sequence[Step]) -> float:
    """The share of labels that other graphs give alike, on the frames that were fitted to."""
    equal, state = 0.0, manifest.initial_state()
    for step in steps:
        if step.route == "start":
            state = manifest.initial_state()
        tensors: dict[str, Any] = {**state, **step.inputs}
        for role in manifest.routes[step.route]:
            tensors |= {name: as_array(value) for name, value in graphs[role](tensors).items()}
        equal += float((tensors["labels"] == step.labels).mean())
        state = manifest.next_state(tensors)
    return equal / len(steps)


def few(steps: Sequence[Step], remembers: bool) -> Sequence[Step]:
    """Some of the steps, to try things on. ``remembers``: what a step gives depends on those before it."""
    length = FOLLOWING + 1
    if remembers or len(steps) <= FEW * length:
        return steps[: FEW * length]
    places = [steps[at : at + length] for at in range(0, len(steps), length)]
    return [step for number in range(FEW) for step in places[number * len(places) // FEW]]


def rehashed(folder: Path, manifest: Manifest) -> Manifest:
    """The same, with the hashes of the graphs that lie in ``folder`` now."""
    graphs = tuple(
        replace(
            graph,
            sha256=sha256(folder / graph.file),
            data_sha256=sha256(folder / graph.data) if graph.data else "",
        )
        for graph in manifest.graphs
    )
    return replace(manifest, graphs=graphs)


def _frames(video: Path, plan: Plan) -> Iterator[Frame]:
    count, last = 0, plan.stride * plan.places
    with open_source(video) as source:
        for frame in source:
            count += 1
            yield frame
            if count >= last:
                break
    # Where the container counts more frames than there are, the last quarters may be missing.
    if count < max(LEAST_FRAMES, last // 2):
        raise _too_short(video, count)


def _too_short(video: Path, count: int) -> OptionError:
    return OptionError(
        f"--calibrate {video} has {count} frames, and int8 wants {LEAST_FRAMES}: give a longer one"
    )
