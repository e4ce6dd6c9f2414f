"""What to convert, as values: what is taken as a number, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_vss.converters.conversion import Conversion
from edge_vss.errors import OptionError
from tests.helpers.conversion import SIZE


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": "64x96"}, "size '64x96': give height and width"),
        ({"size": 64}, "size 64: give height and width"),
        ({"size": (64.5, 96)}, r"size \(64.5, 96\): give height and width"),
        ({"mean": 0.5}, "--mean 0.5: give three numbers"),
        ({"std": ("a", "b", "c")}, "give three numbers"),
        ({"scale": "x"}, "--scale 'x': give a number"),
    ],
)
def test_values_that_are_none_are_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        Conversion(**values)


def test_numbers_of_numpy_are_numbers() -> None:
    conversion = Conversion(size=tuple(np.array(SIZE)), classes=np.int64(5), mean=tuple(np.ones(3)))  # type: ignore[arg-type]
    assert conversion.size == SIZE and type(conversion.size[0]) is int
    assert conversion.class_set is not None and len(conversion.class_set) == 5
    nonsense: list[Any] = [[], 5.0]
    for classes in nonsense:
        with pytest.raises(OptionError, match="give a set's name, a file of names, names, or how many"):
            _ = Conversion(classes=classes).class_set
