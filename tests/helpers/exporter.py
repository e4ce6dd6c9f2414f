"""torch's ONNX exporter, without reading its library of operators anew for every graph.

That takes half a second each time, which is half of what a small network's conversion takes. What is tested
stays the same: each export gets a copy of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def read_operators_once() -> None:
    """For the rest of this process. Leaves the exporter as it is where its inside looks different."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        return
    read: Any = lru_cache(maxsize=None)(ONNXRegistry.from_torchlib)

    def from_torchlib(cls: Any, *args: Any, **options: Any) -> Any:
        known = read(*args, **options)
        fresh = cls()
        vars(fresh).update(vars(known))
        fresh.functions = {name: list(found) for name, found in known.functions.items()}
        return fresh

    ONNXRegistry.from_torchlib = classmethod(from_torchlib)  # type: ignore[method-assign,assignment]
