"""What a page calls the cameras that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_vss.text import told_apart, without_password


def name_of(uri: str) -> str:
    """A source's name. A page need not tell where files lie, nor all of a pipeline."""
    shown = without_password(uri)
    if uri.startswith("gst:"):
        return shown.partition(" ! ")[0]
    return shown if "://" in uri else Path(uri).name


def names_of(uris: Sequence[str]) -> list[str]:
    """Their names. Those that are the same get a number: programs tell streams apart by them."""
    return told_apart(name_of(uri) for uri in uris)
