"""Class sets: names, colours and the id that means "not labelled"."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path

from edge_vss.classes import files
from edge_vss.classes.rows import Entry
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
    """The classes of ``camvid``, ``cityscapes`` or ``streets``, of a file, or just so many of them.

    A file may have any of the forms of `edge_vss.classes.files`: one name per line, with ids and colours or
    without, CSV, JSON, YAML and more. A count and a file ignore id 255. Raises OptionError.
    """
    if spec in _SETS:
        colours, ignore = _SETS[spec]
        return ClassSet(tuple(colours), tuple(colours.values()), ignore)
    if spec.isdecimal() and spec.isascii():
        return _counted(spec)
    path = Path(spec)
    if not path.is_file():
        raise OptionError(
            f"no class set is called {spec!r}: choose one of {', '.join(_SETS)}, a count, or a file of class "
            "names"
        )
    return _listed(path, files.read(path))


def _counted(spec: str) -> ClassSet:
    count = int(spec) if len(spec) < 6 else 0
    if not 1 <= count <= 255:
        raise OptionError(f"{spec} classes: a label map has room for 1 to 255")
    return ClassSet(
        tuple(f"class {index}" for index in range(count)), tuple(map(_generated, range(count))), 255
    )


def _listed(path: Path, entries: list[Entry]) -> ClassSet:
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
        255,
    )


def _generated(index: int) -> Colour:
    # Golden-ratio steps keep neighbouring ids far apart in hue; the brightness walks too, so that 255 stay
    # different.
    hue = index * 0.61803398875 % 1
    value = (0.95, 0.65, 0.8, 0.5)[index // 3 % 4]
    saturation = (0.75, 0.5, 0.95)[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
