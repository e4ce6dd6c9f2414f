"""Whether a state that was saved belongs to a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_vss.bundle.manifest import Manifest, TensorSpec
from edge_vss.errors import OptionError, StateFileError


def model_of(manifest: Manifest) -> dict[str, Any]:
    """What two bundles have to share for a state to fit both."""
    options = {name: value for name, value in manifest.options.items() if name not in ("model", "logits")}
    return {
        "family": manifest.family,
        "weights": manifest.source.get("sha256") or manifest.source.get("name", ""),
        "frame_size": list(manifest.frame_size),
        "fit": manifest.fit,
        **{f"--{name}": value for name, value in options.items()},
    }


def check_model(path: Path, manifest: Manifest, found: Mapping[str, object]) -> None:
    for name, ours in model_of(manifest).items():
        # Before 0.2 all frames were stretched, and files did not say so.
        theirs = found.get(name, "stretch" if name == "fit" else None)
        # As text: in Python true is 1, and a tuple is no list.
        if _text(theirs) == _text(ours):
            continue
        raise OptionError(
            f"{path} is the state of {name.replace('_', ' ')} {_shown(theirs)}, and this bundle has "
            f"{_shown(ours)}: use the bundle it was saved with, or start without it"
        )


def _text(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return "nested too deeply"


def _shown(value: object) -> str:
    """A value for a message: sizes as HxW, and nothing that a terminal would obey."""
    if isinstance(value, list) and all(isinstance(part, int) for part in value):
        value = "x".join(map(str, value))
    text = value if isinstance(value, str) else _text(value)
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= 80 else text[:77] + "..."


def check_tensors(path: Path, manifest: Manifest, found: tuple[TensorSpec, ...]) -> None:
    wanted = tuple(TensorSpec(state.name, state.shape, state.dtype) for state in manifest.state)
    if found == wanted:
        return
    by_name = {spec.name: spec for spec in found}
    for ours in wanted:
        theirs = by_name.get(ours.name)
        if theirs != ours:
            have = "missing" if theirs is None else f"{theirs.dtype} {theirs.shape}"
            raise OptionError(
                f"{path}: {ours.name} is {have}, and this bundle wants {ours.dtype} {ours.shape}: "
                "start without the file"
            )
    raise StateFileError(path, "it has other tensors than its model")
