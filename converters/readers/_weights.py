"""Weights of state dicts and checkpoints: the sets in a file, and the one that fits a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge_vss.converters.readers._saved import opened
from edge_vss.errors import MissingExtra, ModelError, OptionError, one_line
from edge_vss.plugins import LOG
from edge_vss.text import printable

MOST_CLAIMED = 4
"""How many times the file's size a set of weights may have. Two names may share one tensor."""
MOST_DEEP = 3
"""Dicts within each other that are looked into for weights."""
MOST_SAFETENSORS_HEADER = 100_000_000
"""Bytes; the limit of the safetensors package."""
USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params", "weights")
"""Keys under which training scripts keep weights; of several sets the first one is taken."""
AVERAGED = "ema"
"""Part of a set's name which holds averaged weights: those are the ones that a training is judged by."""
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch puts into names where a module, or one inside of it, is compiled, sharded or recomputed."""
SPREAD = "module."
"""What DataParallel and DistributedDataParallel put before each name."""

Weights = Mapping[str, Tensor]
Sets = Mapping[str, Weights]
"""The sets of weights in a file, by the way to them: ``state_dict``, ``ema.shadow``, or empty for the top."""


@dataclass(frozen=True)
class Fitted:
    """Which weights of a file a network has got."""

    name: str
    """The set's name, and its prefix where the set holds several; empty for the file's only one."""
    prefix: str
    """What was taken off each name, or empty."""
    added: str
    """What was put before each name, or empty."""
    others: tuple[str, ...]
    """Names of the sets that would have fitted too."""
    left_out: tuple[str, ...]
    """Names in the same set that belong to something else, as a loss."""

    @property
    def notes(self) -> dict[str, str]:
        """What there is to say of it, for the manifest."""
        said = {"weights": self.name, "weights_instead_of": ", ".join(self.others)}
        said |= {"prefix_removed": self.prefix, "prefix_added": self.added}
        said["left_out"] = ", ".join(self.left_out[:5]) + (", ..." if len(self.left_out) > 5 else "")
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True)
class _Candidate:
    """A way to read a set: which of its names stands for each of the network's."""

    at: str
    prefix: str
    names: Mapping[str, str]
    """The network's name → the file's."""
    misfit: int
    """How many names are missing, too many, or of another shape."""
    left_out: tuple[str, ...]
    added: str = ""

    @property
    def full(self) -> str:
        return ".".join(part for part in (self.at, self.prefix.rstrip(".")) if part)


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins so is one of safetensors: a header's length, then its JSON."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= MOST_SAFETENSORS_HEADER


def read(path: Path) -> dict[str, Tensor]:
    """The `usual` weights in a file by name. Raises ModelError."""
    return usual(path, read_sets(path))


def usual(path: Path, sets: Sets) -> dict[str, Tensor]:
    """Of several sets the usual one, which is then logged, without the prefixes of training."""
    weights = dict(sets[picked(path, sets)[0]])
    while weights and all(key.startswith(SPREAD) for key in weights):
        weights = {key.removeprefix(SPREAD): value for key, value in weights.items()}
    return weights


def read_sets(path: Path) -> Sets:
    """All sets of weights in a file of ``torch.save`` or of safetensors. Raises ModelError."""
    with path.open("rb") as file:
        start = file.read(9)
    return sets_of(path, _safetensors(path) if is_safetensors(start) else opened(path))


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtra("safetensors", "convert", "reading a safetensors file") from None
    try:
        return dict(load_file(str(path), device="cpu"))
    except Exception as error:  # safetensors has a class of its own, and torch raises others
        raise ModelError(
            f"{path} is a damaged safetensors file ({one_line(error)}): copy or download it again"
        ) from None


def sets_of(path: Path, content: object) -> Sets:
    """The sets of weights in what a file holds. Names are without what torch puts into them (``WRAPPERS``).

    Raises ModelError where there are none, or where one claims more memory than the file is large.
    """
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds a {type(content).__name__}: save model.state_dict() instead")
    found: dict[str, dict[str, Tensor]] = {}
    seen = set[int]()
    waiting: list[tuple[str, Mapping[object, object], int]] = [("", content, 0)]
    while waiting:
        at, here, depth = waiting.pop(0)
        if id(here) in seen or depth > MOST_DEEP:
            continue
        seen.add(id(here))
        named = {key: value for key, value in here.items() if isinstance(key, str)}
        weights = {_bare(key): value for key, value in named.items() if isinstance(value, Tensor)}
        if weights:
            found[at] = weights
        waiting += [
            (f"{at}.{key}" if at else key, value, depth + 1)
            for key, value in named.items()
            if isinstance(value, Mapping)
        ]
    if not found:
        names = [key for key in content if isinstance(key, str)][:5]
        raise ModelError(f"{path} holds a dict without weights ({', '.join(names)}): save model.state_dict()")
    # One number may stand for a thousand million: a tensor can repeat what it holds.
    claimed = max(
        sum(value.numel() * value.element_size() for value in weights.values()) for weights in found.values()
    )
    if claimed > MOST_CLAIMED * path.stat().st_size + (1 << 20):
        raise ModelError(
            f"{path} claims {claimed / 1e6:.0f} MB of weights, more than the file holds: do not use this file"
        )
    return found


