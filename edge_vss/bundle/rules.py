"""Every MUST of the bundle (docs/bundle.md), as a check."""

from __future__ import annotations

import errno
import math
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edge_vss.bundle.artifacts import check_content, check_names
from edge_vss.bundle.json_fields import broken
from edge_vss.bundle.manifest import KINDS, GraphSpec, HeadSpec, Manifest, StateSpec, TensorSpec
from edge_vss.errors import BundleError
from edge_vss.files import open_inside, sha256_of

MANIFEST = "manifest.json"
MOST_BYTES = 2 << 30
"""Of all tensors that a manifest describes, together: four times what a 4K picture with its scores takes."""
MOST = {"graphs": 64, "state": 256, "routes": 16, "heads": 16}
"""Entries of each list."""
MOST_TENSORS = 256
"""Inputs or outputs of one graph."""
MOST_ROLES = 64
"""Graphs on one route."""
_RESERVED = ("image", "motion", "labels", "score_check")


def check_contract(manifest: Manifest) -> None:
    """Names, shapes, routes and state fit together. Raises BundleError for the first that does not."""
    if manifest.colour != "RGB":
        raise broken(f'"colour" is {manifest.colour!r}, and has to be "RGB"')
    _check_counts(manifest)
    _check_heads(manifest)
    reserved = (*_RESERVED, *(head.tensor for head in manifest.maps))
    roles = [graph.role for graph in manifest.graphs]
    if len(set(roles)) != len(roles):
        raise broken(f"two graphs have the same role ({', '.join(roles)})")
    lists: list[tuple[str, list[str], tuple[str, ...]]] = [
        ("state", [state.name for state in manifest.state], reserved)
    ]
    for graph in manifest.graphs:
        lists += [
            (f"{graph.role}'s inputs", [spec.name for spec in graph.inputs], ()),
            (f"{graph.role}'s outputs", [spec.name for spec in graph.outputs], _RESERVED[:2]),
        ]
    for what, names, kept in lists:
        if len(set(names)) != len(names):
            raise broken(f"two tensors of the {what} have the same name ({', '.join(names)})")
        if taken := [name for name in names if name in kept]:
            raise broken(f"a tensor of the {what} is called {taken[0]!r}, which has a meaning of its own")
    for state in manifest.state:
        if not _can_hold(state):
            raise broken(
                f"the state {state.name!r} starts as {state.initial:g}, which {state.dtype} cannot hold"
            )
    if "start" not in manifest.routes:
        raise broken('"routes" has no "start"')
    _check_shapes(manifest)
    for graph in manifest.graphs:
        _check_operation(graph)
    at_first = {"image", *(state.name for state in manifest.state), *(("motion",) if manifest.motion else ())}
    for route, route_roles in manifest.routes.items():
        available, produced = set(at_first), set[str]()
        for role in route_roles:
            graph = manifest.graph(role)
            if missing := [spec.name for spec in graph.inputs if spec.name not in available]:
                raise broken(f"{role} reads {missing[0]!r} on the {route} route, where nothing gives it")
            produced |= {spec.name for spec in graph.outputs}
            available |= produced
        if absent := [head.tensor for head in manifest.maps if head.tensor not in produced]:
            raise broken(f'the {route} route gives no "{absent[0]}"')
    written = {spec.name for graph in manifest.graphs for spec in graph.outputs}
    if constant := [state.name for state in manifest.state if (state.next or state.name) not in written]:
        raise broken(f"no graph writes the state {constant[0]!r}")
    check_names(manifest)


_HEAD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-]|[A-Za-z0-9_]")
"""A folder is called so, and nothing in it leads elsewhere."""


def _check_heads(manifest: Manifest) -> None:
    """Raise BundleError for maps that are not described as bundle.md has it."""
    names = [head.name.casefold() for head in manifest.maps]
    tensors = [head.tensor for head in manifest.maps]
    if len(set(names)) != len(names) or len(set(tensors)) != len(tensors):
        raise broken(f"two heads have one name or one tensor ({', '.join(names)})")
    if tensors[0] != "labels":
        raise broken(f"the first head is the tensor {tensors[0]!r}, and has to be 'labels'")
    for head in manifest.maps:
        _check_head(head, f"{head.name!r}: " if manifest.heads else "")
    first = manifest.maps[0]
    if (first.classes, first.palette, first.ignore) != (manifest.classes, manifest.palette, manifest.ignore):
        raise broken("the first head has other classes, colours or ignored id than the bundle")


def _check_head(head: HeadSpec, where: str) -> None:
    if not _HEAD_NAME.fullmatch(head.name):
        raise broken(f"the head {head.name!r} wants a name of letters, digits, _, . and -")
    if head.kind not in KINDS or not head.tensor.startswith(head.kind):
        raise broken(
            f"{where}a head of the kind {head.kind!r} is the tensor {head.tensor!r}, and it wants "
            "labels... or matte..., like its kind"
        )
    if head.is_matte:
        if head.classes or head.palette or head.ignore is not None:
            raise broken(f"{where}a matte has no classes, colours or ignored id")
        return
    if not 1 <= len(head.classes) <= 255 or len(head.palette) != len(head.classes):
        raise broken(
            f"{where}{len(head.classes)} classes with {len(head.palette)} colours, "
            "where 1 to 255 of both are wanted, and as many"
        )
    if head.ignore is not None and not 0 <= head.ignore <= 255:
        raise broken(f'{where}"ignore" is {head.ignore}, and has to be 0 to 255')


