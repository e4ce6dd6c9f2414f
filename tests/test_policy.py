"""Policies that choose key frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_vss.decisions import Decision, Measured, Policy, PolicyDescription, Track, described
from edge_vss.errors import OptionError
from edge_vss.runtimes.policy import Adaptive, Gop, Interval, parse
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.video import Frame
from tests.benchmarks.accuracy import CUTS, matched
from tests.helpers.videos import P_ONLY, decoded, encode
from tests.test_root_map import frame


def route(policy: Policy, gap: int, picture_type: str = "P", error: float = 0.0) -> str:
    shown = frame(gap)
    shown.picture_type = picture_type
    return policy(shown, Track(gap, lambda: Measured(known=1.0, travel_px=0.0, error=error))).route


def test_interval() -> None:
    assert [route(Interval(3), gap) for gap in (1, 2, 3, 4)] == ["nonkey", "nonkey", "key", "key"]
    assert route(Interval(1), 1) == "key"


def test_gop() -> None:
    assert route(Gop(), 2, "I") == "key"
    assert route(Gop(), 2, "P") == "nonkey"
    assert route(Gop(12), 12, "P") == "key"


def test_adaptive() -> None:
    assert route(Adaptive(12.0), 1, error=0.5) == "nonkey"
    assert route(Adaptive(12.0), 1, error=40) == "key"
    assert route(Adaptive(12.0, longest=30), 30) == "key"
    assert route(Adaptive(100.0), 20, error=3) == "nonkey"
    assert route(Adaptive(), 11, error=1) == "nonkey"
    assert route(Adaptive(), 11, error=3) == "key"


@pytest.mark.parametrize("text", ["interval:5", "gop:30", "adaptive:8:30", "adaptive:2.5:12"])
def test_a_policy_is_spelled_as_it_is_read(text: str) -> None:
    assert str(parse(text)) == text


def test_short_spellings() -> None:
    assert parse("gop") == Gop() and parse("adaptive") == Adaptive() and parse("interval") == Interval()


@pytest.mark.parametrize(
    "text", ["", "every:5", "interval:x", "interval:0", "interval:5:6", "adaptive:-1", "gop:0"]
)
def test_a_bad_spelling_says_what_to_write(text: str) -> None:
    with pytest.raises(OptionError, match=r"interval:5|gop:5|the limit of adaptive must be a number above 0"):
        parse(text)


@pytest.mark.parametrize("interval", [5, 8, 12])
@pytest.mark.parametrize("clip", ["0016E5", "cuts"])
def test_adaptive_beats_a_fixed_interval_at_the_same_number_of_key_frames(
    clip: str, interval: int, data: Path, tmp_path: Path
) -> None:
    truth = GroundTruth(data / "camvid" / "valannot")
    maps = [truth[i] for i in range(len(truth))]
    video = data / "video" / "0016E5_h264_p_refs1_g250.mp4"
    if clip == "cuts":
        images = decoded(video)
        video = encode(tmp_path / "cuts.mp4", [images[i] for i in CUTS], options=P_ONLY, fps=15)
        maps = [maps[i] for i in CUTS]
    with open_source(video) as source:
        frames = list(source)
    fixed, adaptive = matched(frames, maps, interval)
    assert adaptive > fixed


def test_policies_say_what_they_may_do() -> None:
    both = frozenset({"key", "nonkey"})
    assert described(Interval(5)) == PolicyDescription(both, measures=False)
    assert described(Gop()) == PolicyDescription(both, measures=False, pictures=False)
    assert described(Interval(1)) == PolicyDescription(frozenset({"key"}), measures=False)
    assert described(Adaptive()) == PolicyDescription(both)
    assert described(lambda frame, track: Decision("key", "")) == PolicyDescription()

    class Theirs:
        description = "picks at random"

        def __call__(self, frame: Frame, track: Track) -> Decision:
            return Decision("key", "")

    assert described(Theirs()) == PolicyDescription()


@pytest.mark.parametrize("policy", [Interval(3), Interval(1), Gop(), Gop(1)])
def test_what_a_policy_says_holds(policy: Policy) -> None:
    def nobody() -> Measured:
        raise AssertionError("it says that it does not measure")

    chosen = {
        policy(replace(frame(0), picture_type=kind), Track(since, nobody)).route
        for kind in "IP?"
        for since in range(1, 40)
    }
    assert chosen <= described(policy).routes
