"""Files that say what class ids mean, in the forms that annotation and training tools write.

- Text (`edge_vss.classes.rows`): one name per line; with an id and a colour before or after it; CSV, TSV and
  semicolons, with a header or without; CVAT's ``labelmap.txt``; a GIMP palette.
- JSON: a list of names or of objects; ``id2label`` and ``label2id``, also in a Hugging Face ``config.json``;
  the label lists of CVAT, COCO and Mapillary.
- YAML: ``names`` of an Ultralytics data set, and the lists that JSON may have.
- pbtxt: ``item { id, name }`` of a TensorFlow label map.

Ids that a file gives are obeyed. What is not understood is refused with its line, never guessed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge_vss.classes.rows import Colour, Entry, colour_of, from_rows, rgb
from edge_vss.errors import MissingExtra, OptionError
from edge_vss.files import open_plain, read_plain

MOST_BYTES = 1 << 20
"""A list of 255 names takes a hundredth of this; what is longer is another kind of file."""
UNLABELLED = (-1, 255)
"""Ids that stand for "not labelled" in the data sets of these tools; they name no class."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


_YAML = re.compile(
    r"^(?:names\s*:|(?:classes|class_names|labels|label_names|categories|id2label|label2id)\s*:\s*(?:[\[{#]|$))",
    re.MULTILINE,
)
_YAML_LIST = re.compile(r"-\s+\w+\s*:\s")


def read(path: Path) -> list[Entry]:
    """The classes of a file, in its order; ids are all given or all None.

    Raises OptionError, which names the line where there is one, for a file that cannot be read or understood;
    MissingExtra for YAML without PyYAML.
    """
    text = _decoded(path)
    begin = text.lstrip()
    if begin[:1] in ("{", "["):
        entries = _from_json(path, text)
    elif re.match(r"item\s*\{", _without_comments(begin)):
        entries = list(_from_pbtxt(path, text))
    elif _YAML.search(text) or _YAML_LIST.match(_without_comments(begin)):
        entries = _from_yaml(path, text)
    else:
        entries = from_rows(path, text)
    numbered = [entry for entry in entries if entry.id is not None]
    if numbered and len(numbered) != len(entries):
        odd = next(entry for entry in entries if entry.id is None)
        raise _refused(path, odd.line, f"{odd.name!r} has no id, and others have one")
    return entries


def _decoded(path: Path) -> str:
    try:
        data = read_plain(open_plain(path), MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OptionError(f"{path} cannot be read as text ({reason}): give one class name per line") from None
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{path} cannot be read as text ({error.reason} at byte {error.start}): save it as UTF-8, "
            "one class name per line"
        ) from None


def _refused(path: Path, line: int, what: str) -> OptionError:
    place = f", line {line}" if line else ""
    return OptionError(f"{path}{place}: {what}: give one class name per line, or check the format")


# JSON


def _from_json(path: Path, text: str) -> list[Entry]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" ({error})" if isinstance(error, ValueError) else ""
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            # One object a line.
            data = [json.loads(line) for line in lines if len(lines) > 1]
        except (ValueError, RecursionError):
            data = []
        if not data:
            raise OptionError(f"{path} is not valid JSON{where}: check the file") from None
    return _listed(path, data)


_TABLES = ("id2label", "names", "label2id", "name2id", "class_to_idx")
_LISTS = ("labels", "classes", "categories", "names", "class_names", "label_names")
_NAME_KEYS = ("name", "title", "label", "display_name", "class_name", "class", "readable")
_ID_KEYS = ("trainId", "train_id", "id", "index", "class_id")
_COLOUR_KEYS = ("color", "colour", "color_rgb", "rgb", "hex")


