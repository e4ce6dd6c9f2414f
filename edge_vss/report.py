"""What a tool found out, as a value: every report is a frozen dataclass that can be written as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

from edge_vss.text import whole

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""What a JSON document holds."""


@dataclass(frozen=True)
class Report:
    """The base of all reports: frozen dataclasses whose fields are the keys of their JSON, in that order."""

    def to_json(self) -> dict[str, Json]:
        """The report as plain values. JSON has no number for NaN and infinity: they become None."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: object) -> Json:
    """A value as JSON has it: sequences are lists, other reports are objects, what is left is its text."""
    if isinstance(value, Report):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else whole(str(value))
