"""Every MUST of the bundle (edge_vss.bundle), as a check."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from edge_vss.bundle.json_fields import broken
from edge_vss.bundle.manifest import GraphSpec, Manifest, TensorSpec
from edge_vss.errors import BundleError
from edge_vss.files import sha256

MANIFEST = "manifest.json"


def check_contract(manifest: Manifest) -> None:
    """Names, shapes, routes and state fit together. Raises BundleError for the first that does not."""
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
        **{
            name: TensorSpec(name, state.shape, state.dtype)
            for state in manifest.state
            for name in (state.name, state.next)
            if name
        },
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
    if constant := [state.name for state in manifest.state if (state.next or state.name) not in written]:
        raise broken(f"no graph writes the state {constant[0]!r}")


def check_files(folder: Path, graph: GraphSpec, check_hash: bool) -> None:
    """A graph's files lie in the folder and are the recorded ones. Raises BundleError where not."""
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
