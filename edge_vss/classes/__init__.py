"""Class sets: names, colours and the id that means "not labelled"."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_vss.classes import files
from edge_vss.classes.rows import Entry, brief
from edge_vss.errors import OptionError

MOST_NAME = 200
"""Characters of a class's name."""
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassSet:
    """What the ids in a label map mean."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    """RGB, one per class, all different."""
    ignore: int | None
    """The id that ground truth uses for "not labelled", or None."""

    def __len__(self) -> int:
        return len(self.names)


PRESETS = Path(__file__).parent / "presets"
"""A class set by name is a file here, of the form that `edge_vss.classes.rows` reads."""

IGNORED = {"camvid": 11, "mapillary": 65}
"""The id that a set's label maps use for "not labelled", where it is not 255."""


def presets() -> list[str]:
    """The names of the class sets that come along."""
    return sorted(path.stem for path in PRESETS.glob("*.txt"))


def find(spec: str) -> ClassSet:
    """The classes of a known set (`presets` lists them), of a file, or just so many of them.

    A file may have any of the forms of `edge_vss.classes.files`: one name per line, with ids and colours or
    without, CSV, JSON, YAML and more. A count and a file ignore id 255. Raises OptionError.
    """
    if spec in presets():
        path = PRESETS / f"{spec}.txt"
        return _listed(path, files.read(path), IGNORED.get(spec, 255))
    if spec.isdecimal() and spec.isascii():
        return _counted(spec)
    path = Path(spec)
    if not spec or not os.path.exists(path):
        known = ", ".join(presets())
        raise OptionError(
            f"no class set is called {brief(spec)!r}: choose one of {known}, a count, or a file of names"
        )
    return _listed(path, files.read(path))


def from_names(names: Sequence[str], ignore: int | None = 255) -> ClassSet:
    """A class set of names in the order of their ids; one that comes again gets its id behind it."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        seen[name if name not in seen else f"{name} {index}"] = index
    return ClassSet(tuple(seen), tuple(map(_generated, range(len(seen)))), ignore)


def apart(sets: Sequence[ClassSet]) -> list[ClassSet]:
    """The same sets, with other generated colours in each, so that they can be told apart in one picture."""
    found: list[ClassSet] = []
    for each in sets:
        taken = sum(map(len, found))
        if each.palette == tuple(map(_generated, range(len(each)))):
            each = replace(each, palette=tuple(map(_generated, range(taken, taken + len(each)))))
        found.append(each)
    return found


def _counted(spec: str) -> ClassSet:
    count = int(spec) if len(spec) < 6 else 0
    if not 1 <= count <= 255:
        raise OptionError(f"{brief(spec)} classes: a label map has room for 1 to 255")
    return ClassSet(
        tuple(f"class {index}" for index in range(count)), tuple(map(_generated, range(count))), 255
    )


def _listed(path: Path, entries: list[Entry], ignore: int = 255) -> ClassSet:
    """The entries in the order of their ids. An id that the file leaves out is called ``class N``."""
    names: dict[int, str] = {}
    colours: dict[int, Colour] = {}
    for order, entry in enumerate(entries):
        identity = order if entry.id is None else entry.id
        place = f"{path}, line {entry.line}" if entry.line else f"{path}"
        if entry.id in files.UNLABELLED:
            continue
        if not 0 <= identity < 255:
            raise OptionError(f"{place}: the id {identity} is not one of a label map, which has 0 to 254")
        if identity in names:
            raise OptionError(f"{place}: the id {identity} appears twice: give every class its own")
        if len(entry.name) > MOST_NAME:
            raise OptionError(
                f"{place}: the name has {len(entry.name)} characters, and {MOST_NAME} is the most: "
                "give one class name per line"
            )
        if entry.name in names.values():
            raise OptionError(f"{place}: the class {entry.name!r} appears twice")
        names[identity] = entry.name
        if entry.colour is not None:
            colours[identity] = entry.colour
    count = max(names, default=-1) + 1
    if not 1 <= count <= 255:
        raise OptionError(f"{path} names {count} classes: a label map has room for 1 to 255")
    return ClassSet(
        tuple(names.get(index, f"class {index}") for index in range(count)),
        tuple(colours.get(index, _generated(index)) for index in range(count)),
        ignore,
    )


def _generated(index: int) -> Colour:
    # Golden-ratio steps keep neighbouring ids far apart in hue; the brightness walks too, so that 255 stay
    # different.
    hue = index * 0.61803398875 % 1
    value = (0.95, 0.65, 0.8, 0.5)[index // 3 % 4]
    saturation = (0.75, 0.5, 0.95)[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
