"""Typed access to parsed JSON, with messages that name the key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from edge_vss.errors import BundleError
from edge_vss.video import Size

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")

MOST_DEEP = 32
"""Lists and objects within each other; what a reader does with them calls itself."""
MOST_TEXT = 1000
"""Characters of a name, a path, or what else is a text."""

_T = TypeVar("_T")


def broken(what: str) -> BundleError:
    """The error for a manifest that breaks its contract: what is wrong, and what to do."""
    return BundleError(f"{what}: convert the model again")


def typed(value: object, kind: type[_T], where: str) -> _T:
    # bool is an int in Python, and never one here
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise broken(f'"{where}" is {_brief(value)}, and has to be {_NAMES[kind]}')
    if isinstance(value, str) and len(value) > MOST_TEXT:
        raise broken(f'"{where}" has {len(value)} characters, and {MOST_TEXT} is the most')
    return value


def _brief(value: object) -> str:
    # Of a list with a million entries, only so many are looked at.
    text = repr(value[:40] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 40 else text[:37] + "..."


_NAMES: dict[type, str] = {str: "a string", int: "an integer", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Reader:
    """Typed access to one JSON object; ``where`` is its place in the manifest, for the message."""

    data: object
    where: str

    def get(self, key: str, kind: type[_T], optional: bool = False, default: _T | None = None) -> Any:
        """What ``key`` holds. ``optional`` allows null; ``default`` stands in for a key that is not there."""
        data = cast("Mapping[str, object]", typed(self.data, dict, self.where.rstrip(".") or "manifest.json"))
        if key not in data and default is not None:
            return default
        if key not in data:
            raise broken(f'"{self.where}{key}" is missing')
        return None if optional and data[key] is None else typed(data[key], kind, self.where + key)

    def readers(self, key: str) -> list[Reader]:
        return [
            Reader(entry, f"{self.where}{key}[{index}].") for index, entry in enumerate(self.get(key, list))
        ]

    def number(self, key: str, least: float = -math.inf) -> float:
        value = cast("Mapping[str, object]", self.data).get(key)
        try:
            number = (
                float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
            )
        except OverflowError:  # JSON has integers of any length
            number = math.inf
        if not math.isfinite(number) or number < least:
            raise broken(f'"{self.where}{key}" is {_brief(value)}, and has to be a finite number')
        return number

    def numbers(self, key: str) -> list[float]:
        return [Reader({key: value}, self.where).number(key) for value in self.get(key, list)]

    def shape(self) -> tuple[int, ...]:
        values = tuple(typed(value, int, self.where + "shape") for value in self.get("shape", list))
        if not all(value >= 1 for value in values) or math.prod(values) > 1 << 31:
            raise broken(f'"{self.where}shape" is {list(values)}, and has to be static and sensible')
        return values

    def size(self, key: str) -> Size:
        values = [typed(value, int, self.where + key) for value in self.get(key, list)]
        if len(values) != 2 or not all(1 <= value <= 1 << 15 for value in values):
            raise broken(f'"{self.where}{key}" is {values}, and has to be [height, width]')
        return values[0], values[1]

    def dtype(self) -> str:
        value: str = self.get("dtype", str)
        if value not in DTYPES:
            raise broken(f'"{self.where}dtype" is {value!r}, and has to be one of {", ".join(DTYPES)}')
        return value


def strict_json(text: str) -> object:
    """JSON as its standard has it (RFC 8259), in what programs read alike (RFC 7493, I-JSON).

    Raises ValueError for anything else: NaN and Infinity, a key that appears twice, half a surrogate pair,
    and for more than `MOST_DEEP` lists and objects within each other.
    """
    too_deep = f"it is nested more than {MOST_DEEP} deep"
    try:
        data: object = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [data]
    for _ in range(MOST_DEEP + 1):
        level = [inner for value in level for inner in _within(value)]
    if level:
        raise ValueError(too_deep)
    if "\\ud" in text.lower():
        # Raises UnicodeEncodeError, a ValueError, where something has no UTF-8.
        json.dumps(data, ensure_ascii=False).encode()
    return data


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number in JSON")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {_brief(key)} appears twice")
        found[key] = value
    return found
