"""Which label map belongs to which frame: by the names of pictures, by the numbers in names, or by order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Literal

from edge_vss.errors import OptionError, SourceError
from edge_vss.report import Report
from edge_vss.runtimes.tools._names import Numbers, same_names
from edge_vss.video import StartReason, StreamInfo

_AS_RUN_WRITES = re.compile(r"\d{6}\.png")
BREAKS = (StartReason.LOST_PACKETS, StartReason.DAMAGED_PACKET, StartReason.RECONNECTED)
"""Reasons after which a frame's index may be too low."""
_MOST_NAMED = 8
"""Names in one line for people."""

Count = Callable[[], "int | None"]
"""Counts the frames of the source; None where it can be read only once."""


@dataclass(frozen=True)
class MatchChoice:
    """How label maps are matched, as the user spells it: ``auto``, ``name``, ``order``, ``number`` or
    ``number:FIRST``."""

    by: str = "auto"
    first_number: int | None = None
    """The number of the first frame."""

    @classmethod
    def parse(cls, text: str) -> MatchChoice:
        """Raises OptionError for another spelling."""
        by, separator, first = text.partition(":")
        if by in ("auto", "name", "order", "number") and not separator:
            return cls(by)
        if by == "number" and first.isascii() and first.isdigit() and len(first) < 16:
            return cls(by, int(first))
        raise OptionError(f"no matching is spelled {text!r}: use auto, name, order, number or number:1")


@dataclass(frozen=True)
class Matching:
    """Which label map belongs to which frame."""

    by: Literal["name", "number", "order"]
    maps: Mapping[int, Path]
    """Index of a frame → its label map, in the order of the frames."""
    unused: tuple[str, ...] = ()
    """Names of the label maps that belong to no frame."""
    first_number: int | None = None
    """By number: the number of the first frame."""
    step: int = 1
    """By number: how far the numbers of two frames are apart."""
    sure: bool = True
    """Whether nothing else would fit as well."""
    name: Callable[[int], str] = str
    """What to call a frame that has no label map."""

    def report(self, frames: int, *, ended: bool, losses: int = 0) -> MatchReport:
        """What became of it in so many frames from the first one on; ``ended`` if these were all."""
        labelled = [index for index in self.maps if index < frames]
        beyond = [path.name for index, path in self.maps.items() if index >= frames] if ended else []
        # Of one labelled frame in 20, those that are not are no news.
        dense = 2 * len(labelled) > frames
        missing = [self.name(index) for index in range(frames) if index not in self.maps] if dense else []
        return MatchReport(
            by=self.by,
            first_number=self.first_number,
            step=self.step,
            sure=self.sure,
            frames=frames,
            labelled=len(labelled),
            missing=tuple(missing),
            unused=(*self.unused, *beyond),
            losses=0 if self.by == "name" else losses,
        )


@dataclass(frozen=True)
class MatchReport(Report):
    """How label maps and frames were matched."""

    by: str
    """``name``, ``number`` or ``order``."""
    first_number: int | None
    """By number: the number that the first frame has."""
    step: int
    """By number: how far the numbers of two frames are apart."""
    sure: bool
    """False where the numbers would fit from another first number as well."""
    frames: int
    """Frames that were read."""
    labelled: int
    """Those of them that have a label map: only these were scored."""
    missing: tuple[str, ...]
    """What has no label map: the map's name, the picture's where maps are matched by it, or the frame's
    number. Empty where less than half of the frames have one."""
    unused: tuple[str, ...]
    """Label maps that belong to no frame."""
    losses: int
    """How often something was lost on the way: frames after that may have too low a number. 0 by name."""

    def __str__(self) -> str:
        how = f"by {self.by}"
        if self.by == "number":
            how += f", the first frame is {self.first_number}"
            how += f", in steps of {self.step}" if self.step > 1 else ""
        notes = [f"{self.labelled} of {self.frames} frames have a label map ({how})"]
        if not self.sure:
            notes.append(f"counting from {1 - (self.first_number or 0)} would fit as well, see --match")
        if self.missing:
            notes.append(f"missing: {_some(self.missing)}")
        if self.unused:
            notes.append(f"of no frame: {_some(self.unused)}")
        if self.losses:
            notes.append(f"{self.losses} losses: label maps may belong to other frames after them")
        return "; ".join(notes)


