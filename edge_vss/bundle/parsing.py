"""A manifest from parsed JSON: every field of its kind, or an error that names the field."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge_vss.bundle.json_fields import Reader, broken, typed
from edge_vss.bundle.manifest import (
    FITS,
    FORMAT,
    KINDS,
    VERSION,
    GraphSpec,
    HeadSpec,
    Manifest,
    MotionSpec,
    StateSpec,
    TensorSpec,
)
from edge_vss.bundle.rules import check_contract
from edge_vss.errors import BundleError


def parse(data: object) -> Manifest:
    """A manifest from parsed JSON. Raises BundleError naming the key that is missing or wrong."""
    top = Reader(data, "")
    if top.get("format", str) != FORMAT:
        raise BundleError(
            f'"format" is {top.get("format", str)!r}, not {FORMAT!r}: '
            "give a bundle that `edge-vss convert` wrote"
        )
    version = top.get("version", str)
    if not re.fullmatch(r"\d{1,6}\.\d{1,6}", version):
        raise broken(f'"version" is {version!r}, and has to be like {VERSION!r}')
    if version.split(".")[0] != VERSION.split(".")[0]:
        raise BundleError(
            f"bundle version {version} is not readable here (this edge-vss reads {VERSION}): upgrade edge-vss"
        )
    motion = top.get("motion", dict, optional=True)
    manifest = Manifest(
        version=version,
        family=top.get("family", str),
        options=_options(top),
        target=top.get("target", str),
        source=_texts(top, "source"),
        frame_size=top.size("frame_size"),
        colour=top.get("colour", str),
        classes=_names(top),
        palette=_palette(top),
        ignore=top.get("ignore", int, optional=True),
        graphs=tuple(_graph(reader) for reader in top.readers("graphs")),
        state=tuple(
            StateSpec(
                r.get("name", str),
                r.shape(),
                r.dtype(),
                r.number("initial"),
                r.get("next", str, default=""),
            )
            for r in top.readers("state")
        ),
        routes={
            route: tuple(
                typed(role, str, f"routes.{route}") for role in typed(roles, list, f"routes.{route}")
            )
            for route, roles in top.get("routes", dict).items()
        },
        policy=top.get("policy", str),
        motion=None if motion is None else _motion(Reader(motion, "motion.")),
        parity=_parity(Reader(top.get("parity", dict), "parity.")),
        tools=_texts(top, "tools"),
        precision=_precision(top),
        heads=_heads(top),
        fit=_fit(top),
    )
    check_contract(manifest)
    return manifest


def _heads(top: Reader) -> tuple[HeadSpec, ...]:
    """The maps. Those of a kind that came later are left out, as is all that a reader does not know."""
    readers = top.readers("heads") if top.get("heads", list, default=[]) else []
    return tuple(_head(reader) for reader in readers if reader.get("kind", str) in KINDS)


def _head(reader: Reader) -> HeadSpec:
    name, tensor, kind = (reader.get(key, str) for key in ("name", "tensor", "kind"))
    ignore = reader.get("ignore", int, optional=True)
    return HeadSpec(name, tensor, kind, _names(reader), _palette(reader), ignore)


def _names(reader: Reader) -> tuple[str, ...]:
    return tuple(typed(name, str, f"{reader.where}classes") for name in reader.get("classes", list))


def _palette(reader: Reader) -> tuple[tuple[int, int, int], ...]:
    return tuple(_colour(entry, f"{reader.where}palette") for entry in reader.get("palette", list))


def _fit(top: Reader) -> str:
    fit: str = top.get("fit", str, default=FITS[0])
    if fit not in FITS:
        raise BundleError(f"frames are brought in by {fit!r}, which is not known: upgrade edge-vss")
    return fit


def _graph(reader: Reader) -> GraphSpec:
    specs = {
        key: tuple(TensorSpec(r.get("name", str), r.shape(), r.dtype()) for r in reader.readers(key))
        for key in ("inputs", "outputs")
    }
    return GraphSpec(
        role=reader.get("role", str),
        file=reader.get("file", str),
        sha256=reader.get("sha256", str),
        gmac=reader.number("gmac", least=0),
        data=reader.get("data", str, default=""),
        data_sha256=reader.get("data_sha256", str, default=""),
        operation=reader.get("operation", str, default=""),
        **specs,
    )


def _motion(reader: Reader) -> MotionSpec:
    names = ("units", "direction", "trace", "sampling")
    units, direction, trace, sampling = (reader.get(key, str) for key in names)
    known = (MotionSpec.units, MotionSpec.direction) == (units, direction)
    if not known or trace not in ("grid", "exact") or sampling not in ("centres", "corners"):
        raise BundleError(
            f"motion in {units}, {direction}, traced {trace!r}, read at {sampling!r} is not known: "
            "upgrade edge-vss"
        )
    return MotionSpec(reader.size("grid"), units, direction, trace, sampling)


def _texts(top: Reader, key: str) -> dict[str, str]:
    return {name: typed(value, str, f"{key}.{name}") for name, value in top.get(key, dict).items()}


def _options(top: Reader) -> dict[str, object]:
    """Free, but for the entry that says how the model was given."""
    options: dict[str, object] = top.get("options", dict)
    model = Reader(Reader(options, "options.").get("model", dict, default={}), "options.model.")
    for key, kind in (
        ("factory", str),
        ("output", str),
        ("weights", str),
        ("high", dict),
        ("preprocess", dict),
    ):
        if key in typed(model.data, dict, "options.model"):
            model.get(key, kind, optional=True)
    for key in ("outputs", "mattes"):
        for name in model.get(key, list, default=[]):
            typed(name, str, f"options.model.{key}")
    return options


def _precision(top: Reader) -> dict[str, object]:
    """Free, but for what is shown."""
    precision: dict[str, object] = top.get("precision", dict, default={"weights": "fp32"})
    reader = Reader(precision, "precision.")
    weights: str = reader.get("weights", str)
    lost = reader.get("against_fp32", dict, default={})
    if "labels_equal" in lost:
        Reader(lost, "precision.against_fp32.").number("labels_equal")
    if "calibration" in precision:
        fitted = Reader(precision["calibration"], "precision.calibration.")
        fitted.get("video", str), fitted.get("frames", int), fitted.get("measured", int, default=0)
    if "bytes" in precision:
        sizes = Reader(precision["bytes"], "precision.bytes.")
        sizes.get("fp32", int), sizes.get(weights, int)
    truth = reader.get("against_ground_truth", dict, default={})
    for name in truth:
        if truth[name] is not None:
            Reader(truth, "precision.against_ground_truth.").number(name)
    reader.get("layers", int, default=0)
    for name in reader.get("float_layers", list, default=[]):
        typed(name, str, "precision.float_layers")
    return precision


def _parity(parity: Reader) -> dict[str, object]:
    """Free, but for the numbers that are shown."""
    graphs: Mapping[str, object] = parity.get("graphs", dict, default={})
    measured = {f"graphs.{role}": found for role, found in graphs.items()}
    measured["rollout"] = parity.get("rollout", dict, default={})
    for place, found in measured.items():
        reader = Reader(found, f"parity.{place}.")
        largest = reader.get("max_abs", dict, default={})
        for name in largest:
            Reader(largest, f"parity.{place}.max_abs.").number(name)
        if "labels_equal" in typed(found, dict, f"parity.{place}"):
            reader.number("labels_equal")
    data: dict[str, object] = typed(parity.data, dict, "parity")
    return data


def _colour(entry: object, where: str) -> tuple[int, int, int]:
    values = [typed(value, int, where) for value in typed(entry, list, where)]
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise broken(f'"{where}" holds {values}, and has to hold [R, G, B] from 0 to 255')
    return values[0], values[1], values[2]
