"""Names of files that mean the same frame: what they have in common, and the number that counts frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

Parts = tuple[str, ...]

_END = r"(?=$|[_\-. ])"
# The 8 of leftImg8bit is a part of a word.
_NUMBER = re.compile(rf"\d+{_END}")
_PART = re.compile(rf"\d+{_END}|(?:(?!\d+{_END})[^_\-. ])+")
_MOST_CUT = 6
"""Parts of names that are left out at either end. Names in data sets have up to six in all."""


def same_names(pictures: Sequence[Path], maps: Sequence[Path], as_numbers: bool = False) -> dict[int, Path]:
    """Index of a picture → the label map of its name, for as many maps as can be.

    The names may differ by what all pictures have in common at their ends, and all maps at theirs:
    ``frankfurt_000000_000294_leftImg8bit`` and ``frankfurt_000000_000294_gtFine_labelIds``. A number at the
    end always counts. With ``as_numbers``, 7 and 007 are the same.
    """
    ours, theirs = ([tuple(_PART.findall(path.stem)) for path in paths] for paths in (pictures, maps))
    best: dict[int, Path] = {}
    for our_cut, their_cut in _cuts(ours, theirs):
        where, which = _by_key(ours, our_cut, as_numbers), _by_key(theirs, their_cut, as_numbers)
        if where is None or which is None:
            continue
        found = {where[key]: maps[index] for key, index in which.items() if key in where}
        if len(found) > len(best):
            best = found
        if len(best) == len(maps):
            break
    return dict(sorted(best.items()))


Cut = tuple[int, int]
"""How many parts are left out at the beginning and at the end."""


def _cuts(ours: Sequence[Parts], theirs: Sequence[Parts]) -> Iterator[tuple[Cut, Cut]]:
    """What to leave out of both, the least first."""
    our_choices, their_choices = (
        product(range(head + 1), range(tail + 1)) for head, tail in map(_shared, (ours, theirs))
    )
    yield from sorted(product(our_choices, their_choices), key=lambda cuts: sum(map(sum, cuts)))


def _shared(names: Sequence[Parts]) -> Cut:
    """How many parts all names have in common at their beginning, and how many words at their end."""
    most = min(min(map(len, names)), _MOST_CUT)
    head = next((n for n in range(most) if len({name[n] for name in names}) > 1), most)
    last = [{name[-1 - n] for name in names} for n in range(most)]
    tail = next((n for n, parts in enumerate(last) if len(parts) > 1 or min(parts).isdecimal()), most)
    return head, tail


def _by_key(names: Sequence[Parts], cut: Cut, as_numbers: bool) -> dict[Parts, int] | None:
    """What is left of each name → its index. None where nothing is left, or two names are the same."""
    found: dict[Parts, int] = {}
    for index, name in enumerate(names):
        key = name[cut[0] : len(name) - cut[1]]
        if as_numbers:
            key = tuple(part.lstrip("0") or "0" if part.isdecimal() else part for part in key)
        if not key or found.setdefault(key, index) != index:
            return None
    return found


class Numbers:
    """The numbers in the names of some files."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._first = files[0]
        clear = all(_NUMBER.search(path.stem) for path in files)
        self._pattern = _NUMBER if clear else re.compile(r"\d+")
        self.kinds: dict[str, Path] = {}
        """Each name without its numbers, and the first file of that kind."""
        for path in files:
            self.kinds.setdefault(self._pattern.sub("#", path.stem), path)
        rows = [self._pattern.findall(path.stem) for path in files] if len(self.kinds) == 1 else []
        self.columns = [[int(number) for number in column] for column in zip(*rows, strict=True)]
        """By place in the name, the number of each file. Empty where there is more than one kind."""

    def name(self, place: int, number: int) -> str:
        """What a file with another number there would be called, with as many zeros as the first one has."""
        at = list(self._pattern.finditer(self._first.stem))[place]
        stem, digits = self._first.stem, len(at[0])
        return f"{stem[: at.start()]}{number:0{digits}d}{stem[at.end() :]}{self._first.suffix}"
