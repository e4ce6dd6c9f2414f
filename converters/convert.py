"""From a trained model to a bundle: load, split, export, count, verify, write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import edge_vss
from edge_vss import bundle, plugins
from edge_vss import classes as class_sets
from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.converters import cost, models, verify
from edge_vss.converters.split import Network, Preprocess, Request, Split
from edge_vss.errors import BundleError, OptionError
from edge_vss.video import Size


def convert(
    model: str | Path,
    output: str | Path,
    *,
    classes: str | int,
    size: Size | None = None,
    family: str = "propagate",
    target: str = "onnx",
    factory: str | None = None,
    output_name: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float | None = None,
    bgr: bool = False,
    carry: str | None = None,
    logits: bool = False,
    policy: str = "interval:5",
    trust_pickle: bool = False,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Manifest:
    """Convert the model file ``model`` into the bundle ``output`` and return its manifest.

    ``size`` is (H, W) of the pictures the network takes; frames of other sizes are scaled to it. It may be
    left out where the file fixes it. ``classes`` names a class set (``edge_vss.classes.find``). ``mean``,
    ``std``, ``scale`` (1/255) and ``bgr`` say what the network expects (``Preprocess``). ``factory`` builds
    the network of a state dict: ``file.py:function``. ``output_name`` picks one of several outputs, by name
    or index. ``carry`` and ``options`` are the family's. An existing bundle is replaced only with ``force``,
    and only once the new one is whole.

    Raises ModelError, OptionError or BundleError; nothing is left behind then.

        convert("weights.pt", "street.vss", size=(360, 480), classes="camvid", factory="network.py:build")
    """
    model, output = Path(model), Path(output)
    split, export = plugins.find("family", family), plugins.find("target", target)
    class_set = class_sets.find(str(classes))
    prepare = _preprocess(mean, std, scale, bgr)
    _check(size, policy)
    bundle.check_target(output)
    if output.exists() and not force:
        raise BundleError(f"{output} exists: choose another name, or replace it with --force")
    network = models.load(
        model,
        classes=len(class_set),
        size=size,
        ignore=class_set.ignore,
        preprocess=prepare,
        factory=factory,
        output_name=output_name,
        trust_pickle=trust_pickle,
    )
    family_options = {**({"carry": carry} if carry else {}), **(options or {})}
    parts: Split = split(network, Request(class_set, logits, family_options))
    manifest = Manifest(
        family=family,
        options={**parts.options, "model": _understood(network, prepare, factory)},
        target=target,
        source=network.source,
        frame_size=network.size,
        classes=class_set.names,
        palette=class_set.palette,
        ignore=class_set.ignore,
        graphs=(),
        state=parts.state,
        routes=parts.routes,
        policy=policy,
        motion=parts.motion,
        tools=_tools(),
    )
    with bundle.building(output) as folder:
        graphs = []
        for part in parts.parts:
            file = export(part, folder, _metadata(manifest, part.role))
            graphs.append(
                GraphSpec(
                    part.role,
                    file,
                    bundle.sha256(folder / file),
                    part.inputs,
                    part.outputs,
                    cost.gmac(folder / file),
                )
            )
        manifest = replace(manifest, graphs=tuple(graphs))
        manifest = replace(manifest, parity=verify.parity(folder, manifest, parts))
        bundle.write(folder, manifest)
    return manifest


def _preprocess(
    mean: Sequence[float] | None, std: Sequence[float] | None, scale: float | None, bgr: bool
) -> Preprocess:
    given: dict[str, Any] = {"bgr": bgr}
    if mean is not None:
        given["mean"] = tuple(float(value) for value in mean)
    if std is not None:
        given["std"] = tuple(float(value) for value in std)
    if scale is not None:
        given["scale"] = float(scale)
    return Preprocess(**given)


def _understood(network: Network, prepare: Preprocess, factory: str | None) -> dict[str, Any]:
    # Enough for `verify` to load the model in the same way. The factory's folder is this machine's own
    # business.
    return {
        **network.notes,
        "preprocess": {**asdict(prepare), "mean": list(prepare.mean), "std": list(prepare.std)},
        **({"factory": re.split(r"[\\/]", factory)[-1]} if factory else {}),
    }


def _check(size: Size | None, policy: str) -> None:
    if size is not None and not all(8 <= extent <= 8192 for extent in size):
        raise OptionError(f"--size {size[0]}x{size[1]}: give height x width, 8 to 8192 pixels each")
    from edge_vss.runtimes.policy import parse

    parse(policy)


def _metadata(manifest: Manifest, role: str) -> dict[str, str]:
    # The contract travels in the artifact too, so that a lone file still says what it is. Graphs and parity
    # come after.
    contract = {
        key: value for key, value in asdict(manifest).items() if key not in ("graphs", "parity", "tools")
    }
    return {"edge_vss": json.dumps({"format": bundle.FORMAT, "role": role, **contract})}


def _tools() -> dict[str, str]:
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
    return {"edge-vss": edge_vss.__version__, **{package: version(package) for package in packages}}
