"""Values of options that come as text."""

from __future__ import annotations

import re

import typer

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
