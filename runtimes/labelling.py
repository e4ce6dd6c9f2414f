"""How the frames of a video get their labels: each at once, or from the key frames on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge_vss.decisions import Prediction
from edge_vss.runtimes.both_ways import BothWays
from edge_vss.runtimes.both_ways import Labelled as Labelled
from edge_vss.runtimes.both_ways import Labelling as Labelling
from edge_vss.runtimes.both_ways import labelled as labelled
from edge_vss.runtimes.session import Session
from edge_vss.video import Frame


class _AsTheyCome:
    """Every frame has its labels at once."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def push(self, frame: Frame) -> list[Labelled]:
        return [(frame, self._session.step(frame))]

    def finish(self) -> list[Labelled]:
        return []


def labelling(session: Session, both_ways: bool = False) -> Labelling:
    """How frames get their labels: at once, or from the key frames on both sides, one interval late.

    Raises OptionError where the bundle cannot be labelled from both sides.
    """
    return BothWays(session) if both_ways else _AsTheyCome(session)


def is_key(prediction: Prediction, anchor_before: int) -> bool:
    """Whether a key frame stands behind the labels that no frame before had: ``anchor_before`` is the
    ``anchor_index`` of the last one."""
    late = prediction.index != prediction.anchor_index > anchor_before >= 0
    return late or prediction.decision.route != "nonkey"


def both_ways(frames: Iterable[Frame], session: Session) -> Iterator[Labelled]:
    """Every frame of a recording with its prediction, in order, one interval late: frames between two key
    frames take their labels from both.

    Raises OptionError for a bundle whose frames in between depend on each other, and what `Session.step`
    raises.
    """
    return labelled(frames, BothWays(session))
