"""Importing libraries of vendors without what they do on the side."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TELEMETRY = "openvino_telemetry"
_LOCK = threading.RLock()


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO or NNCF inside this. They then find no ``openvino_telemetry``, and report to nobody.

    Else the first import in a process calls an analytics host, and writes an identity into the user's home.
    OpenVINO has a way to do without that package, which is taken here: for the time of the block, Python's
    table of modules says that it is not installed. No setting of the user or of the process is touched.
    """
    with _LOCK:
        there = _TELEMETRY in sys.modules
        kept = sys.modules.get(_TELEMETRY)
        # None is how Python itself marks a module that cannot be imported.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            if there:
                sys.modules[_TELEMETRY] = kept  # type: ignore[assignment]
            else:
                del sys.modules[_TELEMETRY]
