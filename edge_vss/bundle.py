"""The bundle: a folder ``NAME.vss/`` with ``manifest.json`` and graph files. This file is its specification.

MUST, checked by ``read`` and by ``write``: every graph input is ``image``, ``motion``, a state tensor, or an
output of an earlier graph on the same route; every route outputs ``labels``; shapes are static; a tensor has
one shape and dtype wherever it appears; files lie inside the folder and have the recorded hash; the major
version is known. Keys that are not known are ignored, so that a newer minor version stays readable. A bundle
holds no code and no pickle.

``image`` is uint8 (1, H, W, 3) RGB at ``frame_size``. ``motion`` is float32 (1, 2, h, w): x then y, from the
current frame to the anchor, in pixels of a grid that spans the frame evenly. ``labels`` is uint8 (1, H, W). A
graph may output ``score_check`` float32 (1,): the sum of its scores, which is NaN as soon as one of them is.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edge_vss.errors import BundleError
from edge_vss.files import MANIFEST, building, check_target, recover, sha256
from edge_vss.reading import Reader, broken, typed
from edge_vss.video import Size

__all__ = [
    "FORMAT",
    "VERSION",
    "GraphSpec",
    "Manifest",
    "MotionSpec",
    "StateSpec",
    "TensorSpec",
    "building",
    "check_target",
    "parse",
    "read",
    "sha256",
    "write",
]

FORMAT = "edge-vss bundle"
VERSION = "1.1"
"""1.1 added ``data`` and ``precision``; what reads 1.0 reads it, unless a graph has ``data``."""


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor looks like where it enters or leaves a graph."""

    name: str
    shape: tuple[int, ...]
    """Static: every extent is 1 or more."""
    dtype: str
    """A numpy dtype name."""


@dataclass(frozen=True)
class GraphSpec:
    """One graph file. Inputs and outputs are ordered: some formats lose names."""

    role: str
    """``key``, ``nonkey`` or ``state``."""
    file: str
    """Path relative to the bundle, with forward slashes."""
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    gmac: float
    """Billions of multiply-accumulates in convolutions and matrix products, for one call."""
    data: str = ""
    """A second file that ``file`` finds by its name: an OpenVINO graph's weights."""
    data_sha256: str = ""


@dataclass(frozen=True)
class StateSpec:
    """A tensor that goes from one step to the next; on a start it holds ``initial`` everywhere."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    initial: float = 0.0


@dataclass(frozen=True)
class MotionSpec:
    """How ``motion`` is given. The grid spans the frame: a grid pixel is (H / h, W / w) frame pixels."""

    grid: Size
    units: str = "grid pixels"
    direction: str = "current to reference"
    trace: str = "grid"
    """``grid`` (sub-pixel, cheap) or ``exact`` (per pixel, rounded at every hop)."""
    sampling: str = "centres"
    """Read at the ``centres`` of the grid's cells, or with its outer points on the frame's outer pixels
    (``corners``)."""


@dataclass(frozen=True)
class Manifest:
    """Everything a runtime needs to know about a bundle."""

    family: str
    options: dict[str, Any]
    target: str
    source: dict[str, str]
    """``name`` and ``sha256`` of the model file."""
    frame_size: Size
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB, one per class."""
    ignore: int | None
    """The id that truth maps use for "not labelled", if any."""
    graphs: tuple[GraphSpec, ...]
    state: tuple[StateSpec, ...]
    routes: dict[str, tuple[str, ...]]
    """Route (``start``, ``key``, ``nonkey``) → roles of the graphs to call, in order."""
    policy: str
    motion: MotionSpec | None
    colour: str = "RGB"
    parity: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=lambda: {"weights": "fp32"})
    """``weights``: ``fp32``, ``fp16`` or ``int8``; and below fp32, what that loses (``against_fp32``)."""
    version: str = VERSION

    def graph(self, role: str) -> GraphSpec:
        """The graph with a role; BundleError if the bundle has none."""
        for graph in self.graphs:
            if graph.role == role:
                return graph
        present = ", ".join(graph.role for graph in self.graphs) or "no graphs"
        raise broken(f"no graph has the role {role!r} (this bundle has {present})")

    def gmac_per_frame(self, key_share: float) -> float:
        """Average cost in GMAC when ``key_share`` (0 to 1) of the frames take the key route.

        AR-Seg supplement, Eq. 1, with 1/L as the share of key frames.
        """
        key = self._route_gmac("key" if "key" in self.routes else "start")
        nonkey = self._route_gmac("nonkey") if "nonkey" in self.routes else key
        return key_share * key + (1 - key_share) * nonkey

    def _route_gmac(self, route: str) -> float:
        return sum(self.graph(role).gmac for role in self.routes[route])


