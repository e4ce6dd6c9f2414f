import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.report import Json, Report, plain


@dataclass(frozen=True)
class Inner(Report):
    place: Path
    share: float


@dataclass(frozen=True)
class Outer(Report):
    inner: Inner
    rows: tuple[Inner, ...]
    by_role: dict[str, float]
    note: str | None = None


def test_the_fields_are_the_keys_in_their_order() -> None:
    nowhere = Inner(Path("a/b"), float("nan"))
    found = Outer(nowhere, (nowhere,), {"key": float("inf"), "state": 2.5}).to_json()
    assert list(found) == ["inner", "rows", "by_role", "note"]
    empty = {"place": "a/b", "share": None}
    assert found == {"inner": empty, "rows": [empty], "by_role": {"key": None, "state": 2.5}, "note": None}


def test_numpy_s_float_is_a_number() -> None:
    assert plain(np.float64(0.5)) == 0.5 and type(plain(np.float64(0.5))) is float


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(derandomize=True)
@given(VALUES)
def test_what_it_gives_is_always_json(value: Json) -> None:
    made = plain(value)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
