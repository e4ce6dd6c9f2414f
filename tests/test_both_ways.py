from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.bundle import TensorSpec
from edge_vss.decisions import Decision, Prediction, Track
from edge_vss.errors import OptionError
from edge_vss.motion_field import MotionField
from edge_vss.runtimes import both_ways as module
from edge_vss.runtimes import pipeline
from edge_vss.runtimes.both_ways import BothWays
from edge_vss.runtimes.engines import as_array
from edge_vss.runtimes.labelling import both_ways
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.runtimes.tracing.reversal import reversed_motion
from edge_vss.runtimes.tracing.two_sides import merged
from edge_vss.video import Frame, StartReason
from tests.helpers import toys
from tests.test_session import SIZE, bar, expected, frames, moved


def entering(count: int, step: int = 4) -> list[Frame]:
    """The bar comes in over the left edge: the first frame shows none of it."""
    return [
        replace(frame, picture=ArrayPicture(bar(-16 + step * frame.index, SIZE)))
        for frame in frames(count, step)
    ]


def test_what_comes_into_view_has_its_labels_from_the_later_key_frame() -> None:
    video = entering(9, step=2)
    forward = toys.segmenter().session("interval:8")
    seen = [forward.step(frame).labels for frame in video]
    # Nothing of the bar was there at the first frame, so nothing can be carried from it.
    assert not seen[7].any()
    both = [prediction for _, prediction in both_ways(video, toys.segmenter().session("interval:8"))]
    for frame, prediction in zip(video, both, strict=True):
        # The toy rounds to cells of four pixels.
        wrong = (prediction.labels != expected(-16 + 2 * frame.index)).mean()
        assert wrong <= 4 / 64, frame.index
    assert both[7].labels.any()


@pytest.mark.parametrize("policy", ["interval:1", "interval:3", "interval:50", "gop"])
@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_every_frame_comes_once_and_in_order(policy: str, count: int) -> None:
    video = frames(count, step=1)
    found = list(both_ways(video, toys.segmenter().session(policy)))
    assert [frame.index for frame, _ in found] == list(range(count))
    assert [prediction.index for _, prediction in found] == list(range(count))
    plain = toys.segmenter().session(policy)
    for (frame, prediction), other in zip(found, map(plain.step, video), strict=True):
        assert prediction.decision == other.decision
        assert prediction.frames_since_key == other.frames_since_key
        assert prediction.labels.shape == frame.size
        if other.decision.route != "nonkey":
            assert np.array_equal(prediction.labels, other.labels)


def test_the_end_of_a_video_is_labelled_from_one_side() -> None:
    video = frames(9, step=1)
    plain = toys.segmenter().session("interval:5")
    alone = [plain.step(frame).labels for frame in video]
    found = [prediction.labels for _, prediction in both_ways(video, toys.segmenter().session("interval:5"))]
    for index in (6, 7, 8):
        assert np.array_equal(found[index], alone[index])


def test_frames_before_a_loss_look_to_no_later_side() -> None:
    video = frames(8, step=2)
    video[3] = replace(video[3], start=StartReason.LOST_PACKETS, motion=None)
    plain = toys.segmenter().session("interval:5")
    alone = [plain.step(frame).labels for frame in video]
    found = [prediction.labels for _, prediction in both_ways(video, toys.segmenter().session("interval:5"))]
    for index in range(4):
        assert np.array_equal(found[index], alone[index])


def test_at_a_cut_each_side_counts_up_to_it() -> None:
    """Three dark frames, then three bright ones."""
    still = moved(SIZE, 0.0)
    scenes = [np.full((*SIZE, 3), 40, np.uint8), np.full((*SIZE, 3), 200, np.uint8)]
    base = frames(6, step=0)
    video = [
        replace(
            frame,
            picture=ArrayPicture(scenes[frame.index >= 3]),
            motion=still if frame.index else None,
        )
        for frame in base
    ]
    found = [prediction.labels for _, prediction in both_ways(video, toys.segmenter().session("interval:5"))]
    assert [int(labels.max()) for labels in found] == [0, 0, 0, 1, 1, 1]
    assert [int(labels.min()) for labels in found] == [0, 0, 0, 1, 1, 1]


def test_frames_wait_within_a_budget_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 4 * 3 * SIZE[0] * SIZE[1])
    session = toys.segmenter().session("interval:50")
    found = [prediction.decision for _, prediction in both_ways(frames(20, step=0), session)]
    keys = [index for index, decision in enumerate(found) if decision.route != "nonkey"]
    assert len(keys) > 3
    assert found[keys[1]].reason == "no room for frames that wait"


