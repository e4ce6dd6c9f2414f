"""Reading a manifest, with every MUST of it checked."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edge_vss.bundle.json_fields import Reader, broken, typed
from edge_vss.bundle.manifest import FORMAT, VERSION, GraphSpec, Manifest, MotionSpec, StateSpec, TensorSpec
from edge_vss.bundle.rules import MANIFEST, check_contract, check_files
from edge_vss.errors import BundleError


def read(path: Path, check_hashes: bool = True) -> Manifest:
    """The manifest of the bundle at ``path``, with every MUST checked. Raises BundleError, in one line.

    ``check_hashes=False`` skips reading the graph files; they still have to exist inside the folder.
    """
    path = Path(path)
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise BundleError(f"{path} {found}: a bundle is a folder that `edge-vss convert` wrote")
    try:
        data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{path} has no {MANIFEST}: it is not a bundle; make one with `edge-vss convert`"
        ) from None
    except OSError as error:
        raise BundleError(
            f"{path / MANIFEST} cannot be read ({error.strerror}): check the place and its permissions"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path / MANIFEST} is not valid JSON ({error}): convert the model again") from None
    try:
        manifest = parse(data)
        for graph in manifest.graphs:
            check_files(path, graph, check_hashes)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    return manifest


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
        options=top.get("options", dict),
        target=top.get("target", str),
        source={key: typed(value, str, f"source.{key}") for key, value in top.get("source", dict).items()},
        frame_size=top.size("frame_size"),
        colour=top.get("colour", str),
        classes=tuple(typed(name, str, "classes") for name in top.get("classes", list)),
        palette=tuple(_colour(entry) for entry in top.get("palette", list)),
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
        parity=top.get("parity", dict),
        tools=top.get("tools", dict),
        precision=top.get("precision", dict, default={"weights": "fp32"}),
    )
    check_contract(manifest)
    return manifest


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


def _colour(entry: object) -> tuple[int, int, int]:
    values = [typed(value, int, "palette") for value in typed(entry, list, "palette")]
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise broken(f'"palette" holds {values}, and has to hold [R, G, B] from 0 to 255')
    return values[0], values[1], values[2]
