"""One line of JSON per frame: times, route and the share of every class, for other programs to read."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path

import numpy as np

from edge_vss.runtimes.sinks import SinkContext, SinkDescription, writing
from edge_vss.video import Frame, Prediction

DESCRIPTION = SinkDescription("one line of JSON per frame", unit="lines", suffix=".jsonl", pictures=False)


def open(path: str | Path, context: SinkContext) -> JsonLines:
    """Opens a file, or standard output for ``-``. Raises SinkError where it cannot be written."""
    return JsonLines(path, context)


class JsonLines:
    """Every line is written out at once, so that a reader sees it and an interrupted run keeps it.

    A kill can cut the last line alone, which then has no line end.

    Keys: ``index, pts_seconds, route, reason, frames_since_key, picture_type, size [h, w], seconds {stage},
    classes {name: share of the frame, 0 to 1}``; classes that do not occur are left out.
    """

    def __init__(self, path: str | Path, context: SinkContext) -> None:
        self._path = path
        self._names = dict(enumerate(context.classes))
        if context.ignore is not None:
            self._names.setdefault(context.ignore, "ignore")
        self._written = 0
        self._file: FileIO | None = None
        if str(path) != "-":
            with writing(path):
                self._file = FileIO(path, "w")

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Writes one line."""
        counts = np.bincount(prediction.labels.ravel(), minlength=256)
        present = [int(i) for i in counts.nonzero()[0]]
        line = {
            "index": prediction.index,
            "pts_seconds": round(prediction.pts_seconds, 6),
            "route": prediction.decision.route,
            "reason": prediction.decision.reason,
            "frames_since_key": prediction.frames_since_key,
            "picture_type": frame.picture_type,
            "size": list(prediction.labels.shape),
            "seconds": {stage: round(seconds, 6) for stage, seconds in prediction.seconds.items()},
            "classes": {
                self._names.get(i, str(i)): round(float(counts[i]) / prediction.labels.size, 6)
                for i in present
            },
        }
        text = json.dumps(line, ensure_ascii=False) + "\n"
        with writing(self._path):
            if self._file is None:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                self._append(self._file, text.encode())

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
