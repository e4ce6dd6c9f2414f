"""How good the labels are, and what they cost: a session's label maps against the ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edge_vss.decisions import Policy, Prediction
from edge_vss.errors import OptionError
from edge_vss.metrics import ScoreReport, Scores
from edge_vss.runtimes.both_ways import BothWays
from edge_vss.runtimes.labelling import is_key, labelled, labelling
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import Uri
from edge_vss.runtimes.tools.frame_matching import BREAKS, MatchReport
from edge_vss.runtimes.tools.ground_truth import GroundTruth, again, counted
from edge_vss.text import without_password
from edge_vss.values import check_limit
from edge_vss.video import Frame, StartReason

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class EvaluationReport(ScoreReport):
    """The scores of a video, in percent, and what its labels cost."""

    ignore: int | None
    """The id that counted for nothing."""

    ground_truth: MatchReport
    """Which frames had a label map: only these were scored."""

    policy: str

    keyframes: int
    """Frames that were key frames, of all that were read: those on the start or key route, and those whose
    labels came late."""

    key_delay: int
    """How many frames late each key frame's labels came."""

    gmac_per_frame: float
    """Billions of multiply-accumulates per frame, averaged over the routes taken."""

    seconds: float
    """Wall-clock time of the whole run."""


def evaluate(
    segmenter: Segmenter,
    uri: Uri,
    ground_truth: GroundTruth | str | Path,
    *,
    policy: str | Policy | None = None,
    ignore: int | None = None,
    head: str | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[Frame, Prediction], None] | None = None,
    limit: int | None = None,
    both_ways: bool = False,
    on_scored: Callable[[Frame, Prediction, Labels, Labels], None] | None = None,
    key_delay: int = 0,
) -> EvaluationReport:
    """Compares a session's labels with the ground truth, at the frames that have a label map.

    Label maps and frames are matched as `GroundTruth` says. Every frame is segmented. Only those with
    a label map are scored.

    ``ignore`` is the id that counts for nothing; by default it is the bundle's own. ``head`` names
    the map that is scored, by default the first. ``on_frame`` is called after every frame. ``limit`` ends
    the run after so many frames; more label maps may be there then. ``both_ways`` labels frames in between
    from the key frames on both sides. ``key_delay`` is how many frames late each key frame's labels come.
    ``on_scored`` is called after every frame that has a label map, with its labels and that map, both uint8
    (H, W).

    Raises SourceError where it cannot be told which label map belongs to which frame, or their sizes differ,
    OptionError where a label map has an id that is neither a class nor ignored, for a ``limit`` below 1, and
    for a ``head`` that is missing or a matte.
    """
    check_limit(limit)
    maps = ground_truth if isinstance(ground_truth, GroundTruth) else GroundTruth(ground_truth)
    manifest = segmenter.manifest
    session = segmenter.session(policy, key_delay=key_delay)
    by = labelling(session, both_ways)
    opening = replace(opening, parts=opening.parts or both_ways)
    scored = manifest.head(head)
    if scored.is_matte:
        raise OptionError(f"{scored.name} is a matte, which has no classes to score: choose another --head")
    name = without_password(uri) if isinstance(uri, (str, Path)) else "the source"
    unlabelled = scored.ignore if ignore is None else ignore
    scores = Scores(len(scored.classes), unlabelled)
    routes: Counter[str] = Counter()
    began = perf_counter()
    frames, losses, last, keyframes, anchor = 0, 0, -1, 0, -1
    with opening.open(uri, session) as source:
        once_more = again(uri, opening)
        matching = maps.matched(source, once_more)
        wanted = matching.maps
        if matching.by == "order" and limit is None and source.info.frames not in (None, len(wanted)):
            there = counted(source, once_more) or source.info.frames
            if there != len(wanted):
                raise maps.uneven(name, f"{there} frames")
        if 0 in wanted:
            maps.of_file(wanted[0], source.info.size)
        for frame, prediction in labelled(islice(source, limit), by):
            frames += 1
            losses += frame.start in BREAKS
            routes[prediction.decision.route] += 1
            keyframes += is_key(prediction, anchor)
            anchor = prediction.anchor_index
            if (path := wanted.get(frame.index)) is not None:
                if last != frame.index - 1 or frame.start == StartReason.SIZE_CHANGED:
                    scores.begin()
                labels = prediction.heads.get(scored.name, prediction.labels)
                true = _score(scores, maps, path, frame, prediction, labels)
                if on_scored is not None:
                    on_scored(frame, prediction, labels, true)
                last = frame.index
            elif matching.by == "order":
                raise maps.uneven(name, f"more than {len(maps)} frames")
            if on_frame is not None:
                on_frame(frame, prediction)
    found = matching.report(frames, ended=limit is None or frames < limit, losses=losses)
    if not scores.frames or (matching.by == "order" and found.unused):
        raise maps.uneven(name, f"{frames} frames")
    seconds = perf_counter() - began
    cost = {
        route: sum(manifest.graph(role).gmac for role in roles) for route, roles in manifest.routes.items()
    }
    # Of key frames whose labels came late, all frames had another route.
    late = cost.get("key", 0.0) * (keyframes - frames + routes["nonkey"])
    again_run = sum(manifest.graph(role).gmac for role in session.twice)
    twice = again_run * (by.twice if isinstance(by, BothWays) else 0)
    result = scores.result(scored.classes)
    return EvaluationReport(
        **{field.name: getattr(result, field.name) for field in fields(result)},
        ignore=unlabelled,
        ground_truth=found,
        policy=str(session.policy),
        key_delay=key_delay,
        keyframes=keyframes,
        gmac_per_frame=(late + twice + sum(cost[route] * count for route, count in routes.items())) / frames,
        seconds=seconds,
    )


def _score(
    scores: Scores, maps: GroundTruth, path: Path, frame: Frame, prediction: Prediction, labels: Labels
) -> Labels:
    true = maps.of_file(path, frame.size)
    try:
        scores.update(true, labels, prediction.frames_since_key)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None
    return true