def picked(path: Path, names: Iterable[str], asked: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Of what a file holds, the name that was ``asked`` for or else the usual one, and the other names.

    What is taken unasked is logged. Raises OptionError for a name that is not there.
    """
    ranked = sorted(names, key=_rank)
    if asked is not None and asked not in ranked:
        there = ", ".join(filter(None, ranked)) or "only one set of weights, without a name"
        raise OptionError(f"--weights-key {asked}: {path} has {there}")
    name = ranked[0] if asked is None else asked
    if asked is None and len(ranked) > 1:
        there, taken = printable(", ".join(ranked)), printable(name)
        LOG.warning("%s holds the weights %s: took %s; choose with --weights-key", path, there, taken)
    return name, tuple(other for other in ranked if other != name)


def _bare(name: str) -> str:
    for mark in WRAPPERS:
        name = name.replace(mark, "")
    return name


def _rank(name: str) -> tuple[bool, int]:
    """Where a set stands among others: averaged weights first, then the usual names."""
    place = next((at for at, usual in enumerate(USUAL) if name.split(".")[0] == usual), len(USUAL))
    return AVERAGED not in name.lower().replace(".", "_").split("_"), place


def fill(
    network: torch.nn.Module, sets: Sets, path: Path, what: str, check: str, asked: str | None = None
) -> Fitted:
    """Give ``network``, which the user knows as ``what``, a set of weights from ``path``, every one of them:
    the set that was ``asked`` for, else the first that fits.

    One prefix that all names of a set share may be taken off, or may be missing. Raises ModelError that names
    the keys missing, unexpected or of another shape, and what to ``check``; OptionError for a set that is not
    there.
    """
    own = {_bare(name): tensor for name, tensor in network.state_dict().items()}
    ways = [way for at in sorted(sets, key=_rank) for way in _ways(own, at, sets[at])]
    if asked is not None and asked not in {way.full for way in ways}:
        picked(path, sets, asked)
    if asked is not None:
        ways = [way for way in ways if asked in (way.at, way.full)]
    fitting = sorted((way for way in ways if not way.misfit), key=lambda way: _rank(way.full))
    if not fitting:
        nearest = min(ways, key=lambda way: way.misfit)
        raise ModelError(_complaint(own, sets[nearest.at], nearest, path, what, check))
    # A prefix tells sets apart only where one dict holds several.
    alone = {way.at for way in fitting if sum(way.at == other.at for other in fitting) == 1}
    named = {
        way.at if way.at in alone and (way.at or len(fitting) == 1) else way.full: way for way in fitting
    }
    name, others = picked(path, named) if asked is None else (asked, ())
    chosen = named[name] if asked is None else fitting[0]
    bare = {_bare(name): name for name in network.state_dict()}
    weights = sets[chosen.at]
    network.load_state_dict({bare[key]: weights[name] for key, name in chosen.names.items()}, strict=False)
    return Fitted(name, chosen.prefix, chosen.added, others, chosen.left_out)


def _ways(own: Weights, at: str, weights: Weights) -> list[_Candidate]:
    """The ways in which a set may stand for a network's weights, as it is and with a prefix off."""
    needed = [name for name in own if not _counts(name)]
    if not needed:
        return [_way(own, at, weights, "", "")]
    first = needed[0]
    off = {name.removesuffix(first) for name in weights if name.endswith(f".{first}")}
    ways = [_way(own, at, weights, prefix, "") for prefix in ("", *sorted(off, key=len))]
    shared = ""
    for part in first.split(".")[:-1]:
        shared += f"{part}."
        if all(name.startswith(shared) for name in own):
            ways.append(_way(own, at, weights, "", shared))
    return ways


def _way(own: Weights, at: str, weights: Weights, prefix: str, added: str) -> _Candidate:
    names = {name: prefix + name.removeprefix(added) for name in own}
    there = {name: other for name, other in names.items() if other in weights}
    wrong = sum(own[name].shape != weights[other].shape for name, other in there.items())
    missing = sum(not _counts(name) for name in own if name not in there)
    taken = set(there.values())
    besides = [name for name in weights if name not in taken]
    inside = [name for name in besides if name.startswith(prefix)]
    left_out = tuple(name for name in besides if not name.startswith(prefix))
    return _Candidate(at, prefix, there, wrong + missing + len(inside), left_out, added)


def _counts(name: str) -> bool:
    # Counts of batches play no part in inference, and checkpoints from before PyTorch 0.4.1 have none.
    return name.endswith("num_batches_tracked")


def _complaint(own: Weights, weights: Weights, way: _Candidate, path: Path, what: str, check: str) -> str:
    wrong = [name for name, other in way.names.items() if own[name].shape != weights[other].shape]
    if wrong:
        found = way.names[wrong[0]]
        return (
            f"{path} has {found} {tuple(weights[found].shape)}, {what} wants {tuple(own[wrong[0]].shape)}"
            f"{f' and {len(wrong) - 1} more like it' if len(wrong) > 1 else ''}: check {check}"
        )
    missing = [name for name in own if name not in way.names and not _counts(name)]
    taken = set(way.names.values())
    unexpected = [name for name in weights if name.startswith(way.prefix) and name not in taken]
    parts = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    return f"{path} is not made for {what}: {' and '.join(parts)}; check {check}"
