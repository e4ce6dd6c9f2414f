"""A text's lines, without what belongs to its form: comments, bullets, commas, frames."""

from __future__ import annotations

import re
from pathlib import Path

from edge_vss.errors import OptionError

Line = tuple[int, str]
"""The line's number, from 1, and what it says."""

HEX = re.compile(r"(?:#|0[xX])[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?")

_LFS = "version https://git-lfs"
_INLINE = re.compile(r"\s+(?:#|//)\s.*$")
_RULE = re.compile(r"[\s|:+-]+")
_BULLET = re.compile(r"[-*•]\s+")
_BARE_HEX = re.compile(r"(.*\S)[\s,;]+([0-9a-fA-F]{6})")
_FRACTIONS = re.compile(r"(?:\d*\.\d+[\s,;]+){3}|(?:[\s,;]+\d*\.\d+){3}$")
_TITLES = ("name", "names", "class", "classes", "class_name", "class name", "label", "labels", "category")

_FOREIGN = re.compile(r"[{}\[\]<>|=;\"]|^(?:import|from)\s+\w|[:,(]$|^[:)]")
"""Signs of a program, a page or another format, which names do not have."""


def lines_of(path: Path, text: str) -> list[Line]:
    """Raises OptionError, with its line, for a text that cannot be a list of classes."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if lines and lines[0][1] == "GIMP Palette":
        lines = [entry for entry in lines[1:] if not re.match(r"(Name|Columns)\s*:", entry[1])]
    if lines and lines[0][1].startswith(_LFS):
        raise OptionError(f"{path} is a pointer of Git LFS, not the file itself: run git lfs pull")
    lines = [(n, _INLINE.sub("", line)) for n, line in lines if not _is_comment(line)]
    for number, line in lines:
        if any(ord(c) < 32 and c != "\t" for c in line):
            raise OptionError(f"{path}, line {number}: this is not text: give one class name per line")
        if _FRACTIONS.search(line):
            raise OptionError(f"{path}, line {number}: colours are whole numbers from 0 to 255: convert them")
    return _without_title(_with_marked_colours(_without_ends(_without_frame(lines))))


def check_names(path: Path, lines: list[Line], names: list[tuple[int, str]]) -> None:
    """Refuses names, given with their lines, that are none: those of a program or of another format."""
    raw = dict(lines)
    for number, name in names:
        quoted = any(f"{quote}{name}{quote}" in raw.get(number, "") for quote in "\"'")
        if (_FOREIGN.search(name) or name.count("(") != name.count(")")) and not quoted:
            shown = name if len(name) <= 40 else f"{name[:40]}..."
            raise OptionError(
                f"{path}, line {number}: {shown!r} is no class name, but looks like a program or another "
                "format: give one class name per line, or that name in quotes"
            )


def _is_comment(line: str) -> bool:
    # A colour may begin a line, and a comment too.
    return line.startswith(("//", ";")) or (line.startswith("#") and not HEX.match(line))


def _without_frame(lines: list[Line]) -> list[Line]:
    """A table of Markdown: its cells with tabs between them."""
    if not lines or not all(line.startswith("|") for _, line in lines):
        return lines
    rows = [(n, line.strip("|").strip()) for n, line in lines if not _RULE.fullmatch(line)]
    return [(n, "\t".join(cell.strip() for cell in line.split("|"))) for n, line in rows]


def _without_ends(lines: list[Line]) -> list[Line]:
    """Without bullets, and without commas that end lines."""
    if lines and all(_BULLET.match(line) for _, line in lines):
        lines = [(n, _BULLET.sub("", line, count=1)) for n, line in lines]
    if len(lines) > 1 and all(line.endswith(",") and "," not in line[:-1] for _, line in lines[:-1]):
        lines = [(n, line.rstrip(",").rstrip()) for n, line in lines]
    return lines


def _with_marked_colours(lines: list[Line]) -> list[Line]:
    """``road 804080`` in every line: the last word is a colour."""
    found = [_BARE_HEX.fullmatch(line) for _, line in lines]
    digits = "".join(match[2] for match in found if match)
    if not found or not all(found) or digits.isdigit() or digits.isalpha():
        return lines
    return [(n, f"{match[1]} #{match[2]}") for (n, _), match in zip(lines, found, strict=True) if match]


def _without_title(lines: list[Line]) -> list[Line]:
    """A column of names may have a title."""
    return lines[1:] if len(lines) > 1 and lines[0][1].strip("\"'").lower() in _TITLES else lines