WARP_LABELS = "warp-labels@1"
MOST_WARPED = 8192
"""Extent of a map that it moves."""


def _check_operation(graph: GraphSpec) -> None:
    """Raise BundleError for a graph that cannot be the operation it is said to be. Those that are not known
    are left to the engine."""
    if graph.operation != WARP_LABELS:
        return
    maps, motion = graph.inputs[:-1], graph.inputs[-1:]
    kinds = {(spec.shape, spec.dtype) for spec in (*maps, *graph.outputs)}
    shape, dtype = next(iter(kinds), ((), ""))
    fits = (
        len(kinds) == 1
        and dtype == "uint8"
        and len(shape) == 3
        and shape[0] == 1
        and max(shape) <= MOST_WARPED
    )
    if not fits or len(maps) != len(graph.outputs) or [spec.name for spec in motion] != ["motion"]:
        raise broken(
            f"{graph.role} is said to be {WARP_LABELS}, which takes maps and then motion, "
            "and gives as many maps"
        )


def _check_shapes(manifest: Manifest) -> None:
    """A tensor has one shape and dtype wherever it appears, and all of them together fit."""
    height, width = manifest.frame_size
    known = [
        TensorSpec("image", (1, height, width, 3), "uint8"),
        TensorSpec("score_check", (1,), "float32"),
        *(TensorSpec(head.tensor, (1, height, width), "uint8") for head in manifest.maps),
    ]
    if manifest.motion is not None:
        known.append(TensorSpec("motion", (1, 2, *manifest.motion.grid), "float32"))
    seen = {spec.name: spec for spec in known}
    places = [
        ("state", TensorSpec(name, state.shape, state.dtype))
        for state in manifest.state
        for name in (state.name, state.next)
        if name
    ]
    places += [(graph.role, spec) for graph in manifest.graphs for spec in graph.inputs + graph.outputs]
    for place, spec in places:
        if seen.setdefault(spec.name, spec) != spec:
            raise broken(f"{place}: {_show(spec)} is {_show(seen[spec.name])} elsewhere")
    total = sum(_nbytes(spec) for spec in seen.values())
    if total > MOST_BYTES:
        raise broken(
            f"the tensors take {total / 1e9:.1f} GB together, and {MOST_BYTES / 1e9:.1f} GB is the most"
        )


def _check_counts(manifest: Manifest) -> None:
    counts = [(f'"{name}"', len(getattr(manifest, name)), most) for name, most in MOST.items()]
    for graph in manifest.graphs:
        counts += [
            (f"the inputs of {graph.role}", len(graph.inputs), MOST_TENSORS),
            (f"the outputs of {graph.role}", len(graph.outputs), MOST_TENSORS),
        ]
    counts += [(f"the route {route}", len(roles), MOST_ROLES) for route, roles in manifest.routes.items()]
    for what, count, most in counts:
        if count > most:
            raise broken(f"{what} has {count} entries, and {most} is the most")


def _can_hold(state: StateSpec) -> bool:
    kind = np.dtype(state.dtype)
    if kind.kind == "f":
        return abs(state.initial) <= float(np.finfo(kind).max)
    least, most = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    return state.initial.is_integer() and least <= int(state.initial) <= most


def _nbytes(spec: TensorSpec) -> int:
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


Stamp = tuple[int, int, int, int, int]
"""What changes where a file is changed or replaced: device, inode, size, and the times of both."""


def check_files(folder: Path, target: str, graph: GraphSpec, check_hash: bool = True) -> dict[str, Stamp]:
    """A graph's files are plain files in the folder, the recorded ones, and of the kind of ``target``.

    Gives the stamp of each file, by name. Raises BundleError for the first that is wrong. Without
    ``check_hash`` nothing is read.
    """
    listed = [(graph.file, graph.sha256)] + [(graph.data, graph.data_sha256)] * bool(graph.data)
    return {name: _check_one(folder, target, graph, name, digest, check_hash) for name, digest in listed}


def stamp(folder: Path, name: str) -> Stamp | None:
    """The stamp of a file of the bundle now; None where it cannot be opened any more."""
    try:
        with open_inside(folder, name) as file:
            return _stamp(file)
    except OSError:
        return None


def _check_one(
    folder: Path, target: str, graph: GraphSpec, name: str, digest: str, check_hash: bool
) -> Stamp:
    try:
        with open_inside(folder, name) as file:
            if check_hash:
                if sha256_of(file) != digest:
                    raise BundleError(
                        f"{name} is altered (its SHA-256 is not the recorded one): convert the model again"
                    )
                if name == graph.file:
                    file.seek(0)
                    check_content(target, graph, file)
            return _stamp(file)
    except FileNotFoundError:
        raise BundleError(f"the file {name} of {graph.role} is missing: convert the model again") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BundleError(
                f"the file {name!r} of {graph.role} is reached by a link: do not use this bundle"
            ) from None
        raise BundleError(
            f"{name!r} cannot be read ({error.strerror}): check permissions, or convert the model again"
        ) from None


def _stamp(file: BinaryIO) -> Stamp:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _show(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {spec.shape}"
