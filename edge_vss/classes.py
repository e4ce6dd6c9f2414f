"""Class sets: names, colours and the id that means "not labelled"."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path

from edge_vss.errors import OptionError
from edge_vss.files import open_plain, read_plain

MOST_BYTES = 1 << 20
"""Of a file that lists classes."""
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
    Raises OptionError, also for a file of more than 1 MB and for a name of more than 200 characters.
    """
    if spec in _SETS:
        colours, ignore = _SETS[spec]
        return ClassSet(tuple(colours), tuple(colours.values()), ignore)
    if spec.isdecimal() and spec.isascii():
        return _counted(spec)
    try:
        if not spec:
            raise FileNotFoundError
        text = read_plain(open_plain(Path(spec)), MOST_BYTES).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise OptionError(
            f"no class set is called {spec!r}: choose one of {', '.join(_SETS)}, a count, or a text file "
            "with one name per line"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OptionError(
            f"{_brief(spec)} cannot be read as text ({reason}): give one class name per line"
        ) from None
    return _listed(spec, text.splitlines())


def _brief(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}..."


def _counted(spec: str) -> ClassSet:
    count = int(spec) if len(spec) < 6 else 0
    if not 1 <= count <= 255:
        raise OptionError(f"{_brief(spec)} classes: a label map has room for 1 to 255")
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
            # Of a number that is too long to be read, four digits are too many as well.
            red, green, blue = (int((word.lstrip("0") or "0")[:4]) for word in words[-3:])
            if max(red, green, blue) > 255:
                shown = _brief(" ".join(words[-3:]))
                raise OptionError(f"{spec}, line {number}: the colour {shown} goes past 255")
            words, colour = words[:-3], (red, green, blue)
        name = " ".join(words)
        if len(name) > MOST_NAME:
            raise OptionError(
                f"{spec}, line {number}: the name has {len(name)} characters, and {MOST_NAME} is the most: "
                "give one class name per line"
            )
        if len(classes) == 255:
            raise OptionError(f"{spec} names more than 255 classes: a label map has room for 1 to 255")
        if name in classes:
            raise OptionError(f"{spec}, line {number}: the class {name!r} appears twice")
        classes[name] = colour
    if not classes:
        raise OptionError(f"{spec} names 0 classes: a label map has room for 1 to 255")
    return ClassSet(tuple(classes), tuple(classes.values()), 255)


def _generated(index: int) -> Colour:
    # Golden-ratio steps keep neighbouring ids far apart in hue; the brightness walks too, so that 255 stay
    # different.
    hue = index * 0.61803398875 % 1
    value = (0.95, 0.65, 0.8, 0.5)[index // 3 % 4]
    saturation = (0.75, 0.5, 0.95)[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
