"""Numbers that a caller gives: what each has to be, and one line where it is not that."""

from __future__ import annotations

import math
from numbers import Real
from operator import index

from edge_vss.errors import OptionError

MOST_WHOLE = 2**31 - 1
MOST_SECONDS = 1e9
"""31 years. Clocks of the system take no more than a little longer."""


def whole_number(name: str, value: object, least: int, hint: str, most: int = MOST_WHOLE) -> int:
    """``value`` as a whole number from ``least`` to ``most``, NumPy's too. ``hint`` says what to do.

    Raises OptionError for anything else: text, None, a fraction, True.
    """
    try:
        number = None if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or number < least:
        raise OptionError(f"{name} must be a whole number of {least} or more, got {value!r}: {hint}")
    if number > most:
        raise OptionError(f"{name} must be a whole number of {least} to {most}, got {value!r}: {hint}")
    return number


def positive(name: str, value: object, hint: str, most: float = math.inf) -> float:
    """``value`` as a finite number above 0, up to ``most``. ``hint`` says what to do.

    Raises OptionError for anything else: text, None, NaN, True.
    """
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if 0 < number <= most and number < math.inf:
        return number
    upper = f" and at most {most:g}" if most < math.inf else ""
    raise OptionError(f"{name} must be a number above 0{upper}, got {value!r}: {hint}")


def check_limit(limit: int | None) -> None:
    """Raises OptionError for a ``limit`` that is no number of frames; None is none."""
    if limit is not None:
        whole_number("limit", limit, 1, "leave it out to read all")
