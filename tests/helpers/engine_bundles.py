"""What every engine is measured by: bundles of the same networks for every target, and what torch makes of
twelve frames. ``python -m tests.helpers.engine_bundles FOLDER TARGET ...`` makes them for an environment
without torch, and the tiny bundle that many tests share.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle.manifest import Manifest

PUBLISHED: dict[str, tuple[str, tuple[int, int], dict[str, Any]]] = {
    "arseg": ("arseg", (64, 96), {"variant": "streets-bise18", "width": 0.125}),
    "lmanet": ("lmanet", (64, 72), {"variant": "erf", "memory": 3, "window": 5, "carry": "keys"}),
    "tv3s": ("tv3s", (64, 96), {"variant": "mit-b0", "window": 2, "carry": "feature"}),
}
"""Name → family, size and options."""
NETWORKS = ("labels", "scores", *PUBLISHED)
STEPS = ("start", *("nonkey",) * 5, "key", *("nonkey",) * 5)
WITH_MEMORY = ("start", *("key",) * 6, "nonkey", "nonkey", "key", "key", "nonkey")
Tensors = dict[str, NDArray[Any]]


def make(folder: Path, network: str, target: str) -> Path:
    """The bundle of a network for a target, with ``NETWORK.npz`` beside it; made once."""
    path = folder / f"{network}-{target}.vss"
    if path.exists():
        return path
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert
    from tests.helpers.conversion import SIZE, factory_file, save_state_dict

    if network in PUBLISHED:
        family, size, options = PUBLISHED[network]
        convert(Conversion(None, family=family, target=target, size=size, options=options), path)
    else:
        model, factory = save_state_dict(folder), factory_file(folder)
        convert(
            Conversion(
                model, classes=3, size=SIZE, factory=factory, target=target, options={"carry": network}
            ),
            path,
        )
    if not (folder / f"{network}.npz").exists():
        arrays: Any = _rollout(path)
        np.savez(folder / f"{network}.npz", **arrays)
    return path


def steps(manifest: Manifest) -> tuple[str, ...]:
    """The routes of the rollout."""
    return WITH_MEMORY if manifest.remembers else STEPS


def _rollout(path: Path) -> Tensors:
    """Inputs of every step, and the labels that torch gives for them."""
    import torch

    from edge_vss import bundle
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.families import split
    from edge_vss.converters.inputs import motions, pictures
    from tests.helpers.conversion import SIZE

    manifest = bundle.read(path)
    assert manifest.motion is not None
    options = {name: value for name, value in manifest.options.items() if name not in ("model", "logits")}
    conversion = Conversion(size=manifest.frame_size, family=manifest.family, options=options)
    if manifest.family == "propagate":
        folder = path.parent
        conversion = replace(
            conversion,
            model=folder / "weights.pt",
            classes=3,
            size=SIZE,
            factory=f"{folder / 'network.py'}:build",
        )
    parts = split(conversion)
    state = {name: torch.from_numpy(array) for name, array in manifest.initial_state().items()}
    images, moved = pictures(manifest.frame_size, len(STEPS)), motions(manifest.motion.grid, len(STEPS))
    made: Tensors = {}
    for step, route in enumerate(steps(manifest)):
        tensors = {"image": images[step], "motion": moved[step], **state}
        for role in manifest.routes[route]:
            part = parts.part(role)
            with torch.no_grad():
                results = part.module(*(tensors[spec.name] for spec in part.inputs))
            results = results if isinstance(results, tuple) else (results,)
            tensors |= {spec.name: value for spec, value in zip(part.outputs, results, strict=False)}
        state = manifest.next_state(tensors)
        for name in ("image", "motion", "labels"):
            made[f"{name}{step}"] = tensors[name].numpy()
    return made


if __name__ == "__main__":
    from tests.helpers.bundles import make_bundle

    made = Path(sys.argv[1])
    make_bundle(made)
    for target in sys.argv[2:]:
        for wanted in NETWORKS:
            make(made, wanted, target)
