"""What a model's file says of itself, as exporters write it: class names, pixels, size, task."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_vss.classes import MOST_NAME, ClassSet, from_names
from edge_vss.converters.conversion import Preprocess
from edge_vss.converters.readers._kinds import refuse_task
from edge_vss.errors import ModelError
from edge_vss.video import Size

MOST_TEXT = 1 << 20
NAMES = ("names", "class_names", "classes", "labels", "id2label")
"""Keys under which exporters keep class names; Ultralytics says ``names``."""
PIXEL_FORMAT, PIXEL_RANGE = "Image.BitmapPixelFormat", "Image.NominalPixelRange"
"""Keys of ONNX's own convention for pictures (MetadataProps.md)."""
RANGES = {
    "NominalRange_0_255": Preprocess(scale=1.0),
    "Normalized_0_1": Preprocess(),
    "Normalized_1_1": Preprocess(mean=(0.5,) * 3, std=(0.5,) * 3),
}


@dataclass(frozen=True)
class Said:
    """What is said; None for what is not."""

    classes: ClassSet | None = None
    preprocess: Preprocess | None = None
    size: Size | None = None


def of_texts(path: Path, entries: Mapping[str, object]) -> Said:
    """Of entries as ONNX keeps them, and as Ultralytics writes them into any format.

    Raises ModelError where the task is another than semantic segmentation.
    """
    if task := str(entries.get("task", "")):
        refuse_task(path, task)
    classes = next((found for key in NAMES if (found := class_names(entries.get(key)))), None)
    sides = value_of(entries.get("imgsz"))
    sides = [sides, sides] if isinstance(sides, int) else sides
    size = None
    if isinstance(sides, Sequence) and len(sides) == 2 and all(type(side) is int for side in sides):
        size = (int(sides[0]), int(sides[1]))
    return Said(classes, _pixels(entries), size)


def of_model_info(path: Path, info: Mapping[str, str]) -> Said:
    """Of OpenVINO's ``model_info``, as Model API and Ultralytics write it.

    A picture has blue first there, unless ``reverse_input_channels`` is set. Means and scales are of pixels
    from 0 to 255, in the order of the network's channels. Raises ModelError like `of_texts`.
    """
    refuse_task(path, info.get("task", "") or info.get("model_type", ""))
    classes = class_names(info.get("labels", "").split())
    inside = _is_true(info.get("embedded_processing", ""))
    keys = [key for key in ("mean_values", "scale_values") if info.get(key, "").strip() and not inside]
    reversing = info.get("reverse_input_channels", "").strip()
    if not keys and not reversing and not inside:
        return Said(classes)
    bgr = inside or (bool(reversing) and not _is_true(reversing))
    if not keys:
        return Said(classes, Preprocess(bgr=bgr))
    mean, std = (_three(path, key, info.get(key, ""), usual) for key, usual in _MODEL_API)
    return Said(classes, Preprocess(mean, std, 1.0, bgr))


_MODEL_API = (("mean_values", 0.0), ("scale_values", 1.0))


def class_names(value: object) -> ClassSet | None:
    """A class set of a list of names or of id → name, as they are or as a text; None where that is none."""
    value = value_of(value)
    if isinstance(value, Mapping):
        try:
            names = {int(key): name for key, name in value.items()}
        except (TypeError, ValueError):
            return None
        value = [names.get(index) for index in range(len(names))]
    if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= 255:
        return None
    texts = [name for name in value if isinstance(name, str) and 0 < len(name) <= MOST_NAME]
    return from_names(texts) if len(texts) == len(value) else None


def value_of(value: object) -> object:
    """What a text means as JSON or as a Python literal; None where it is neither. Others stay."""
    if not isinstance(value, str):
        return value
    broken = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
    found: object = None
    with suppress(*broken):
        found = json.loads(value[:MOST_TEXT])
    if found is None:
        with suppress(*broken):
            found = ast.literal_eval(value[:MOST_TEXT].strip())
    return found


def _pixels(entries: Mapping[str, object]) -> Preprocess | None:
    form, span = str(entries.get(PIXEL_FORMAT, "")), str(entries.get(PIXEL_RANGE, ""))
    if not form.lower().startswith(("rgb", "bgr")) and span not in RANGES:
        return None
    usual = RANGES.get(span, Preprocess())
    return Preprocess(usual.mean, usual.std, usual.scale, form.lower().startswith("bgr"))


def order_alone(prepare: Preprocess | None) -> Preprocess | None:
    """Of a network that scales its pixels itself, only the order of channels is left to say."""
    return None if prepare is None else Preprocess(bgr=prepare.bgr)


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "yes", "1")


def _three(path: Path, key: str, text: str, usual: float) -> tuple[float, ...]:
    try:
        numbers = [float(part) for part in re.split(r"[\s,\[\]()]+", text) if part] or [usual]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise ModelError(
            f"{path} says {key} {text[:60]!r}, which are no three numbers: give --mean and --std"
        )
    return tuple(numbers * 3 if len(numbers) == 1 else numbers)