def read(path: Path, check_hashes: bool = True) -> Manifest:
    """The manifest of the bundle at ``path``, with every MUST checked. Raises BundleError, in one line.

    A bundle that a killed process left aside is brought back first.
    ``check_hashes=False`` skips reading the graph files; they still have to exist inside the folder.
    """
    path = Path(path)
    recover(path)
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
            _check_file(path, graph, check_hashes)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    return manifest


def write(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, checked as ``read`` would check it. The graph files are already there."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1, allow_nan=False)
    parse(json.loads(text))
    for graph in manifest.graphs:
        _check_file(folder, graph, check_hash=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


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
            StateSpec(r.get("name", str), r.shape(), r.dtype(), r.number("initial"))
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
    _check_contract(manifest)
    return manifest


def _check_contract(manifest: Manifest) -> None:
    if manifest.colour != "RGB":
        raise broken(f'"colour" is {manifest.colour!r}, and has to be "RGB"')
    if not 1 <= len(manifest.classes) <= 255 or len(manifest.palette) != len(manifest.classes):
        raise broken(
            f"{len(manifest.classes)} classes with {len(manifest.palette)} colours, "
            "where 1 to 255 of both are wanted, and as many"
        )
    if manifest.ignore is not None and not 0 <= manifest.ignore <= 255:
        raise broken(f'"ignore" is {manifest.ignore}, and has to be 0 to 255')
    roles = [graph.role for graph in manifest.graphs]
    if len(set(roles)) != len(roles):
        raise broken(f"two graphs have the same role ({', '.join(roles)})")
    named = {"state": [state.name for state in manifest.state]}
    for graph in manifest.graphs:
        named[f"{graph.role}'s inputs"] = [spec.name for spec in graph.inputs]
        named[f"{graph.role}'s outputs"] = [spec.name for spec in graph.outputs]
    for what, names in named.items():
        if len(set(names)) != len(names):
            raise broken(f"two tensors of the {what} have the same name ({', '.join(names)})")
    for state in manifest.state:
        if state.dtype == "uint8" and not 0 <= state.initial <= 255:
            raise broken(f"the state {state.name!r} starts as {state.initial:g}, which uint8 cannot hold")
    if "start" not in manifest.routes:
        raise broken('"routes" has no "start"')
    height, width = manifest.frame_size
    seen = {
        "image": TensorSpec("image", (1, height, width, 3), "uint8"),
        "labels": TensorSpec("labels", (1, height, width), "uint8"),
        "score_check": TensorSpec("score_check", (1,), "float32"),
        **{state.name: TensorSpec(state.name, state.shape, state.dtype) for state in manifest.state},
    }
    if manifest.motion is not None:
        seen["motion"] = TensorSpec("motion", (1, 2, *manifest.motion.grid), "float32")
    given = {"image", *(state.name for state in manifest.state), *(("motion",) if manifest.motion else ())}
    for route, route_roles in manifest.routes.items():
        available, produced = set(given), set[str]()
        for role in route_roles:
            graph = manifest.graph(role)
            for spec in graph.inputs + graph.outputs:
                if seen.setdefault(spec.name, spec) != spec:
                    raise broken(f"{role}: {_show(spec)} is {_show(seen[spec.name])} elsewhere")
            if missing := [spec.name for spec in graph.inputs if spec.name not in available]:
                raise broken(f"{role} reads {missing[0]!r} on the {route} route, where nothing gives it")
            produced |= {spec.name for spec in graph.outputs}
            available |= produced
        if "labels" not in produced:
            raise broken(f'the {route} route gives no "labels"')
    written = {spec.name for graph in manifest.graphs for spec in graph.outputs}
    if constant := [state.name for state in manifest.state if state.name not in written]:
        raise broken(f"no graph writes the state {constant[0]!r}")


def _check_file(folder: Path, graph: GraphSpec, check_hash: bool) -> None:
    _check_one(folder, graph, graph.file, graph.sha256 if check_hash else None)
    if graph.data:
        _check_one(folder, graph, graph.data, graph.data_sha256 if check_hash else None)


def _check_one(folder: Path, graph: GraphSpec, name: str, digest: str | None) -> None:
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or re.search(r"[\\:\0]", name):
        raise BundleError(f"the file {name!r} of {graph.role} leaves the bundle: do not use this bundle")
    file = folder / relative
    try:
        _check_place(folder, file, graph.role, name)
        if digest is not None and sha256(file) != digest:
            raise BundleError(
                f"{name} is altered (its SHA-256 is not the recorded one): convert the model again"
            )
    except (OSError, ValueError) as error:  # a name that no file can have raises the latter
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(
            f"{name[:80]!r} cannot be read ({reason}): check permissions, or convert the model again"
        ) from None


def _check_place(folder: Path, file: Path, role: str, name: str) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"the file {name!r} of {role} leaves the bundle by a link: do not use this bundle")
    if not file.is_file():
        raise BundleError(f"the file {name} of {role} is missing: convert the model again")


def _show(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {spec.shape}"


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