def _listed(path: Path, data: object) -> list[Entry]:
    if isinstance(data, list):
        return [_object(path, item, number) for number, item in enumerate(data, 1)]
    if isinstance(data, Mapping):
        for key in _TABLES:
            if isinstance(data.get(key), Mapping):
                return _table(path, data[key])
        for key in _LISTS:
            if isinstance(data.get(key), list):
                return _listed(path, data[key])
        if data and all(_is_colour(value) for value in data.values()):
            coloured = enumerate(data.items(), 1)
            return [Entry(str(n).strip(), None, _colour_value(path, v, at)) for at, (n, v) in coloured]
        if data and all(isinstance(value, (str, int)) for value in data.values()):
            return _table(path, data)
    raise OptionError(
        f"{path} holds no list of classes that is known here: give a list of names, or id2label"
    )


def _is_colour(value: object) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and colour_of(value) is not None)


def _table(path: Path, table: Mapping[object, object]) -> list[Entry]:
    """``{"0": "road"}`` or ``{"road": 0}``."""
    entries = []
    for key, value in table.items():
        if isinstance(value, str) and (number := _whole(key)) is not None:
            entries.append(Entry(value.strip(), number))
        elif (number := _whole(value)) is not None and isinstance(key, str):
            entries.append(Entry(key.strip(), number))
        else:
            raise OptionError(f"{path}: {key!r}: {value!r} is no pair of an id and a name: check the file")
    return entries


def _object(path: Path, item: object, number: int) -> Entry:
    if isinstance(item, str):
        return Entry(item.strip())
    if not isinstance(item, Mapping):
        raise OptionError(f"{path}: entry {number} is {str(item)[:40]!r}: give a name, or an object with one")
    name = next((item[key] for key in _NAME_KEYS if isinstance(item.get(key), str)), None)
    if name is None:
        raise OptionError(f"{path}: entry {number} has no name ({', '.join(map(str, item))}): check the file")
    found = next((key for key in _ID_KEYS if item.get(key) is not None), None)
    # Some tools give texts as ids, which only they understand.
    number_of = None if found is None else _whole(item[found])
    colour = next((item[key] for key in _COLOUR_KEYS if item.get(key) is not None), None)
    return Entry(name.strip(), number_of, None if colour is None else _colour_value(path, colour, number))


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if re.fullmatch(r"-?\d{1,6}", text) else None


def _colour_value(path: Path, value: object, number: int) -> Colour:
    if isinstance(value, str):
        found = colour_of(value)
    else:
        parts = [_whole(part) for part in value] if isinstance(value, Sequence) else []
        # A fourth number is how opaque it is.
        found = rgb(parts[:3]) if len(parts) in (3, 4) else None
    if found is None:
        raise OptionError(f"{path}: entry {number} has the colour {str(value)[:40]!r}: give [R, G, B]")
    return found


# YAML, pbtxt


def _from_yaml(path: Path, text: str) -> list[Entry]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra("pyyaml", "convert", f"reading {path}") from None
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        raise _refused(path, line, "this is not valid YAML") from None
    names = data.get("names") if isinstance(data, Mapping) else None
    if isinstance(names, Mapping):
        return _table(path, names)
    if isinstance(names, list):
        return [
            _object(path, str(item) if isinstance(item, int) else item, n) for n, item in enumerate(names, 1)
        ]
    if names is None:
        return _listed(path, data)
    raise OptionError(f"{path}: names is {str(names)[:40]!r}, and has to be a list, or ids with their names")


def _without_comments(text: str) -> str:
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).lstrip()


_ITEM = re.compile(r"item\s*\{(?P<body>[^{}]*)\}\s*,?")
_FIELD = re.compile(r"(\w+)\s*:\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|(-?\d+))")


def _from_pbtxt(path: Path, text: str) -> Iterator[Entry]:
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        line = text.count("\n", 0, at) + 1
        match = _ITEM.match(text, at)
        if match is None:
            raise _refused(path, line, f"{rest.splitlines()[0][:40]!r} is no item {{ id, name }}")
        fields = {key: one or two or number for key, one, two, number in _FIELD.findall(match["body"])}
        name, number = fields.get("display_name") or fields.get("name"), _whole(fields.get("id", ""))
        if not name or number is None:
            raise _refused(path, line, "this item has no id or no name")
        yield Entry(name.strip(), number, None, line)
        at = match.end()
