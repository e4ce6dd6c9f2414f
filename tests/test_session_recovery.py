"""Sessions after failures, mistaken policies and skipped key frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.decisions import Decision, Track
from edge_vss.errors import EngineError, OptionError
from edge_vss.video import Frame, StartReason
from tests.helpers import toys
from tests.test_session import expected, frames, spoiled


@pytest.mark.parametrize("role", ["key", "state"])
def test_after_a_failed_step_the_session_begins_anew(role: str) -> None:
    failing: list[int] = []

    def nan(outputs: dict[str, NDArray[Any]]) -> None:
        if failing:
            outputs["score_check"] = np.array([np.nan], np.float32)

    session = spoiled(role, nan).session("interval:3")
    shown = frames(8)
    at = 3 if role == "key" else 4
    for frame in shown[:at]:
        session.step(frame)
    failing.append(1)
    with pytest.raises(EngineError, match=f"at frame {at}"):
        session.step(shown[at])
    failing.clear()
    prediction = session.step(shown[at + 1])
    assert prediction.decision == Decision("start", "failed step") and prediction.frames_since_key == 0
    prediction = session.step(shown[at + 2])
    assert prediction.decision.route == "nonkey"
    assert np.array_equal(prediction.labels, expected(8 + 4 * (at + 2)))


def test_a_failed_first_step_is_made_up_for() -> None:
    failing = [1]

    def nan(outputs: dict[str, NDArray[Any]]) -> None:
        if failing:
            outputs["scores"][:] = np.nan

    session = spoiled("key", nan).session()
    shown = frames(3)
    with pytest.raises(EngineError):
        session.step(shown[0])
    session.skip(shown[1])
    failing.clear()
    assert session.step(shown[2]).decision == Decision("start", "failed step")
    assert np.array_equal(session.step(frames(4)[3]).labels, expected(8 + 4 * 3))


@pytest.mark.parametrize("route", ["keyframe", "", "state", "KEY"])
def test_a_route_that_there_is_not_is_refused(route: str) -> None:
    session = toys.segmenter().session(lambda frame, track: Decision(route, "mistaken"))
    session.step(frames(1)[0])
    message = f"the policy gave the route {route!r} at frame 1: let it give one of start, key, nonkey"
    with pytest.raises(OptionError, match=message):
        session.step(frames(2)[1])
    with pytest.raises(OptionError, match="the policy gave the route"):
        session.skip(frames(3)[2])


def test_a_skipped_key_frame_is_made_up_for() -> None:
    session = toys.segmenter().session("gop")
    shown = frames(9)
    shown[3].picture_type = "I"
    decisions = []
    for frame in shown:
        if frame.index in (2, 3, 4):
            session.skip(frame)
        else:
            prediction = session.step(frame)
            decisions.append((prediction.decision.route, prediction.frames_since_key))
            assert np.array_equal(prediction.labels, expected(8 + 4 * frame.index))
    assert decisions == [("start", 0), ("nonkey", 1), ("key", 0), *(("nonkey", gap) for gap in (1, 2, 3))]


def test_a_start_makes_up_for_a_skipped_key_frame_too() -> None:
    session = toys.segmenter().session("gop")
    shown = frames(6)
    session.step(shown[0])
    shown[1].picture_type = "I"
    session.skip(shown[1])
    shown[2].start = StartReason.LOST_PACKETS
    assert session.step(shown[2]).decision == Decision("start", "lost packets")
    assert session.step(shown[3]).decision.route == "nonkey"


def test_a_start_that_the_policy_wants_on_a_skipped_frame_is_made_up_for() -> None:
    def policy(frame: Frame, track: Track) -> Decision:
        return Decision("start" if frame.index == 2 else "nonkey", "my own")

    session = toys.segmenter().session(policy)
    shown = frames(5)
    session.step(shown[0])
    for frame in shown[1:4]:
        session.skip(frame)
    assert session.step(shown[4]).decision == Decision("start", "my own")
