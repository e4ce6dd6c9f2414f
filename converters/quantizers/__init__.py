"""One file per target, each with one function, ``reduce``: smaller numbers in a bundle's graphs."""

from __future__ import annotations

LEAST_EXTENT = 16
"""A product with a constant matrix that is narrower than this is no layer, but pooling or resizing: float."""
