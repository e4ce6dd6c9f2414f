"""Options that the families of published systems share: a variant by name, and what it has fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from edge_vss.bundle import TensorSpec
from edge_vss.converters.conversion import Conversion
from edge_vss.errors import OptionError
from edge_vss.video import Size

V = TypeVar("V")
"""What a family knows of one of its variants."""


def find(family: str, variants: Mapping[str, V], name: Any) -> V:
    """The variant called ``name``. Raises OptionError listing what there is."""
    if name not in variants:
        missing = "--variant is missing" if name is None else f"no variant is called {name!r}"
        raise OptionError(f"{missing}: family {family} has {', '.join(variants)}")
    return variants[name]


def fixed(conversion: Conversion, name: str) -> None:
    """Raise OptionError where the user says what the variant has fixed."""
    said = {
        "--mean": conversion.mean,
        "--std": conversion.std,
        "--scale": conversion.scale,
        "--bgr": conversion.bgr,
        "--model": conversion.factory,
        "--output": conversion.output_name,
    }
    for option, value in said.items():
        if value:
            raise OptionError(f"{option} is fixed by the variant {name}: leave it out")


def outputs(size: Size, scores: TensorSpec, logits: bool) -> tuple[list[TensorSpec], tuple[TensorSpec, ...]]:
    """What every graph that ends in labels gives: labels, the sum of its scores, and the scores where they
    are wanted; else these are its part's ``hidden``."""
    shown = [TensorSpec("labels", (1, *size), "uint8"), TensorSpec("score_check", (1,), "float32")]
    return ([*shown, TensorSpec("logits", scores.shape, "float32")], ()) if logits else (shown, (scores,))


def carried(family: str, options: Mapping[str, Any], choices: Sequence[str]) -> str:
    """The option ``carry``, by default the first of ``choices``. Raises OptionError for any other."""
    carry = options.get("carry", choices[0])
    if carry not in choices:
        raise OptionError(f"--carry {carry!r}: family {family} carries {' or '.join(choices)}")
    return str(carry)


def whole(value: Any, option: str, least: int, most: int, what: str) -> int:
    """A whole number in its bounds. Raises OptionError saying ``what`` it is."""
    if not isinstance(value, int) or not least <= value <= most:
        raise OptionError(f"{option} {value}: {what}, {least} to {most}")
    return value
