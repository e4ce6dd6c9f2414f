"""What a part of the soak has counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """One row: how often it was tried, and how often it went wrong."""

    what: str
    tried: int
    wrong: int
    notes: str = ""
