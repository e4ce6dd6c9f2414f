"""From a trained model to a bundle: load, split, export, count, verify, write."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import edge_vss
from edge_vss import bundle
from edge_vss import classes as class_sets
from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.converters import quantize, verify
from edge_vss.converters.families import FAMILIES
from edge_vss.converters.readers._file_kind import sniff
from edge_vss.converters.targets import TARGETS
from edge_vss.converters.values import Artifact, Part, Request, Source, Split
from edge_vss.errors import BundleError, OptionError
from edge_vss.files import sha256
from edge_vss.video import Size


def convert(
    model: str | Path | None,
    output: str | Path,
    *,
    classes: str | int | None = None,
    size: Size | None = None,
    family: str = "propagate",
    target: str | None = None,
    factory: str | None = None,
    output_name: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float | None = None,
    bgr: bool = False,
    carry: str | None = None,
    logits: bool = False,
    policy: str | None = None,
    precision: str = "fp32",
    calibrate: str | Path | None = None,
    ground_truth: str | Path | None = None,
    ignore: int | None = None,
    trust_pickle: bool = False,
    force: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Manifest:
    """Convert the model file ``model`` into the bundle ``output`` and return its manifest.

    ``size`` is (H, W) of the pictures the network takes; frames of other sizes are scaled to it. It may be
    left out where the file fixes it. ``classes`` names a class set (``edge_vss.classes.find``). ``mean``,
    ``std``, ``scale`` (1/255) and ``bgr`` say what the network expects (``Preprocess``); family ``arseg``
    takes ``scale`` as that of its small pictures. ``factory`` builds the network of a state dict:
    ``file.py:function``. ``output_name`` picks one of several outputs, by name or index. ``carry`` and
    ``options`` are the family's. Without a model (None) the network has no trained weights: enough to learn
    how fast it is.

    ``target`` is ``onnx``, ``openvino`` or ``tflite``; by default, what a given graph is, and else ``onnx``.
    ``precision`` is ``fp32``, ``fp16`` (weights only) or ``int8``, which is fitted to the frames of the video
    ``calibrate``; what it loses there is recorded, against the fp32 labels and, with ``ground_truth`` (a
    folder of label maps, in which ``ignore`` counts for nothing), against those.

    An existing bundle is replaced only with ``force``, and only once the new one is whole.

    Raises ModelError, OptionError or BundleError; nothing is left behind then.

        convert("weights.pt", "street.vss", size=(360, 480), classes="camvid", factory="network.py:build")
    """
    output = Path(output)
    target = target or _target(model)
    split, export = FAMILIES.find(family).call, TARGETS.find(target).call
    class_set = None if classes is None else class_sets.find(str(classes))
    _check(size, policy)
    video, maps = (None if place is None else Path(place) for place in (calibrate, ground_truth))
    quantize.check(precision, video, maps)
    bundle.check_target(output)
    if output.exists() and not force:
        raise BundleError(f"{output} exists: choose another name, or replace it with --force")
    source = Source(
        path=None if model is None else Path(model),
        size=size,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        scale=scale,
        bgr=bgr,
        factory=factory,
        output_name=output_name,
        trust_pickle=trust_pickle,
    )
    family_options = {**({"carry": carry} if carry else {}), **(options or {})}
    parts: Split = split(source, Request(class_set, logits, family_options))
    manifest = Manifest(
        family=family,
        options={**parts.options, "model": parts.notes},
        target=target,
        source=parts.source,
        frame_size=parts.size,
        classes=parts.classes.names,
        palette=parts.classes.palette,
        ignore=parts.classes.ignore,
        graphs=(),
        state=parts.state,
        routes=parts.routes,
        policy=policy or parts.policy,
        motion=parts.motion,
    )
    with bundle.building(output) as folder:
        metadata = {part.role: _metadata(manifest, part.role) for part in parts.parts}
        written = export(parts.parts, folder, metadata)
        manifest = replace(manifest, graphs=tuple(_spec(folder, parts.part(a.role), a) for a in written))
        manifest = replace(manifest, parity=verify.parity(folder, manifest, parts))
        if precision != "fp32":
            manifest = quantize.reduce(folder, manifest, precision, video, maps, ignore)
        if precision == "fp16":
            lost = verify.parity(folder, manifest, parts, least=0.0)["rollout"]
            manifest = replace(manifest, precision={**manifest.precision, "against_fp32": lost})
        manifest = replace(manifest, tools=_tools())
        bundle.write(folder, manifest)
    return manifest


def _target(model: str | Path | None) -> str:
    kind = "" if model is None else sniff(Path(model))
    return {"OpenVINO": "openvino", "TFLite": "tflite"}.get(kind, "onnx")


def _spec(folder: Path, part: Part, artifact: Artifact) -> GraphSpec:
    return GraphSpec(
        part.role,
        artifact.file,
        sha256(folder / artifact.file),
        part.inputs,
        part.outputs,
        artifact.gmac if part.gmac is None else part.gmac,
        artifact.data,
        sha256(folder / artifact.data) if artifact.data else "",
    )


def _check(size: Size | None, policy: str | None) -> None:
    if size is not None and not all(8 <= extent <= 8192 for extent in size):
        raise OptionError(f"--size {size[0]}x{size[1]}: give height x width, 8 to 8192 pixels each")
    from edge_vss.runtimes.policy import parse

    if policy is not None:
        parse(policy)


def _metadata(manifest: Manifest, role: str) -> dict[str, str]:
    # The contract travels in the artifact too, so that a lone file still says what it is. Graphs and parity
    # come after.
    contract = {
        key: value for key, value in asdict(manifest).items() if key not in ("graphs", "parity", "tools")
    }
    return {"edge_vss": json.dumps({"format": bundle.FORMAT, "role": role, **contract})}


def _tools() -> dict[str, str]:
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "openvino", "litert-torch", "nncf")
    # Asked of the module: what is imported as onnxruntime may be installed as onnxruntime-gpu.
    modules = {name: sys.modules.get(name.replace("-", "_")) for name in packages}
    versions = {name: str(getattr(module, "__version__", "?")) for name, module in modules.items() if module}
    return {"edge-vss": edge_vss.__version__, **versions}
