"""Numbers that callers give."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vss.errors import OptionError
from edge_vss.runtimes.budget import Budget
from edge_vss.runtimes.engines import EngineOptions
from edge_vss.runtimes.policy import Adaptive, Gop, Interval
from edge_vss.values import check_limit, positive, whole_number

NO_NUMBERS: tuple[object, ...] = (None, "5", True, b"5", [5], {}, 5j, np.array([5, 6]), math.nan)


@given(st.integers(-10, 10**9), st.integers(-10, 10**9))
def test_whole_numbers_from_the_least_on(value: int, least: int) -> None:
    if value >= least:
        assert whole_number("n", value, least, "hint") == value
    else:
        with pytest.raises(OptionError, match=f"n must be a whole number of {least} or more, got {value}"):
            whole_number("n", value, least, "hint")


@given(st.floats(), st.floats(min_value=0, exclude_min=True))
def test_numbers_above_0(value: float, most: float) -> None:
    if 0 < value <= most and value < math.inf:
        assert positive("x", value, "hint", most) == value
    else:
        with pytest.raises(OptionError, match=r"x must be a number above 0.*: hint"):
            positive("x", value, "hint", most)


def test_numbers_beyond_all_use_are_told() -> None:
    with pytest.raises(OptionError, match="n must be a whole number of 1 to 2147483647, got 1000000000000"):
        whole_number("n", 10**12, 1, "hint")
    with pytest.raises(OptionError, match="limit must be a whole number of 1 to"):
        check_limit(10**23)
    with pytest.raises(OptionError, match="threads must be 0 to 1024, got 100000"):
        EngineOptions(threads=100_000)
    with pytest.raises(OptionError, match=r"budget_ms must be a number above 0 and at most"):
        Budget(1e300)


def test_numbers_of_other_libraries_are_numbers() -> None:
    assert whole_number("n", np.int64(5), 1, "") == 5 and type(whole_number("n", np.uint8(5), 1, "")) is int
    assert positive("x", np.float32(0.5), "") == positive("x", Fraction(1, 2), "") == 0.5


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_told(value: object) -> None:
    calls: list[Callable[[], object]] = [
        lambda: whole_number("n", value, 1, "hint"),
        lambda: positive("x", value, "hint"),
        lambda: Interval(value),  # type: ignore[arg-type]
        lambda: Gop(value),  # type: ignore[arg-type]
        lambda: Adaptive(value),  # type: ignore[arg-type]
        lambda: Adaptive(8, value),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(OptionError, match="must be a"):
            call()


def test_a_limit_is_one_frame_or_more() -> None:
    check_limit(None)
    check_limit(1)
    for wrong in (0, -1, 2.5, "3"):
        with pytest.raises(OptionError, match=r"limit must be a whole number of 1 or more.*leave it out"):
            check_limit(wrong)  # type: ignore[arg-type]
