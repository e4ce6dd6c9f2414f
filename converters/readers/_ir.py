"""OpenVINO files of strangers: the XML and its weights, checked before OpenVINO opens them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import ModelError, one_line

MOST_XML_BYTES = 256 << 20
MOST_DEPTH = 100
"""Elements inside elements. A graph inside a loop inside a graph has 20."""


class _Refused(Exception):
    """The XML asks for what no model needs."""


def check_ir(path: Path) -> NDArray[np.uint8]:
    """Check an OpenVINO ``.xml``, and give the bytes of the ``.bin`` beside it (mapped, not read).

    Raises ModelError for XML with entities or too deep, weights that are a link, and constants beyond the
    weights' end.
    """
    if path.stat().st_size > MOST_XML_BYTES:
        raise ModelError(f"{path} is far larger than an OpenVINO model's XML: do not use this file")
    weights = _weights(path.with_suffix(".bin"), path)
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise _Refused(f"elements nested deeper than {MOST_DEPTH}")
        if name == "data" and "offset" in attributes and "size" in attributes:
            numbers = [attributes[key] for key in ("offset", "size")]
            if not all(text.isascii() and text.isdigit() and len(text) < 16 for text in numbers):
                raise _Refused(f"a constant at {ascii(numbers[0])[:40]}")
            if sum(map(int, numbers)) > len(weights):
                raise _Refused(f"a constant beyond the {len(weights)} bytes of {path.stem}.bin")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*parts: object) -> None:
        raise _Refused("a DOCTYPE")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = doctype
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except (_Refused, expat.ExpatError) as error:
        raise _unreadable(path, one_line(error)) from None
    return weights


def _weights(place: Path, path: Path) -> NDArray[np.uint8]:
    try:
        mode, size = os.lstat(place).st_mode, place.stat().st_size
    except OSError:
        raise _unreadable(path, f"no {place.name}") from None
    if not stat.S_ISREG(mode):
        raise ModelError(
            f"{path} keeps its weights in {place.name}, which is a link or no file: put the file there"
        )
    return np.memmap(place, np.uint8, "r") if size else np.zeros(0, np.uint8)


def _unreadable(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} cannot be read as an OpenVINO model ({why}): copy it again, and its .bin beside it"
    )
