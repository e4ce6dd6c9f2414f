"""Holding back what libraries print: some report each of their steps, and standard output is for results."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TextIO

from edge_vss.cli.terminal import say
from edge_vss.plugins import LOG
from edge_vss.text import printable


@contextmanager
def hushed(debug: bool = False) -> Iterator[Callable[[str], None]]:
    """Send standard output and standard error away, also from native code; gives what lines are said with.

    The command line owns its process, so it may do this; the library never does. With ``debug`` all is shown.
    """
    if debug:
        yield say
        return
    _end_quietly()
    with tempfile.TemporaryFile() as away, _people() as people:
        kept = os.dup(1)

        def tell(line: str) -> None:
            print(printable(line), file=people, flush=True)

        try:
            _flush()
            for number in (1, 2):
                os.dup2(away.fileno(), number)
            yield tell if _is_standard_error() else say
        finally:
            _flush()
            os.dup2(kept, 1)
            os.dup2(people.fileno(), 2)
            os.close(kept)


@contextmanager
def without_reports(target: str, debug: bool) -> Iterator[None]:
    """Load graphs without what their engine reports of it. What edge-vss itself tells is shown.

    LiteRT prints a dozen lines on standard error where nothing is wrong, and some more when the process ends.
    """
    if target != "tflite" or debug:
        yield
        return
    with hushed() as tell, told(tell):
        yield


@contextmanager
def told(tell: Callable[[str], None]) -> Iterator[None]:
    """What the library warns of is shown by ``tell`` meanwhile."""

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(f"{record.levelname.lower()}: {record.getMessage()}")

    handler = Telling(logging.WARNING)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


@cache
def _end_quietly() -> None:
    """What LiteRT prints when the process ends is not shown."""
    atexit.register(_close_standard_error)


def _close_standard_error() -> None:
    _flush()
    with open(os.devnull, "wb") as away:
        os.dup2(away.fileno(), 2)


def _people() -> TextIO:
    """Standard error, as Python opens it: what its encoding lacks is shown escaped."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return os.fdopen(os.dup(2), "w", encoding=encoding, errors="backslashreplace")


def _is_standard_error() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):  # something in its place, that has no number
        return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
