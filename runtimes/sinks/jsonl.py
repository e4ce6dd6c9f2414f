"""One line of JSON per frame: times, route and the share of every class, for other programs to read."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import HeadSpec
from edge_vss.decisions import Prediction
from edge_vss.runtimes.sinks import SinkContext, SinkDescription, writing
from edge_vss.video import Frame

DESCRIPTION = SinkDescription("one line of JSON per frame", unit="lines", suffix=".jsonl", pictures=False)


def open(path: str | Path, context: SinkContext) -> JsonLines:
    """Opens a file, or standard output for ``-``. Raises SinkError where it cannot be written."""
    return JsonLines(path, context)


class JsonLines:
    """Every line is written out at once, so that a reader sees it and an interrupted run keeps it.

    A kill can cut the last line alone, which then has no line end.

    Keys: ``index, pts_seconds, route, reason, frames_since_key, confidence, picture_type, size [h, w],
    seconds {stage}, classes {name: share of the frame, 0 to 1}``; classes that do not occur are left out. Of
    a bundle with several heads also ``heads {name: the same}``; of a matte ``{matte: its mean, 0 to 1}``. Of
    a live source also ``captured_seconds`` (Unix time) and ``clock``, what it comes from: ``rtcp`` or
    ``arrival``.
    """

    def __init__(self, path: str | Path, context: SinkContext) -> None:
        self._path = path
        self._names = class_names(context.classes, context.ignore)
        self._heads = context.heads
        self._head_names = {head.name: class_names(head.classes, head.ignore) for head in context.heads}
        self._written = 0
        self._file: FileIO | None = None
        if str(path) != "-":
            with writing(path):
                self._file = FileIO(path, "w")

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Writes one line."""
        line: dict[str, object] = {
            "index": prediction.index,
            "pts_seconds": round(prediction.pts_seconds, 6),
            "route": prediction.decision.route,
            "reason": prediction.decision.reason,
            "frames_since_key": prediction.frames_since_key,
            "confidence": None if prediction.confidence is None else round(prediction.confidence.score, 4),
            "picture_type": frame.picture_type,
            "size": list(prediction.labels.shape),
            "seconds": {stage: round(seconds, 6) for stage, seconds in prediction.seconds.items()},
            "classes": shares(prediction.labels, self._names),
        }
        if frame.capture_clock:
            taken = frame.arrived_seconds if frame.captured_seconds is None else frame.captured_seconds
            line["captured_seconds"], line["clock"] = taken, frame.capture_clock
        if self._heads:
            line["heads"] = {head.name: self._told(head, prediction.heads[head.name]) for head in self._heads}
        encoding = getattr(sys.stdout, "encoding", None) if self._file is None else None
        text = _text(line, encoding or "utf-8")
        with writing(self._path):
            if self._file is None:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                self._append(self._file, text.encode())

    def _told(self, head: HeadSpec, values: NDArray[np.uint8]) -> dict[str, float]:
        if head.is_matte:
            return {"matte": round(float(values.mean()) / 255, 6)}
        return shares(values, self._head_names[head.name])

    def _append(self, file: FileIO, content: bytes) -> None:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            # Half a line is not JSON: a full disk leaves the lines before it.
            with suppress(OSError):
                file.truncate(self._written)
            raise
        self._written += len(content)

    def close(self) -> None:
        """Closes the file; standard output stays open."""
        if self._file is not None:
            with writing(self._path):
                self._file.close()


def class_names(classes: tuple[str, ...], ignore: int | None) -> dict[int, str]:
    names = dict(enumerate(classes))
    if ignore is not None:
        names.setdefault(ignore, "ignore")
    return names


def shares(labels: NDArray[np.uint8], names: dict[int, str]) -> dict[str, float]:
    """The share of the frame, 0 to 1, of every class that occurs."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return {
        names.get(i, str(i)): round(float(counts[i]) / labels.size, 6) for i in map(int, counts.nonzero()[0])
    }


def _text(line: dict[str, Any], encoding: str) -> str:
    """The line as JSON. What the encoding lacks ('ä' in ASCII) is written as JSON escapes it."""
    text = json.dumps(line, ensure_ascii=False) + "\n"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(line) + "\n"
    return text