def test_a_session_that_has_run_already_goes_on() -> None:
    video, session = frames(9, step=1), toys.segmenter().session("interval:4")
    plain = toys.segmenter().session("interval:4")
    alone = [plain.step(frame).labels for frame in video]
    for frame in video[:3]:
        session.step(frame)
    found = list(session.between(video[3:], both_ways=True))
    assert [prediction.index for prediction in found] == [3, 4, 5, 6, 7, 8]
    # What the key frame before looked like is not known any more.
    assert np.array_equal(found[0].labels, alone[3])


def test_a_step_that_failed_begins_anew() -> None:
    calls = 0

    def policy(frame: Frame, track: Track) -> Decision:
        nonlocal calls
        calls += 1
        return Decision("key" if track.frames_since_key >= 3 else "nonkey", "")

    segmenter = toys.segmenter()
    whole = segmenter.graphs["key"]
    broken = True

    def key(tensors: object) -> object:
        if broken and calls:
            raise RuntimeError("no")
        return whole(tensors)  # type: ignore[arg-type]

    session = replace(segmenter, graphs={**segmenter.graphs, "key": key}).session(policy)  # type: ignore[dict-item]
    labelling, video = BothWays(session), frames(9, step=1)
    for frame in video[:3]:
        labelling.push(frame)
    with pytest.raises(RuntimeError):
        labelling.push(video[3])
    broken = False
    found = labelling.push(video[4])
    assert [prediction.decision.route for _, prediction in found] == ["start"]


def test_a_bundle_that_remembers_is_refused() -> None:
    segmenter = toys.segmenter()
    manifest = segmenter.manifest
    state = replace(manifest.state[0], next="scores_next")
    remembering = Segmenter(replace(manifest, state=(state,)), segmenter.graphs, "toy")
    with pytest.raises(OptionError, match="depend on the frames before them"):
        BothWays(remembering.session())


def test_a_session_gives_predictions_of_both_sides_or_at_once() -> None:
    video, segmenter = entering(13, step=2), toys.segmenter()
    both = list(segmenter.session("interval:4").between(video, both_ways=True))
    assert [prediction.index for prediction in both] == list(range(13))
    for mine, (_, other) in zip(both, both_ways(video, segmenter.session("interval:4")), strict=True):
        assert np.array_equal(mine.labels, other.labels) and mine.decision == other.decision
    plain = segmenter.session("interval:4")
    alone = [plain.step(frame).labels for frame in video]
    once = [prediction.labels for prediction in segmenter.session("interval:4").between(video)]
    assert all(map(np.array_equal, once, alone)) and len(once) == 13
    assert not all(map(np.array_equal, [prediction.labels for prediction in both], alone))


def test_scores_are_those_of_the_side_that_was_taken() -> None:
    toy = toys.segmenter()
    carry, spec = toy.graphs["state"], toy.manifest.graph("state")

    def state(tensors: Any) -> dict[str, Any]:
        labels = as_array(carry(tensors)["labels"])
        of_class = [labels[:, ::4, ::4] == number for number in (0, 1)]
        return {"labels": labels, "logits": np.stack(of_class, 1).astype(np.float32)}

    logits = TensorSpec("logits", (1, 2, 12, 16), "float32")
    graphs = (toy.manifest.graph("key"), replace(spec, outputs=(*spec.outputs, logits)))
    scored = replace(
        toy, manifest=replace(toy.manifest, graphs=graphs), graphs={**toy.graphs, "state": state}
    )
    video = entering(9, step=2)
    for prediction in list(scored.session("interval:8", logits=True).between(video, both_ways=True))[1:8]:
        assert prediction.logits is not None and prediction.logits.shape == (2, 12, 16)
        same = prediction.logits.argmax(0) == prediction.labels[::4, ::4]
        assert same.mean() > 0.9


def test_motion_is_measured_where_only_the_choice_between_sides_needs_it() -> None:
    toy = toys.segmenter()
    blind = replace(toy.manifest.graph("state"), inputs=toy.manifest.graph("state").inputs[:1])
    unmoved = replace(toy, manifest=replace(toy.manifest, graphs=(toy.manifest.graph("key"), blind)))
    session = unmoved.session("interval:5")
    assert not session.wants_motion
    assert Opening().motion_for(session) == "none"
    assert Opening(parts=True).motion_for(session) == "auto"
    assert Opening(parts=True).motion_for(unmoved.session("interval:1")) == "none"


