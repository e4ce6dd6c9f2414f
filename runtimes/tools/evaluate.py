"""How good the labels are, and what they cost: a session's label maps against the ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from time import perf_counter

from edge_vss.decisions import Policy, Prediction
from edge_vss.errors import OptionError, SourceError
from edge_vss.metrics import ScoreReport, Scores
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import Uri
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.runtimes.tools.opening import Opening
from edge_vss.text import without_password
from edge_vss.video import Frame


@dataclass(frozen=True)
class EvaluationReport(ScoreReport):
    """The scores of a video, in percent, and what its labels cost."""

    ignore: int | None
    """The id that counted for nothing."""

    policy: str

    keyframes: int
    """Frames on the start or key route."""

    gmac_per_frame: float
    """Billions of multiply-accumulates per frame, averaged over the routes taken."""

    seconds: float
    """Wall-clock time of the whole run."""


def evaluate(
    segmenter: Segmenter,
    uri: Uri,
    ground_truth: GroundTruth | Path,
    *,
    policy: str | Policy | None = None,
    ignore: int | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[Frame, Prediction], None] | None = None,
    limit: int | None = None,
) -> EvaluationReport:
    """Compares a session's labels with the ground truth. Frame i belongs to label map i.

    ``ignore`` is the id that counts for nothing; by default it is the bundle's own. ``on_frame`` is called
    after every frame. ``limit`` ends the run after so many frames; more label maps may be there then.

    Raises SourceError where label maps and frames differ in number or size, OptionError where a label map has
    an id that is neither a class nor ignored, and for a ``limit`` below 1.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"limit wants 1 frame or more, got {limit}: leave it out to read all")
    maps = ground_truth if isinstance(ground_truth, GroundTruth) else GroundTruth(ground_truth)
    manifest = segmenter.manifest
    session = segmenter.session(policy)
    unlabelled = manifest.ignore if ignore is None else ignore
    scores = Scores(len(manifest.classes), unlabelled)
    routes: Counter[str] = Counter()
    began = perf_counter()
    with opening.open(uri, session) as source:
        size = source.info.size
        maps.matching(0, size)
        for frame in islice(source, limit):
            if scores.frames == len(maps):
                more = (
                    source.info.frames if (source.info.frames or 0) > len(maps) else f"more than {len(maps)}"
                )
                raise _uneven(maps, f"{more} frames", uri)
            prediction = session.step(frame)
            try:
                scores.update(
                    maps.matching(scores.frames, frame.size), prediction.labels, prediction.frames_since_key
                )
            except OptionError as error:
                raise OptionError(f"{maps.files[scores.frames]}: {error}") from None
            routes[prediction.decision.route] += 1
            if on_frame is not None:
                on_frame(frame, prediction)
    if scores.frames < (len(maps) if limit is None else min(limit, len(maps))):
        raise _uneven(maps, f"{scores.frames} frames", uri)
    seconds = perf_counter() - began
    cost = {
        route: sum(manifest.graph(role).gmac for role in roles) for route, roles in manifest.routes.items()
    }
    found = scores.result(manifest.classes)
    return EvaluationReport(
        **{field.name: getattr(found, field.name) for field in fields(found)},
        ignore=unlabelled,
        policy=str(session.policy),
        keyframes=scores.frames - routes["nonkey"],
        gmac_per_frame=sum(cost[route] * count for route, count in routes.items()) / scores.frames,
        seconds=seconds,
    )


def _uneven(maps: GroundTruth, frames: str, uri: Uri) -> SourceError:
    name = without_password(uri) if isinstance(uri, (str, Path)) else "the source"
    return SourceError(
        f"{maps.folder} holds {len(maps)} label maps, but {name} has {frames}: give one label map per frame"
    )
