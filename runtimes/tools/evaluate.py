"""How good the labels are, and what they cost: a session's label maps against true ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from edge_vss.errors import OptionError, SourceError
from edge_vss.metrics import Scores
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import Uri, open_source
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.video import Frame, Policy, Prediction


def evaluate(
    segmenter: Segmenter,
    uri: Uri,
    ground_truth: GroundTruth | Path,
    *,
    policy: str | Policy | None = None,
    ignore: int | None = None,
    motion: str = "auto",
    on_frame: Callable[[Frame, Prediction], None] | None = None,
) -> dict[str, Any]:
    """Scores in percent of a video's frames, of which the i-th has the i-th label map of ``ground_truth``.

    ``ignore`` is the id that counts for nothing; the bundle's own by default. ``gmac_per_frame`` is averaged
    over the routes taken; frames that begin anew count as key frames. ``on_frame`` is called after each.

    Raises SourceError where label maps and frames differ in number or size, OptionError where a label map has
    an id that is neither a class nor ignored.
    """
    maps = ground_truth if isinstance(ground_truth, GroundTruth) else GroundTruth(ground_truth)
    manifest = segmenter.manifest
    session = segmenter.session(policy)
    unlabelled = manifest.ignore if ignore is None else ignore
    scores = Scores(len(manifest.classes), unlabelled)
    routes: Counter[str] = Counter()
    began = perf_counter()
    with open_source(uri, motion=motion) as source:
        size = source.info.size
        maps.matching(0, size)
        for frame in source:
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
                hint = ", as in --ignore ID" if str(error).startswith("the ground truth") else ""
                raise OptionError(f"{maps.files[scores.frames]}: {error}{hint}") from None
            routes[prediction.decision.route] += 1
            if on_frame is not None:
                on_frame(frame, prediction)
    if scores.frames < len(maps):
        raise _uneven(maps, f"{scores.frames} frames", uri)
    seconds = perf_counter() - began
    cost = {
        route: sum(manifest.graph(role).gmac for role in roles) for route, roles in manifest.routes.items()
    }
    found = asdict(scores.result(manifest.classes))
    return {
        **found,
        "ignore": unlabelled,
        "policy": str(session.policy),
        "keyframes": scores.frames - routes["nonkey"],
        "gmac_per_frame": sum(cost[route] * count for route, count in routes.items()) / scores.frames,
        "seconds": seconds,
    }


def _uneven(maps: GroundTruth, frames: str, uri: Uri) -> SourceError:
    name = uri if isinstance(uri, (str, Path)) else "the source"
    return SourceError(
        f"{maps.folder} holds {len(maps)} label maps, but {name} has {frames}: give one label map per frame"
    )
