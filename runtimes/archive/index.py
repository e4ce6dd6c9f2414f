"""The index: one row a frame, as Parquet, which pandas, DuckDB and others open."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.decisions import Prediction
from edge_vss.errors import MissingExtra
from edge_vss.runtimes.sinks.jsonl import class_names
from edge_vss.runtimes.staleness import staleness_of
from edge_vss.video import Frame

Ids = NDArray[np.uint8]

_ROWS = 1 << 16
"""Rows of a group: what a reader takes at once."""


def arrow() -> Any:
    """pyarrow. Raises MissingExtra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "label", "the index of labels") from None
    return pyarrow


@dataclass
class Rows:
    """The rows of one shard, as they come."""

    file: str
    manifest: Manifest
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """One frame's row."""
        trust = prediction.confidence
        error, age = (0.0, 0.0) if trust is None else (float(trust.mismatch.mean()), float(trust.age.mean()))
        counts = np.bincount(prediction.labels.ravel(), minlength=256) / prediction.labels.size
        row = {
            "file": self.file,
            "frame": prediction.index,
            "pts_seconds": prediction.pts_seconds,
            "key": prediction.decision.route != "nonkey",
            "frames_since_key": prediction.frames_since_key,
            "picture_type": frame.picture_type,
            "confidence": 1.0 if trust is None else trust.score,
            "later_side": 0.0 if trust is None else float((trust.side == 1).mean()),
            "staleness": staleness_of(error, age),
            **{
                f"share_{name}": counts[number]
                for number, name in class_names(self.manifest.classes, self.manifest.ignore).items()
            },
        }
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)

    def parquet(self, about: Mapping[str, str]) -> bytes:
        """The rows as a Parquet file that says what it is ``about``."""
        return written(arrow().table(self.columns, schema=self._schema()), about)

    def _schema(self) -> Any:
        pa = arrow()
        kinds = {
            "file": pa.string(),
            "frame": pa.int64(),
            "pts_seconds": pa.float64(),
            "key": pa.bool_(),
            "frames_since_key": pa.int32(),
            "picture_type": pa.string(),
        }
        return pa.schema([(name, kinds.get(name, pa.float32())) for name in self.columns])


def written(table: Any, about: Mapping[str, str]) -> bytes:
    """A table as a Parquet file, the same bytes for the same rows."""
    pa, out = arrow(), io.BytesIO()
    told = {f"edge_vss.{name}": text for name, text in about.items()}
    pa.parquet.write_table(table.replace_schema_metadata(told), out, row_group_size=_ROWS, compression="zstd")
    return out.getvalue()


def joined(parts: Iterable[bytes], about: Mapping[str, str]) -> bytes:
    """One Parquet file with the rows of several, in their order."""
    pa = arrow()
    tables = [pa.parquet.read_table(io.BytesIO(part)) for part in parts]
    return written(pa.concat_tables(tables).combine_chunks(), about)


def about(data: bytes) -> dict[str, str]:
    """What a Parquet file that `written` made says it is about; empty where it is none."""
    pa = arrow()
    try:
        told = pa.parquet.read_schema(io.BytesIO(data)).metadata or {}
    except (pa.ArrowException, OSError):
        return {}
    return {
        key.decode().removeprefix("edge_vss."): value.decode()
        for key, value in told.items()
        if key.startswith(b"edge_vss.")
    }
