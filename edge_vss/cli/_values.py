"""Values of options that come as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edge_vss.video import Size


def size_of(text: str | None) -> Size | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not all(re.fullmatch(r"0*[1-9]\d{0,6}", side, re.ASCII) for side in (height, width)):
        raise typer.BadParameter(
            f"{text!r} is not HEIGHTxWIDTH in pixels, such as 360x480", param_hint="--size"
        )
    return int(height), int(width)


def three_of(text: str | None, option: str) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is not three numbers with commas, such as 0.485,0.456,0.406"
        raise typer.BadParameter(message, param_hint=option) from None
    return first, second, third


def classes_of(texts: list[str], outputs: list[str]) -> str | dict[str, str] | None:
    """One class set, or one for each output that stands before a ``=``."""
    named: dict[str, str] = {}
    for text in texts:
        output = next((name for name in outputs if text.startswith(f"{name}=")), None)
        if output is not None and output not in named:
            named[output] = text.removeprefix(f"{output}=")
    if named and len(named) == len(texts):
        return named
    if len(texts) > 1:
        raise typer.BadParameter(
            f"{', '.join(texts)}: give one class set, or OUTPUT=SET once for each name of --output",
            param_hint="--classes",
        )
    return texts[0] if texts else None
