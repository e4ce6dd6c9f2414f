"""A picture of what a bundle makes of a video: some frames, their labels, and which colour is which class."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.decisions import Prediction
from edge_vss.errors import SinkError, SourceError
from edge_vss.runtimes.drawing.contact_sheet import Tile, draw, paint
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sinks import check_places, writing
from edge_vss.runtimes.sources import Source, Uri, open_source
from edge_vss.runtimes.tools.first_look import FirstLook
from edge_vss.video import Frame

FRAMES = 6
_ACROSS = 2
_EVERY = 10
"""Frames from one that is shown to the next, where a source cannot be moved about in."""
_MOST_CLASSES = 40
_LEAST_SHARE = 0.001


def place_of(bundle: Path) -> Path:
    """Where the picture of a bundle goes: ``street.preview.png`` beside ``street.vss``."""
    stem = bundle.name.removesuffix(".vss")
    return bundle.with_name(f"{stem}.preview.png")


def check(place: Path, uri: Uri, force: bool) -> None:
    """Find out before a conversion whether a preview can be made. Raises SinkError and SourceError."""
    if place.exists() and not force:
        raise SinkError(f"{place} exists: move it away, or replace it with --force")
    # A folder that is missing is made with the bundle.
    if place.parent.is_dir():
        check_places({"preview": place}, uri)
    with open_source(uri, motion="none"):
        pass


def preview(segmenter: Segmenter, uri: Uri, place: Path) -> str:
    """Draws the picture, a PNG that appears whole or not at all. Gives a warning, or nothing.

    Shows up to six frames, spread over the source, each as a key frame. Raises SourceError, SinkError.
    """
    made = {spec.name for graph in segmenter.manifest.graphs for spec in graph.outputs}
    session = segmenter.session("interval:1", logits=bool(made & {"logits", "scores"}))
    look = FirstLook(segmenter.manifest)
    shown: list[tuple[Frame, Prediction]] = []
    with open_source(uri, motion="none") as source:
        name = Path(source.info.uri).name
        for frame in _spread(source):
            prediction = session.step(frame)
            look.take(frame, prediction)
            shown.append((frame, prediction))
    sheet = _sheet(f"{segmenter.manifest.family} on {name}", shown, segmenter)
    part = place.with_name(f".{place.name}.part")
    try:
        with writing(place):
            part.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
            part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return look.warning(ended=True)


def _spread(source: Source) -> Iterator[Frame]:
    """Some frames, from the beginning to near the end where that can be reached."""
    length = source.info.duration_seconds
    yield next(source)
    if source.info.live or not length:
        yield from islice(source, _EVERY - 1, _EVERY * (FRAMES - 1), _EVERY)
        return
    for number in range(1, FRAMES):
        try:
            source.seek(length * number / FRAMES)
        except SourceError:
            yield from islice(source, _EVERY - 1, _EVERY * (FRAMES - number), _EVERY)
            return
        if (frame := next(source, None)) is not None:
            yield frame


def _sheet(title: str, shown: list[tuple[Frame, Prediction]], segmenter: Segmenter) -> NDArray[np.uint8]:
    manifest = segmenter.manifest
    names = [_written(name) for name in manifest.classes]
    total = np.zeros(256)
    tiles = []
    for frame, prediction in shown:
        shares = np.bincount(prediction.labels.ravel(), minlength=256) / prediction.labels.size
        total += shares / len(shown)
        largest = [int(c) for c in shares.argsort()[::-1][:3] if shares[c] >= _LEAST_SHARE]
        said = ", ".join(f"{names[c] if c < len(names) else c} {shares[c]:.0%}" for c in largest)
        image = frame.image
        tiles += [
            Tile(image, f"{frame.pts_seconds:.2f} s"),
            Tile(paint(image, prediction.labels, manifest.palette), said),
        ]
    order = [int(c) for c in total.argsort()[::-1] if total[c] >= _LEAST_SHARE]
    legend = [(f"{names[c]} {total[c]:.1%}", manifest.palette[c]) for c in order if c < len(names)]
    columns = ("video", "labels") * min(_ACROSS, len(shown))
    blank = Tile(np.full_like(tiles[0].image, 255), "")
    tiles += [blank] * (-len(tiles) % len(columns))
    rows = [tiles[at : at + len(columns)] for at in range(0, len(tiles), len(columns))]
    title = f"{title}: {len(legend)} of {len(names)} classes are seen"
    return draw(_written(title), columns, rows, legend[:_MOST_CLASSES])


def _written(text: str) -> str:
    """As far as OpenCV's fonts can write it."""
    return text.encode("ascii", "replace").decode()
