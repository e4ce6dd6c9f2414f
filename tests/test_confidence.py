from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_vss.errors import OptionError
from edge_vss.runtimes.labelling import both_ways
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sinks import open_sink
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.runtimes.tools.ground_truth import read_labels
from edge_vss.video import NoPicture
from tests.helpers import toys
from tests.test_both_ways import entering
from tests.test_session import SIZE, frames
from tests.test_sinks import CONTEXT


def test_a_key_frame_is_its_own() -> None:
    trust = toys.segmenter().session().step(frames(1, step=0)[0]).confidence
    assert trust is not None
    assert trust.score == 1 and trust.cells.shape == (6, 8)
    assert not trust.side.any() and not trust.age.any() and not trust.mismatch.any()


def test_it_falls_with_age_and_where_the_picture_does_not_match() -> None:
    session, video = toys.segmenter().session("interval:9"), frames(9, step=0)
    video[5] = replace(video[5], picture=ArrayPicture(np.full((*SIZE, 3), 90, np.uint8)))
    found = [session.step(frame).confidence for frame in video]
    scores = [trust.score for trust in found if trust is not None]
    assert len(scores) == 9
    assert scores[1] > scores[3] > scores[8] > scores[5]
    odd, usual = found[5], found[4]
    assert odd is not None and usual is not None
    assert (odd.side == -1).all() and (odd.age == 5).all()
    assert odd.mismatch.mean() > 50 > usual.mismatch.mean()


def test_what_comes_into_view_is_trusted_from_the_later_side() -> None:
    video = entering(9, step=2)
    both = [prediction for _, prediction in both_ways(video, toys.segmenter().session("interval:8"))]
    trust = both[7].confidence
    assert trust is not None
    assert (trust.side[:, :1] == 1).all(), "the bar is at the left edge and was not there at first"
    assert (trust.age[trust.side == 1] == 1).all() and (trust.age[trust.side == -1] == 7).all()
    alone = toys.segmenter().session("interval:8")
    forward = [alone.step(frame).confidence for frame in video][7]
    assert forward is not None and trust.score > forward.score


def test_where_two_sides_disagree_it_is_low() -> None:
    still = frames(3, step=0)
    dark = ArrayPicture(np.zeros((*SIZE, 3), np.uint8))
    video = [still[0], still[1], replace(still[2], picture=dark)]
    middle = list(both_ways(video, toys.segmenter().session("interval:2")))[1][1]
    trust = middle.confidence
    assert trust is not None
    bar = middle.labels[::8, ::8] == 1
    assert bar.any() and trust.cells[bar].max() < trust.cells[~bar].min()


def test_it_is_worked_out_once_and_can_be_sent() -> None:
    session = toys.segmenter().session("interval:9")
    prediction = [session.step(frame) for frame in frames(3, step=1)][-1]
    sent = pickle.loads(pickle.dumps(prediction))
    mine = prediction.confidence
    assert mine is not None and prediction.confidence is mine
    assert np.array_equal(sent.confidence.cells, mine.cells)


def test_a_frame_without_a_picture_has_one_by_its_age() -> None:
    session, video = toys.segmenter().session("interval:9"), frames(3, step=0)
    session.step(video[0])
    trust = session.step(replace(video[1], picture=NoPicture(1, "key"))).confidence
    assert trust is not None and np.isnan(trust.mismatch).all()
    assert 0 < trust.score < 1


def test_a_bundle_that_remembers_has_none(tmp_path: Path) -> None:
    whole = toys.segmenter()
    state = replace(whole.manifest.state[0], next="scores_next")
    key = whole.graphs["key"]

    def remembering(tensors: object) -> object:
        made = key(tensors)  # type: ignore[arg-type]
        return {**made, "scores_next": made["scores"]}

    segmenter = Segmenter(
        replace(whole.manifest, state=(state,), routes={"start": ("key",)}),
        {"key": remembering},  # type: ignore[dict-item]
        "toy",
    )
    frame = frames(1, step=0)[0]
    prediction = segmenter.session().step(frame)
    assert prediction.confidence is None
    with pytest.raises(OptionError, match="leave the confidence out"):
        open_sink("confidence", tmp_path / "maps", CONTEXT).write(frame, prediction)


def test_the_sink_writes_it(tmp_path: Path) -> None:
    session, video = toys.segmenter().session("interval:9"), frames(3, step=4)
    sink = open_sink("confidence", tmp_path / "maps", CONTEXT)
    predictions = [session.step(frame) for frame in video]
    for frame, prediction in zip(video, predictions, strict=True):
        sink.write(frame, prediction)
    sink.close()
    assert (read_labels(tmp_path / "maps" / "000000.png") == 255).all()
    trust = predictions[2].confidence
    assert trust is not None
    written = read_labels(tmp_path / "maps" / "000002.png")
    assert np.allclose(written / 255, trust.cells, atol=0.002)
