"""What the extras of edge-vss install, read from the metadata of the installed package."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, requires

_OF_AN_EXTRA = re.compile(r"^([\w.-]+).*;.*\bextra\s*==\s*[\"']([\w.-]+)[\"']")
"""A requirement of an extra, as in ``onnx>=1.17; extra == "convert"`` (PyPA core metadata, Requires-Dist)."""

_NAME = re.compile(r"[^\w.-]")
"""What comes after a package's name."""

_OURS = "edge-vss"


@cache
def extras() -> dict[str, tuple[str, ...]]:
    """Extra → the packages that it adds, in the order of pyproject.toml; other extras that it takes in are
    left out, and so is what is always installed.

    Empty where edge-vss runs from a folder and was never installed.
    """
    try:
        lines = requires(_OURS) or []
    except PackageNotFoundError:
        return {}
    always = {_NAME.split(line, maxsplit=1)[0] for line in lines if not _OF_AN_EXTRA.match(line)}
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if (named := _OF_AN_EXTRA.match(line)) and named[1] not in {_OURS, *always}:
            found[named[2]] = (*found.get(named[2], ()), named[1])
    return found


def extra_with(module: str) -> tuple[str, str] | None:
    """The package that brings a module and the extra that installs it; None where no extra does.

    For modules that are called as their package, but for the dashes (``litert_torch``).
    """
    name = module.partition(".")[0].replace("_", "-").lower()
    return next(((name, extra) for extra, packages in extras().items() if name in packages), None)
