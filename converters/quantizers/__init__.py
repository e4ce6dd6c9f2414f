"""One file per target, each with one function, ``reduce``: smaller numbers in a bundle's graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Samples = Mapping[str, Sequence[Mapping[str, NDArray[Any]]]]
"""Role → the inputs of real calls of its graph, by name."""

LEAST_EXTENT = 16
"""A product with a constant matrix that is narrower than this is no layer, but pooling or resizing: float."""
