"""Class lists as plain text: one class per row, with an id, a colour, or both, before or after its name."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_vss.classes.lines import HEX, Line, check_names, lines_of
from edge_vss.errors import OptionError

Colour = tuple[int, int, int]
Row = tuple[int, list[str]]
"""The line's number, from 1, and its cells."""

_CVAT = re.compile(r"^([^:]+):(\d{1,3},\d{1,3},\d{1,3})?:[^:]*:[^:]*$")
_NUMBERED = re.compile(r"^(\d{1,3})\s*(?:->|=>|[:.)=-])\s*(\D.*)$")
_NAMED = re.compile(r"^(\D.*?)\s*(?:->|=>|[:=])\s*(\d{1,3})$")
_THREE = re.compile(r"\d{1,3} +\d{1,3} +\d{1,3}\s")
_WHOLE = re.compile(r"-?\d+")

_HEADS = {
    "id": (
        *(
            "id",
            "idx",
            "index",
            "class_id",
            "classid",
            "class id",
            "label_id",
            "label id",
            "train_id",
            "trainid",
        ),
        *("class_index", "class index", "pixel_value", "pixel value", "value", "key"),
    ),
    "name": (
        *("name", "names", "class", "classes", "class_name", "classname", "class name"),
        *("label", "labels", "label_name", "label name", "category"),
    ),
    "red": ("r", "red"),
    "green": ("g", "green"),
    "blue": ("b", "blue"),
    "colour": ("color", "colour", "hex", "rgb", "color_rgb", "colour_rgb"),
}


@dataclass(frozen=True)
class Entry:
    """One class as a file gives it."""

    name: str
    id: int | None = None
    """None where the file gives none: then the order counts."""
    colour: Colour | None = None
    """RGB, or None where the file gives none."""
    line: int = 0
    """Where it stands, from 1; 0 where a format has no lines that mean something."""


@dataclass(frozen=True)
class Place:
    """Which cells of a row hold what; None where there is none. Negative numbers count from the end."""

    id: int | None
    colour: tuple[int, ...] = ()
    """Three cells, for red, green and blue, or one that holds the whole colour."""


@dataclass(frozen=True)
class Spaced:
    """A row of words: the numbers before the name, the name, and the numbers after it."""

    line: int
    before: list[str]
    name: list[str]
    after: list[str]

    @property
    def numbers(self) -> list[str]:
        """All of its numbers, in order."""
        return [*self.before, *self.after]


def from_rows(path: Path, text: str) -> list[Entry]:
    """The classes of a text. Raises OptionError that names the line which is not understood."""
    lines = lines_of(path, text)
    entries = _classes(path, lines)
    check_names(path, lines, [(entry.line, entry.name) for entry in entries])
    if entries and entries[0].name == "__ignore__" and all(entry.id is None for entry in entries):
        return entries[1:]  # labelme counts from there
    return entries


def _classes(path: Path, lines: list[Line]) -> list[Entry]:
    if lines and all(_CVAT.match(line) for _, line in lines):
        return [_cvat(path, number, line) for number, line in lines]
    if len(lines) == 1:
        number, line = lines[0]
        for sign in ";,":
            parts = [_clean(part) for part in line.split(sign) if part.strip()]
            if len(parts) > 1 and not any(_is_number(part) for part in parts):
                return [Entry(part, line=number) for part in parts]
    for pattern, identity, name in ((_NUMBERED, 1, 2), (_NAMED, 2, 1)):
        found = [(n, pattern.match(line)) for n, line in lines]
        if lines and all(match for _, match in found):
            return [Entry(_clean(m[name]), int(m[identity]), None, n) for n, m in found if m is not None]
    for delimiter in ("\t", ";", ","):
        # ``64 128 64<tab>Animal``: here a tab stands for a space.
        together = any(_THREE.match(line) for _, line in lines)
        if lines and all(delimiter in line for _, line in lines) and not together:
            return _delimited(path, lines, delimiter)
    return _spaced(path, lines)


def number_of(digits: str) -> int:
    """A whole number. Of one that is too long to be read, seven digits are too many as well."""
    size = int((digits.lstrip("-").lstrip("0") or "0")[:7])
    return -size if digits.startswith("-") else size


