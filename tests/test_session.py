from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.decisions import Decision, Track
from edge_vss.errors import EngineError, OptionError
from edge_vss.motion_field import MotionField
from edge_vss.runtimes.engines import giving_arrays
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.video import Frame, Size, StartReason
from tests.helpers import toys
from tests.helpers.logs import listening

SIZE = (48, 64)


def bar(left: int, size: Size = SIZE) -> NDArray[np.uint8]:
    """A bright bar 16 pixels wide on a dark ground."""
    image = np.zeros((*size, 3), np.uint8)
    image[:, max(0, left) : max(0, left + 16)] = 255
    return image


def moved(size: Size, dx: float, dy: float = 0.0) -> MotionField:
    h, w = -(-size[0] // 8), -(-size[1] // 8)
    displacement = np.zeros((2, h, w), np.float32)
    displacement[0], displacement[1] = dx, dy
    return MotionField(displacement, np.ones((h, w), np.bool_), np.ones((h, w), np.int8), 8, "codec")


def frames(count: int, step: int = 4, size: Size = SIZE) -> list[Frame]:
    """The bar moves right; the motion says so."""
    return [
        Frame(
            index=i,
            pts_seconds=i / 25,
            picture_type="P" if i else "I",
            size=size,
            picture=ArrayPicture(bar(8 + step * i, size)),
            start=StartReason.NONE if i else StartReason.FIRST_FRAME,
            motion=moved(size, -step) if i else None,
            seconds={"decode": 0.25, "motion": 0.5},
        )
        for i in range(count)
    ]


def expected(left: int, size: Size = SIZE) -> NDArray[np.uint8]:
    return (bar(left, size)[..., 0] > 127).astype(np.uint8)


def test_labels_are_carried_to_where_things_are_now() -> None:
    session = toys.segmenter().session()
    routes = []
    for frame in frames(11):
        prediction = session.step(frame)
        routes.append(prediction.decision.route)
        assert prediction.index == frame.index
        assert prediction.pts_seconds == frame.pts_seconds
        assert prediction.labels.dtype == np.uint8
        # The bar leaves the frame at its right edge, where nothing can be carried from.
        if frame.index < 10:
            assert np.array_equal(prediction.labels, expected(8 + 4 * frame.index)), frame.index
    assert routes == ["start", *["nonkey"] * 4, "key", *["nonkey"] * 4, "key"]


def test_gap_counts_from_the_anchor() -> None:
    session = toys.segmenter().session("interval:3")
    assert [session.step(frame).frames_since_key for frame in frames(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_seconds_per_stage() -> None:
    session = toys.segmenter().session()
    first, second = (session.step(frame).seconds for frame in frames(2))
    assert set(first) == {"decode", "motion", "image", "key", "post"}
    assert set(second) == {"decode", "motion", "state", "post"}
    assert first["decode"] == second["decode"] == 0.25
    assert second["motion"] > 0.5


class CountingPicture(ArrayPicture):
    asked: list[Size | None]

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        super().__init__(pixels)
        object.__setattr__(self, "asked", [])

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        self.asked.append(size)
        return super().rgb(size)


def test_pixels_are_converted_only_for_graphs_that_look_at_them() -> None:
    session = toys.segmenter().session("interval:3")
    asked = []
    for frame in frames(4):
        picture = CountingPicture(bar(8))
        frame.picture = picture
        session.step(frame)
        asked.append(picture.asked)
    assert asked == [[SIZE], [], [], [SIZE]]


def test_labels_have_the_frame_s_size() -> None:
    session = toys.segmenter().session()
    for frame in frames(3, step=12, size=(96, 192)):
        prediction = session.step(frame)
        assert prediction.labels.shape == (96, 192)
        left = int(prediction.labels[48].argmax())
        assert abs(left - (8 + 12 * frame.index)) <= 12
    assert set(np.unique(prediction.labels)) == {0, 1}


@pytest.mark.parametrize("reason", [StartReason.LOST_PACKETS, StartReason.SEEK, StartReason.RECONNECTED])
def test_a_start_begins_anew(reason: StartReason) -> None:
    session = toys.segmenter().session("interval:100")
    seen = []
    states: list[NDArray[Any]] = []
    for frame in frames(6):
        if frame.index == 3:
            frame.start, frame.motion = reason, None
        prediction = session.step(frame)
        seen.append((prediction.decision.route, prediction.frames_since_key))
        states.append(session.state["scores"])
    assert seen == [("start", 0), ("nonkey", 1), ("nonkey", 2), ("start", 0), ("nonkey", 1), ("nonkey", 2)]
    assert np.shares_memory(states[0], states[2])
    assert not np.array_equal(states[2], states[3])


def test_the_state_is_initial_where_a_graph_reads_it_on_a_start() -> None:
    toy = toys.segmenter()
    seen: list[float] = []

    def key(tensors: toys.Tensors) -> toys.Tensors:
        seen.append(float(tensors["scores"].max()))
        return toy.graphs["key"](tensors)

    state = replace(toy.manifest.state[0], initial=-3.0)
    session = Segmenter(replace(toy.manifest, state=(state,)), {**toy.graphs, "key": key}).session(
        "interval:2"
    )
    for frame in frames(6):
        if frame.index == 4:
            frame.start = StartReason.LOST_PACKETS
        session.step(frame)
    assert seen == [-3.0, 255.0, -3.0]


def test_another_size_begins_anew_even_where_the_source_says_nothing() -> None:
    session = toys.segmenter().session("interval:100")
    session.step(frames(1)[0])
    other = frames(2, size=(96, 128))[1]
    prediction = session.step(other)
    assert prediction.decision == Decision("start", "size changed")
    assert prediction.labels.shape == (96, 128)


def test_a_session_may_begin_in_the_middle() -> None:
    prediction = toys.segmenter().session().step(frames(3)[2])
    assert prediction.decision == Decision("start", "first frame")


def test_skipped_frames_still_move() -> None:
    session = toys.segmenter().session("interval:100")
    shown = frames(7)
    session.step(shown[0])
    for frame in shown[1:5]:
        session.skip(frame)
    prediction = session.step(shown[5])
    assert (prediction.decision.route, prediction.frames_since_key) == ("nonkey", 5)
    assert np.array_equal(prediction.labels, expected(8 + 4 * 5))


def test_a_skipped_frame_counts_for_the_interval() -> None:
    session = toys.segmenter().session("interval:3")
    shown = frames(4)
    session.step(shown[0])
    session.skip(shown[1])
    session.skip(shown[2])
    assert session.step(shown[3]).decision.route == "key"


def test_a_skipped_start_is_made_up_for() -> None:
    session = toys.segmenter().session("interval:100")
    shown = frames(5)
    session.step(shown[0])
    shown[2].start, shown[2].motion = StartReason.LOST_PACKETS, None
    session.skip(shown[1])
    session.skip(shown[2])
    session.skip(shown[3])
    prediction = session.step(shown[4])
    assert prediction.decision == Decision("start", "lost packets")
    assert np.array_equal(prediction.labels, expected(8 + 4 * 4))


def test_a_skipped_size_change_is_made_up_for() -> None:
    session = toys.segmenter().session("interval:100")
    session.step(frames(1)[0])
    for frame in frames(3, size=(96, 128))[1:]:
        session.skip(frame)
    assert session.step(frames(4, size=(96, 128))[3]).decision == Decision("start", "size changed")


def test_two_sessions_of_one_segmenter_know_nothing_of_each_other() -> None:
    segmenter = toys.segmenter()
    alone = [segmenter.session("interval:4").step(frame).labels for frame in frames(1)]
    a, b = segmenter.session("interval:4"), segmenter.session("interval:3")
    for i, (left, right) in enumerate(zip(frames(9), frames(9, step=-2), strict=True)):
        first, second = a.step(left), b.step(right)
        assert np.array_equal(first.labels, expected(8 + 4 * i))
        assert (first.frames_since_key, second.frames_since_key) == (i % 4, i % 3)
    assert np.array_equal(alone[0], expected(8))


def test_the_policy_is_asked_about_every_frame_that_follows() -> None:
    asked: list[tuple[int, int, float]] = []

    def policy(frame: Frame, track: Track) -> Decision:
        asked.append((frame.index, track.frames_since_key, round(track.travel_px, 1)))
        return Decision("key" if frame.index == 2 else "nonkey", "my own")

    session = toys.segmenter().session(policy)
    predictions = [session.step(frame) for frame in frames(5)]
    assert asked == [(1, 1, 4.0), (2, 2, 8.0), (3, 1, 4.0), (4, 2, 8.0)]
    assert [p.decision.reason for p in predictions] == ["first frame", *["my own"] * 4]


def test_a_family_that_treats_all_frames_alike() -> None:
    toy = toys.segmenter()
    for name, other in (("nonkey", "key"), ("key", "nonkey")):
        routes: dict[str, tuple[str, ...]] = {"start": ("key",), name: ("key",)}
        session = Segmenter(replace(toy.manifest, routes=routes), toy.graphs).session(
            lambda frame, track, other=other: Decision(other, "asked")  # type: ignore[misc]
        )
        assert [session.step(frame).decision.route for frame in frames(3)] == ["start", name, name]


def test_logits_where_the_route_makes_them() -> None:
    session = toys.segmenter().session("interval:2", logits=True)
    predictions = [session.step(frame) for frame in frames(3)]
    assert predictions[0].logits is not None
    assert predictions[0].logits.shape == (2, 12, 16)
    # The carried scores belong to the anchor, not to this frame.
    assert predictions[1].logits is None
    assert toys.segmenter().session().step(frames(1)[0]).logits is None
    toy = toys.segmenter()
    bare = replace(
        toy.manifest,
        graphs=tuple(
            replace(graph, outputs=tuple(spec for spec in graph.outputs if spec.name == "labels"))
            for graph in toy.manifest.graphs
        ),
    )
    with pytest.raises(OptionError, match="no scores"):
        Segmenter(bare, toy.graphs).session(logits=True)


def test_logits_are_the_caller_s_to_change() -> None:
    session, other = (toys.segmenter().session("interval:9", logits=True) for _ in range(2))
    shown = frames(3)
    first = session.step(shown[0])
    other.step(shown[0])
    assert first.logits is not None
    first.logits[:] = 0
    for frame in shown[1:]:
        assert np.array_equal(session.step(frame).labels, other.step(frame).labels)


def spoiled(role: str, change: Callable[[dict[str, NDArray[Any]]], None]) -> Segmenter:
    toy = toys.segmenter()

    def graph(tensors: toys.Tensors) -> dict[str, NDArray[Any]]:
        outputs = {name: value.copy() for name, value in giving_arrays(toy.graphs[role])(tensors).items()}
        change(outputs)
        return outputs

    return Segmenter(toy.manifest, {**toy.graphs, role: graph})


def test_nan_is_reported_and_not_drawn() -> None:
    def one_nan(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["scores"][0, 1, 7, 3] = np.nan

    with pytest.raises(EngineError, match="key graph gave NaN in scores at frame 0"):
        spoiled("key", one_nan).session().step(frames(1)[0])

    def checked(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["score_check"] = np.array([np.nan], np.float32)

    with pytest.raises(EngineError, match="NaN in score_check"):
        spoiled("key", checked).session().step(frames(1)[0])


def test_a_class_without_a_name_is_reported() -> None:
    def unknown(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["labels"][0, 0, 0] = 7

    session = spoiled("state", unknown).session()
    session.step(frames(1)[0])
    with pytest.raises(EngineError, match="state graph gave class 7 at frame 1"):
        session.step(frames(2)[1])

    def ignored(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["labels"][0, 0, 0] = 255

    assert spoiled("key", ignored).session().step(frames(1)[0]).labels[0, 0] == 255


def test_labels_begin_anew_where_frames_were_left_out_or_come_again() -> None:
    shown = frames(8)
    session = toys.segmenter().session("interval:100")
    with listening() as told:
        given = [session.step(shown[index]) for index in (0, 1, 4, 5, 5, 2, 3)]
    assert [each.decision.reason for each in given if each.decision.route == "start"] == [
        "first frame",
        "frames left out",
        "frames left out",
        "frames left out",
    ]
    for each in given:
        assert (each.labels == expected(8 + 4 * each.index)).mean() > 0.99
    [line] = [line for line in told if "came after frame" in line]
    assert line.endswith(
        "frame 4 came after frame 1, so labels begin anew: hand frames between to session.skip"
    )
    # Those that pass without labels are not left out.
    session = toys.segmenter().session("interval:100")
    for frame in shown:
        (session.skip if frame.index in (2, 3) else session.step)(frame)
    assert session.step(replace(shown[0], index=8)).decision.reason == "first frame"
