"""Options that the families of published systems share: a variant by name, and what it has fixed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from edge_vss.bundle import TensorSpec
from edge_vss.converters.values import Source
from edge_vss.errors import OptionError
from edge_vss.video import Size

Variant = TypeVar("Variant")


def known(family: str, options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The options, all of which ``family`` has. Raises OptionError naming one that it has not."""
    if unknown := set(options) - set(names):
        raise OptionError(f"family {family} has no option {min(unknown)!r}: it knows {', '.join(names)}")
    return dict(options)


def find(family: str, variants: Mapping[str, Variant], name: Any) -> Variant:
    """The variant called ``name``. Raises OptionError listing what there is."""
    if name not in variants:
        missing = "--variant is missing" if name is None else f"no variant is called {name!r}"
        raise OptionError(f"{missing}: family {family} has {', '.join(variants)}")
    return variants[name]


def fixed(source: Source, name: str, scale: bool = True) -> None:
    """Raise OptionError where the user gave what the variant says; ``scale`` where it says that too."""
    given = {
        "--mean": source.mean,
        "--std": source.std,
        "--bgr": source.bgr,
        "--model": source.factory,
        "--output": source.output_name,
        "--scale": source.scale if scale else None,
    }
    for option, value in given.items():
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