def brief(text: str) -> str:
    """A stranger's text, short enough for a message."""
    return text if len(text) <= 80 else f"{text[:60]}..."


def colour_of(text: str) -> Colour | None:
    """``#rgb``, ``#rrggbb``, ``0xrrggbb`` or ``r,g,b`` → RGB; None for anything else."""
    text = text.strip()
    if match := re.fullmatch(r"(?:#|0[xX])([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?", text):
        red, green, blue = (int(match[1][at : at + 2], 16) for at in (0, 2, 4))
        return red, green, blue
    if match := re.fullmatch(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])", text):
        red, green, blue = (int(digit * 2, 16) for digit in match.groups())
        return red, green, blue
    parts = re.fullmatch(r"(?:rgb)?\(?\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*\)?", text)
    return None if parts is None else rgb([int(part) for part in parts.groups()])


def rgb(parts: Sequence[int | None]) -> Colour | None:
    """Three numbers from 0 to 255 as a colour; None for anything else."""
    known = [part for part in parts if part is not None and 0 <= part <= 255]
    return (known[0], known[1], known[2]) if len(known) == len(parts) == 3 else None


def _cvat(path: Path, number: int, line: str) -> Entry:
    name, colour = line.split(":")[:2]
    return Entry(_clean(name), None, _colour(path, number, colour.split(",")) if colour else None, number)


def _clean(name: str) -> str:
    return " ".join(name.strip().strip("\"'").split())


def _colour(path: Path, number: int, cells: list[str]) -> Colour:
    found = colour_of(cells[0]) if len(cells) == 1 else rgb([number_of(cell) for cell in cells])
    if found is None:
        raise OptionError(f"{path}, line {number}: the colour {brief(' '.join(cells))} goes past 255")
    return found


# Cells with a delimiter


def _delimited(path: Path, lines: list[tuple[int, str]], delimiter: str) -> list[Entry]:
    rows: list[Row] = []
    for number, line in lines:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        rows.append((number, [cell.strip() for cell in cells]))
    width = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    for number, cells in rows:
        if len(cells) != width:
            raise OptionError(
                f"{path}, line {number}: it has {len(cells)} cells, and the others {width}: check the line"
            )
    header = _header(rows[0][1])
    if header is not None:
        name, place = header
        return [_entry(path, number, cells, name, place) for number, cells in rows[1:]]
    text = [at for at in range(width) if not all(_is_number(cells[at]) for _, cells in rows)]
    if len(text) != 1:
        raise OptionError(
            f"{path}, line {rows[0][0]}: it is not clear which of {width} cells is the name: give the file a "
            "header, such as id,name,r,g,b"
        )
    place = _place(
        path, [(n, [c for at, c in enumerate(cells) if at != text[0]]) for n, cells in rows], text[0]
    )
    moved = [(n, [cells[text[0]], *(c for at, c in enumerate(cells) if at != text[0])]) for n, cells in rows]
    return [_entry(path, number, cells, 0, place) for number, cells in moved]


def _header(cells: list[str]) -> tuple[int, Place] | None:
    """Where a header says that things are; None for a row that is none."""
    found: dict[str, int] = {}
    for at, cell in enumerate(cells):
        for what, spellings in _HEADS.items():
            if cell.lower().strip("\"'# ") in spellings:
                found.setdefault(what, at)
    if "name" not in found or len(found) < 2:
        return None
    three = tuple(found[part] for part in ("red", "green", "blue") if part in found)
    one = (found["colour"],) if "colour" in found else ()
    return found["name"], Place(found.get("id"), three if len(three) == 3 else one)


def _entry(path: Path, number: int, cells: list[str], name: int, place: Place) -> Entry:
    called = _clean(cells[name])
    if not called:
        raise OptionError(f"{path}, line {number}: the name is empty: give every class a name")
    identity = None
    if place.id is not None:
        if not _WHOLE.fullmatch(cells[place.id]):
            raise OptionError(f"{path}, line {number}: the id {cells[place.id]!r} is no number: check it")
        identity = number_of(cells[place.id])
    colour = None
    if place.colour:
        colours = [cells[at] for at in place.colour]
        if colours != [""]:
            if not all(_is_number(cell) or colour_of(cell) for cell in colours):
                raise OptionError(f"{path}, line {number}: {' '.join(colours)!r} is no colour: give R G B")
            colour = _colour(path, number, colours)
    return Entry(called, identity, colour, number)


