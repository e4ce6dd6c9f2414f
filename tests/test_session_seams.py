"""What a session tells others: whether it wants motion, which frame its state belongs to; and what engines
may keep their own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.decisions import Decision, Policy, PolicyDescription, Track
from edge_vss.errors import EngineError
from edge_vss.runtimes.engines import Graph, Tensor, as_array
from edge_vss.runtimes.policy import Interval
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.video import Frame, FrameStamp
from tests.helpers import toys
from tests.test_session import expected, frames
from tests.test_state import counting, pictures


def own(frame: Frame, track: Track) -> Decision:
    return Decision("key", "my own")


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("interval:5", True),
        ("interval:1", False),
        ("gop", True),
        ("gop:1", False),
        ("adaptive", True),
        # It may read its track, and nobody can know.
        (own, True),
    ],
)
def test_motion_is_wanted_where_a_graph_or_the_policy_reads_it(policy: str | Policy, wanted: bool) -> None:
    assert toys.segmenter().session(policy).wants_motion is wanted


def test_without_a_graph_that_takes_motion_only_policies_want_it() -> None:
    """A network that remembers by itself."""
    assert not counting().session("interval:5").wants_motion
    assert not counting().session("gop").wants_motion
    assert counting().session("adaptive").wants_motion
    # A key route that takes motion gets none: the frame is its own anchor.
    toy = toys.segmenter()
    routes: dict[str, tuple[str, ...]] = {"start": ("key",), "key": ("key", "state")}
    assert not Segmenter(replace(toy.manifest, routes=routes), toy.graphs).session("interval:5").wants_motion
    routes = {"start": ("key",), "nonkey": ("state",)}
    assert Segmenter(replace(toy.manifest, routes=routes), toy.graphs).session("interval:1").wants_motion


@pytest.mark.parametrize("policy", ["interval:1", "interval:4", "gop:1", "gop:3"])
@pytest.mark.parametrize("remembers", [False, True])
def test_where_motion_is_not_wanted_the_labels_are_the_same_without(policy: str, remembers: bool) -> None:
    make = counting if remembers else toys.segmenter
    with_motion, without = make().session(policy), make().session(policy)
    shown = pictures(9) if remembers else frames(9)
    labels = [with_motion.step(frame).labels for frame in shown]
    bare = [without.step(replace(frame, motion=None)).labels for frame in shown]
    same = all(np.array_equal(a, b) for a, b in zip(labels, bare, strict=True))
    assert same is (not with_motion.wants_motion)


def test_a_described_policy_of_another_package_is_believed() -> None:
    class Theirs:
        description = PolicyDescription(frozenset({"key"}), measures=False)

        def __call__(self, frame: Frame, track: Track) -> Decision:
            return Decision("key", "theirs")

    assert not toys.segmenter().session(Theirs()).wants_motion


def test_the_state_says_which_frame_it_belongs_to() -> None:
    session = toys.segmenter().session("interval:3")
    assert (session.state.frame, session.state.anchor) == (None, None)
    seen = []
    for frame in frames(7):
        if frame.index == 2:
            session.skip(frame)
        else:
            session.step(frame)
        assert session.state.frame is not None and session.state.anchor is not None
        seen.append((session.state.frame.index, session.state.anchor.index))
    assert seen == [(0, 0), (1, 0), (1, 0), (3, 3), (4, 3), (5, 3), (6, 6)]
    assert session.state.anchor == FrameStamp(6, 6 / 25)


def test_what_is_read_from_the_state_stays_and_cannot_be_written_to() -> None:
    session = counting().session()
    kept = []
    for frame in pictures(6):
        session.step(frame)
        kept.append((session.state["seen"], float(session.state["seen"][0])))
    assert [float(array[0]) for array, _ in kept] == [value for _, value in kept]
    assert len({value for _, value in kept}) == 6
    with pytest.raises(ValueError, match="read-only"):
        session.state["seen"][0] = 7


class Opaque:
    """A tensor that only its own graphs can look into, and that counts who asks for its values."""

    asked = 0

    def __init__(self, held: NDArray[Any]) -> None:
        self.held, self.shape, self.dtype = held, held.shape, held.dtype

    def numpy(self) -> NDArray[Any]:
        Opaque.asked += 1
        return self.held.copy()


def opaque(graph: Graph) -> Graph:
    def call(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        inside = {
            name: tensor.held if isinstance(tensor, Opaque) else as_array(tensor)
            for name, tensor in tensors.items()
        }
        return {name: Opaque(as_array(tensor)) for name, tensor in graph(inside).items()}

    return call


def test_an_engine_may_keep_tensors_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Opaque, "asked", 0)
    toy = toys.segmenter()

    def checked(tensors: toys.Tensors) -> toys.Tensors:
        return {**toy.graphs["key"](tensors), "score_check": np.zeros(1, np.float32)}

    graphs = {"key": opaque(checked), "state": opaque(toy.graphs["state"])}
    session = Segmenter(toy.manifest, graphs).session("interval:5", logits=True)
    for frame in frames(10):
        prediction = session.step(frame)
        assert np.array_equal(prediction.labels, expected(8 + 4 * frame.index)), frame.index
        assert (prediction.logits is not None) == (prediction.decision.route != "nonkey")
    # Labels of ten frames, twice each (checked and shown); the check and the logits of two. Never the state.
    assert Opaque.asked <= 10 * 2 + 2 + 2
    assert isinstance(session.state.tensors["scores"], Opaque)
    assert session.state["scores"].shape == (1, 2, 12, 16)


def test_nan_in_a_tensor_that_an_engine_keeps_is_found() -> None:
    toy = toys.segmenter()

    def spoiled(tensors: toys.Tensors) -> toys.Tensors:
        made = dict(toy.graphs["key"](tensors))
        made["scores"] = np.full_like(made["scores"], np.nan)
        return made

    session = Segmenter(toy.manifest, {**toy.graphs, "key": opaque(spoiled)}).session()
    with pytest.raises(EngineError, match="NaN in scores"):
        session.step(frames(1)[0])


def test_a_track_that_a_policy_kept_tells_of_its_own_frame() -> None:
    kept, measured = [], []

    def policy(frame: Frame, track: Track) -> Decision:
        kept.append(track)
        return Interval(4)(frame, track)

    def looking(frame: Frame, track: Track) -> Decision:
        measured.append(track.measured)
        return Interval(4)(frame, track)

    sessions = [toys.segmenter().session(each) for each in (policy, looking)]
    for frame in frames(9):
        for session in sessions:
            session.step(frame)
    assert [track.measured for track in kept] == measured
    assert len({found.travel_px for found in measured}) == 4