def test_a_session_answers_one_interval_late_and_no_later() -> None:
    read: list[int] = []

    def camera() -> Iterator[Frame]:
        for frame in frames(13, step=1):
            read.append(frame.index)
            yield frame

    seen = [
        (prediction.index, read[-1])
        for prediction in toys.segmenter().session("interval:4").between(camera(), both_ways=True)
    ]
    assert seen == [(index, -(-index // 4) * 4) for index in range(13)]


def test_what_a_session_cannot_do_is_refused_before_a_frame_is_read() -> None:
    video, late = iter(frames(3, step=1)), toys.segmenter().session("interval:4", key_delay=2)
    with pytest.raises(OptionError, match="choose one"):
        late.between(video, both_ways=True)
    assert next(video).index == 0


def test_a_run_gives_the_same() -> None:
    class Sink:
        def __init__(self) -> None:
            self.taken: list[Prediction] = []

        def write(self, frame: Frame, prediction: Prediction) -> None:
            assert frame.index == prediction.index
            self.taken.append(prediction)

        def close(self) -> None:
            pass

    video, sink = entering(13, step=3), Sink()
    report = pipeline.run(video, toys.segmenter().session("interval:4"), [sink], both_ways=True)
    single = [prediction for _, prediction in both_ways(video, toys.segmenter().session("interval:4"))]
    assert report.frames == len(sink.taken) == 13
    assert report.keyframes == 4
    for mine, other in zip(sink.taken, single, strict=True):
        assert np.array_equal(mine.labels, other.labels)


def test_waiting_and_leaving_out_do_not_go_together() -> None:
    with pytest.raises(OptionError, match="choose one"):
        pipeline.run([], toys.segmenter().session(), both_ways=True, drop_inference=True)


@given(dx=st.floats(-20, 20), dy=st.floats(-20, 20))
@settings(max_examples=40, deadline=None)
def test_an_even_motion_is_reversed_exactly(dx: float, dy: float) -> None:
    back = reversed_motion(moved(SIZE, dx, dy))
    assert np.allclose(back.displacement_px[0], -dx, atol=1e-4)
    assert np.allclose(back.displacement_px[1], -dy, atol=1e-4)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_there_and_back_ends_where_it_began(seed: int) -> None:
    """Of smooth motion: from a frame to the next one and back is no motion."""
    rng = np.random.default_rng(seed)
    h, w = 12, 16
    y, x = np.mgrid[:h, :w].astype(np.float32)
    slope = rng.uniform(-0.3, 0.3, (2, 2))
    shift = rng.uniform(-12, 12, 2)
    motion = np.stack([shift[i] + slope[i, 0] * x + slope[i, 1] * y for i in range(2)]).astype(np.float32)
    field = MotionField(motion, np.ones((h, w), np.bool_), np.ones((h, w), np.int8), 8, "codec")
    back = reversed_motion(field).displacement_px
    inside = np.s_[4:-4, 4:-4]
    for i in range(2):
        there = shift[i] + slope[i, 0] * (x + back[0] / 8) + slope[i, 1] * (y + back[1] / 8)
        # Near the borders motion goes on as it is there, and not as its slope says.
        assert np.abs(back[i] + there)[inside].max() < 0.2


@given(seed=st.integers(0, 2**32 - 1), lead=st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_a_merged_map_has_only_labels_of_the_two(seed: int, lead: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 4, (20, 24), np.uint8) for _ in range(2))
    found = merged(one, other, np.full((10, 12), lead, np.float32))
    assert ((found == one) | (found == other)).all()
    assert np.array_equal(merged(one, one, np.full((10, 12), lead, np.float32)), one)


def test_a_large_lead_wins_everywhere() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 4, (20, 24), np.uint8) for _ in range(2))
    far = np.full((10, 12), 1000, np.float32)
    assert np.array_equal(merged(one, other, far), other)
    assert np.array_equal(merged(one, other, -far), one)


@pytest.mark.parametrize("classes", [2, 12, 200])
@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_few_and_many_votes_are_counted_alike(share: float, classes: int) -> None:
    rng = np.random.default_rng(classes)
    one = rng.integers(0, classes, (24, 31), np.uint8)
    other = np.where(rng.random(one.shape) < share, rng.integers(0, classes, one.shape, np.uint8), one)
    lead = rng.normal(0, 100, one.shape).astype(np.float32)
    expected = np.where((lead > 0) & (one != other), other, one)
    outside = np.pad(one, 2, mode="edge")
    for _ in range(6):
        outside[2:-2, 2:-2] = expected
        around = np.lib.stride_tricks.sliding_window_view(outside, (5, 5))
        votes = [(around == side[..., None, None]).sum((2, 3)) for side in (other, one)]
        better = lead + (votes[0] - votes[1]) * np.float32(250 / 25) > 0
        expected = np.where(better & (one != other), other, one)
    assert np.array_equal(merged(one, other, lead), expected)
    assert np.array_equal(merged(np.asfortranarray(one), other, lead), expected)