def _is_number(cell: str) -> bool:
    return _WHOLE.fullmatch(cell) is not None or HEX.fullmatch(cell) is not None


def _place(path: Path, rows: list[Row], before: int) -> Place:
    """What the numbers of every row are; they will stand behind the name, from cell 1 on.

    ``before`` is how many of them stand before the name in the file.
    """
    count = len(rows[0][1])
    colours = [at for at in range(count) if all(HEX.fullmatch(cells[at]) for _, cells in rows)]
    if count == 0:
        return Place(None)
    if colours and count <= 2:
        other = [at for at in range(count) if at != colours[0]]
        return Place(other[0] + 1 if other else None, (colours[0] + 1,))
    if count == 1:
        return Place(1)
    if count == 3:
        return Place(None, (1, 2, 3))
    if count == 4:
        id_first, id_last = Place(1, (2, 3, 4)), Place(4, (1, 2, 3))
        # Three numbers stand together; the one that stands apart from them is the index.
        if before in (1, 3):
            return id_first if before == 1 else id_last
        for at, place in ((0, id_first), (3, id_last)):
            ids = [number_of(cells[at]) for _, cells in rows]
            if sorted(ids) == list(range(min(ids), min(ids) + len(ids))) and min(ids) in (0, 1):
                return place
    raise OptionError(
        f"{path}, line {rows[0][0]}: it is not clear what its {count} numbers mean: give an index, a colour, "
        "or both, or a header such as id,name,r,g,b"
    )


# Cells with spaces


def _spaced(path: Path, lines: list[tuple[int, str]]) -> list[Entry]:
    """Names may hold spaces themselves, so that numbers count at both ends only."""
    split = [Spaced(number, *_ends(line.split())) for number, line in lines]
    kinds = Counter((len(row.before), len(row.after)) for row in split)
    if len(kinds) == 1 and not _only_names(path, split):
        place = _place(path, [(row.line, row.numbers) for row in split], len(split[0].before))
        return [_entry(path, row.line, [" ".join(row.name), *row.numbers], 0, place) for row in split]
    # Names, of which some have a colour behind them.
    if kinds.keys() <= {(0, 0), (0, 1), (0, 2), (0, 3)}:
        return [_plain(path, row) for row in split]
    usual = kinds.most_common(1)[0][0]
    odd = next(row.line for row in split if (len(row.before), len(row.after)) != usual)
    raise OptionError(
        f"{path}, line {odd}: it has other numbers before or after its name than most lines: check the line"
    )


def _ends(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The numbers before the name, the name, and the numbers after it. A row of numbers alone has no name."""
    first, last = 0, len(words)
    while first < last and _is_number(words[first]):
        first += 1
    while last > first and _is_number(words[last - 1]):
        last -= 1
    return words[:first], words[first:last], words[last:]


def _only_names(path: Path, split: list[Spaced]) -> bool:
    """Whether the numbers in rows that are all alike belong to the names (``class 0``, ``class 1``)."""
    before, after = len(split[0].before), len(split[0].after)
    if (before, after) in ((0, 0), (0, 3)):
        return True
    if (before, after) != (0, 1) or any(HEX.fullmatch(row.after[0]) for row in split):
        return False
    names = {" ".join(row.name) for row in split}
    ids = sorted(number_of(row.after[0]) for row in split)
    if len(names) < len(split) or len(split) == 1:
        return True
    if ids not in ([*range(len(ids))], [*range(1, len(ids) + 1)]):
        raise OptionError(
            f"{path}, line {split[0].line}: it is not clear whether {split[0].after[0]} is an id or part of "
            "the name: put the ids first, or the names in quotes"
        )
    return False


def _plain(path: Path, row: Spaced) -> Entry:
    name = " ".join(row.name)
    if name and (len(row.after) == 3 or (len(row.after) == 1 and HEX.fullmatch(row.after[0]))):
        return Entry(_clean(name), None, _colour(path, row.line, row.after), row.line)
    # ``route 66`` is a name.
    return Entry(_clean(" ".join([*row.before, name, *row.after])), None, None, row.line)