def match(files: Sequence[Path], choice: MatchChoice, stream: StreamInfo, count: Count) -> Matching:
    """Match label maps, in natural order, with the frames of a source.

    Where frames are picture files, the names have to agree. Else numbers in the maps' names are numbers of
    frames. Only maps without numbers go by their order.

    Raises SourceError where it cannot be told which map belongs to which frame.
    """
    if choice.by in ("auto", "name") and stream.names:
        pictures = [Path(name) for name in stream.names]
        found = same_names(pictures, files)
        if 2 * len(found) < len(files):
            alike = same_names(pictures, files, as_numbers=True)
            found = alike if len(alike) == len(files) else found
        if 2 * len(found) >= len(files) or (found and choice.by == "name"):
            used = set(found.values())
            return Matching(
                "name",
                found,
                tuple(path.name for path in files if path not in used),
                name=lambda index: stream.names[index],
            )
    if choice.by == "name":
        raise SourceError(
            f"no label map in {files[0].parent} has the name of a frame of {stream.uri}: "
            "match them with --match number or --match order"
        )
    if choice.by != "order" and any(re.search(r"\d", path.stem) for path in files):
        return _by_number(files, choice.first_number, stream, count)
    return Matching("order", dict(enumerate(files)))


def _by_number(files: Sequence[Path], first: int | None, stream: StreamInfo, count: Count) -> Matching:
    found = Numbers(files)
    if len(found.kinds) > 1:
        one, other = sorted(found.kinds.values(), key=lambda path: "label" not in path.name.lower())[:2]
        raise SourceError(
            f"{files[0].parent} holds maps of several kinds ({one.name}, {other.name}): name "
            f"those that count, as in '{files[0].parent}/*{_ending(one, other)}', or give --match order"
        )
    place = _place(files, found, stream)
    numbers = found.columns[place]
    if twice := [number for number, times in Counter(numbers).items() if times > 1]:
        same = [path.name for path, number in zip(files, numbers, strict=True) if number == twice[0]]
        raise SourceError(f"{' and '.join(same[:2])} have the number {twice[0]} both: keep one of them")
    first, step, sure = _base(files, numbers, first, stream, count)
    frames = stream.frames
    maps, unused = {}, []
    for path, number in sorted(zip(files, numbers, strict=True), key=lambda pair: pair[1]):
        index = (number - first) // step
        if number < first or (frames is not None and index >= frames):
            unused.append(path.name)
        else:
            maps[index] = path
    if not maps:
        raise _strange(files, numbers, stream.frames)
    return Matching(
        "number",
        maps,
        tuple(unused),
        first_number=first,
        step=step,
        sure=sure,
        name=lambda index: found.name(place, first + index * step),
    )


def _place(files: Sequence[Path], found: Numbers, stream: StreamInfo) -> int:
    """Which of the numbers in the names counts frames."""
    last = len(found.columns) - 1
    differing = [place for place, numbers in enumerate(found.columns) if len(set(numbers)) > 1]
    if len(differing) > 1:
        raise SourceError(
            f"{files[0].name} and {files[-1].name} differ in several numbers: give the maps of one video, "
            "or --match order"
        )
    if not differing or differing == [last]:
        return last
    numbers = sorted(found.columns[differing[0]])
    if len(files) != stream.frames or numbers[-1] - numbers[0] != len(files) - 1:
        raise SourceError(
            f"{files[0].name} and {files[-1].name} end in one number: give the maps of one video, "
            "or --match order"
        )
    return differing[0]


def _base(
    files: Sequence[Path], numbers: Sequence[int], first: int | None, stream: StreamInfo, count: Count
) -> tuple[int, int, bool]:
    """The number of the first frame, the step, and whether nothing else would fit as well."""
    low, high, frames = min(numbers), max(numbers), stream.frames
    apart = gcd(*(number - low for number in numbers))

    def step_from(start: int) -> int:
        # Numbers of a longer video, of which every second frame is here, say. The last map has to fit too.
        beyond = frames is not None and high - start >= frames
        exact = apart > 1 and (low - start) % apart == 0 and (high - start) // apart + 1 == frames
        return apart if beyond and exact else 1

    if first is not None:
        return first, step_from(first), True
    if low == 0:
        return 0, step_from(0), True
    written_by_run = apart <= 1 and all(_AS_RUN_WRITES.fullmatch(path.name) for path in files)
    # A header may count frames that are not shown.
    if frames is None or (low == 1 and written_by_run and high < frames):
        frames = count() or frames
    if high == frames:
        return 1, 1, True
    if low == 1:
        start = 0 if written_by_run else 1
        return start, step_from(start), apart > 1
    if frames is None or high < frames:
        return 0, 1, False
    frames = count() or frames
    if len(numbers) > 1 and (high - low) // apart + 1 == frames:
        return low, apart, True
    if low < frames:
        return 0, 1, False
    raise _strange(files, numbers, frames)


def _strange(files: Sequence[Path], numbers: Sequence[int], frames: int | None) -> SourceError:
    return SourceError(
        f"{files[0].parent} holds maps numbered {min(numbers)} to {max(numbers)}, and the source has "
        f"{frames} frames: say which number its first frame has, as in --match number:{min(numbers)}"
    )


def _ending(one: Path, other: Path) -> str:
    """The end of one name that the other has not."""
    a, b = one.name, other.name
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    cut = max(a.rfind(mark, 0, same + 1) for mark in "_-.")
    return a[cut:] if cut >= 0 else a


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
