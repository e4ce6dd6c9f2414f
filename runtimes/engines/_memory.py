"""Memory for what graphs give: used again as soon as nobody holds it any more."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import TensorSpec

ALIGNMENT = 64
"""Bytes. LiteRT refuses memory that begins elsewhere; the others compute quicker on a whole cache line."""
SPARE = 4
"""How many unused blocks an output keeps. One session needs one, a session more in each other thread."""

_Blocks = deque[NDArray[np.uint8]]


class OutputMemory:
    """Arrays for a graph's outputs. May be used by several threads at once.

    Fresh memory costs more than it seems to: the system clears every page of it, 14.5 MB a frame for a
    network with a large state. So the memory of an array goes back to a store when the last array that
    shows it is gone, and the next call gets it. An array that the caller keeps is never written to again.
    """

    def __init__(self, specs: Iterable[TensorSpec]) -> None:
        self._outputs: list[tuple[TensorSpec, _Blocks]] = [(spec, deque(maxlen=SPARE)) for spec in specs]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """One array for each output, by name. What they hold is left over from earlier calls."""
        return {spec.name: np.asarray(_Loan(spec, unused)) for spec, unused in self._outputs}


class _Loan:
    """A block of memory that is in use. numpy keeps it alive as the ``base`` of every view."""

    __slots__ = ("__array_interface__", "_block", "_unused")

    def __init__(self, spec: TensorSpec, unused: _Blocks) -> None:
        dtype = np.dtype(spec.dtype)
        self._unused = unused
        try:
            # Not `if unused: pop`: another thread may take the last one in between.
            self._block = unused.pop()
        except IndexError:
            self._block = np.empty(math.prod(spec.shape) * dtype.itemsize + ALIGNMENT, np.uint8)
        start = self._block.ctypes.data
        self.__array_interface__ = {
            "version": 3,
            "shape": spec.shape,
            "typestr": dtype.str,
            "data": (start + -start % ALIGNMENT, False),
        }

    def __del__(self) -> None:
        self._unused.append(self._block)
