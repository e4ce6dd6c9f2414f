"""Class sets: names, colours and the id that means "not labelled"."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path

from edge_vss.errors import OptionError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassSet:
    """What the ids in a label map mean."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    """RGB, one per class, all different."""
    ignore: int | None
    """The id that truth maps use for "not labelled", or None."""

    def __len__(self) -> int:
        return len(self.names)


# Names and order of the 11-class CamVid split; colours of the CamVid database
# (mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid).
_CAMVID: dict[str, Colour] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (0, 0, 192),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}

# Train ids and colours of cityscapesScripts, helpers/labels.py.
_CITYSCAPES: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}

_STREETS: dict[str, Colour] = {
    "sky": (96, 176, 240),
    "building": (158, 84, 60),
    "vegetation": (44, 140, 52),
    "road": (96, 72, 112),
    "pavement": (236, 128, 216),
    "marking": (255, 255, 255),
    "pole": (255, 208, 0),
    "vehicle": (16, 32, 192),
    "person": (232, 16, 48),
}

_SETS: dict[str, tuple[dict[str, Colour], int]] = {
    "camvid": (_CAMVID, 11),
    # AR-Seg's checkpoints were trained with a twelfth class for what is none of the others.
    "camvid12": ({**_CAMVID, "void": (0, 0, 0)}, 255),
    "cityscapes": (_CITYSCAPES, 255),
    # LMANet's score the ignored pixels as a class of their own.
    "cityscapes20": ({**_CITYSCAPES, "void": (0, 0, 0)}, 255),
    "streets": (_STREETS, 255),
}


def find(spec: str) -> ClassSet:
    """The classes of ``camvid``, ``cityscapes`` or ``streets``, of a text file, or just so many of them.

    The text file has one class per line, in the order of the ids: a name, and if wanted its colour (``bus 0
    60 100``). Empty lines and lines that start with ``#`` are left out. A count and a file ignore id 255.
    Raises OptionError.
    """
    if spec in _SETS:
        colours, ignore = _SETS[spec]
        return ClassSet(tuple(colours), tuple(colours.values()), ignore)
    if spec.isdecimal() and spec.isascii():
        return _counted(spec)
    path = Path(spec)
    if not path.is_file():
        raise OptionError(
            f"no class set is called {spec!r}: choose one of {', '.join(_SETS)}, a count, or a text file "
            "with one name per line"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{spec} cannot be read as text ({error}): give one class name per line") from None
    return _listed(spec, lines)


def _counted(spec: str) -> ClassSet:
    count = int(spec) if len(spec) < 6 else 0
    if not 1 <= count <= 255:
        raise OptionError(f"{spec} classes: a label map has room for 1 to 255")
    return ClassSet(
        tuple(f"class {index}" for index in range(count)), tuple(map(_generated, range(count))), 255
    )


def _listed(spec: str, lines: list[str]) -> ClassSet:
    classes: dict[str, Colour] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        colour = _generated(len(classes))
        if len(words) > 3 and all(word.isdecimal() for word in words[-3:]):
            red, green, blue = (int(word) for word in words[-3:])
            if max(red, green, blue) > 255:
                raise OptionError(f"{spec}, line {number}: the colour {red} {green} {blue} goes past 255")
            words, colour = words[:-3], (red, green, blue)
        name = " ".join(words)
        if name in classes:
            raise OptionError(f"{spec}, line {number}: the class {name!r} appears twice")
        classes[name] = colour
    if not 1 <= len(classes) <= 255:
        raise OptionError(f"{spec} names {len(classes)} classes: a label map has room for 1 to 255")
    return ClassSet(tuple(classes), tuple(classes.values()), 255)


def _generated(index: int) -> Colour:
    # Golden-ratio steps keep neighbouring ids far apart in hue; the brightness walks too, so that 255 stay
    # different.
    hue = index * 0.61803398875 % 1
    value = (0.95, 0.65, 0.8, 0.5)[index // 3 % 4]
    saturation = (0.75, 0.5, 0.95)[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
