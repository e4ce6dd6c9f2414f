"""From a trained model to a bundle: load, split, export, count, verify, write."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import edge_vss
from edge_vss import bundle
from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.bundle.manifest import FITS, MAPS_VERSION
from edge_vss.converters import quantize, verify
from edge_vss.converters.conversion import Conversion as Conversion
from edge_vss.converters.families import split
from edge_vss.converters.quantizers import QUANTIZERS
from edge_vss.converters.readers._recognise import reader_of
from edge_vss.converters.targets import TARGETS
from edge_vss.converters.values import Artifact, Part
from edge_vss.errors import BundleError, ModelError, OptionError
from edge_vss.files import sha256
from edge_vss.runtimes.engines import usual_engine
from edge_vss.runtimes.policy import parse
from edge_vss.text import whole
from edge_vss.vendors import without_telemetry
from edge_vss.video import Size


def convert(conversion: Conversion, output: str | Path, *, force: bool = False) -> Manifest:
    """Convert a model into the bundle ``output``, and return its manifest.

    An existing bundle is replaced only with ``force``, and only once the new one is whole. What fp16 and int8
    lose is recorded in the manifest: against the fp32 labels and, with ``ground_truth``, against those.

    Raises ModelError, OptionError or BundleError; nothing is left behind then.

        convert(Conversion("weights.pt", classes="camvid", factory="network.py:build"), "street.vss")
    """
    output = Path(output)
    target = conversion.target or _target(conversion.path)
    export = TARGETS.find(target).call
    _check(conversion.size, conversion.policy)
    if conversion.fit not in FITS:
        raise OptionError(f"--fit {conversion.fit!r}: choose one of {', '.join(FITS)}")
    precision = conversion.precision
    quantize.check(conversion)
    bundle.check_target(output)
    if output.exists() and not force:
        raise BundleError(f"{output} exists: choose another name, or replace it with --force")
    parts = split(conversion)
    manifest = Manifest(
        family=conversion.family,
        options={**parts.options, "model": parts.notes},
        target=target,
        source={**parts.source, "name": whole(parts.source["name"])},
        frame_size=parts.size,
        classes=parts.classes.names,
        palette=parts.classes.palette,
        ignore=parts.classes.ignore,
        graphs=(),
        state=parts.state,
        routes=parts.routes,
        policy=conversion.policy or parts.policy,
        motion=parts.motion,
        version=MAPS_VERSION if parts.heads or conversion.fit != FITS[0] else bundle.USUAL_VERSION,
        heads=parts.heads,
        fit=conversion.fit,
    )
    with bundle.building(output) as folder:
        metadata = {part.role: _metadata(manifest, part.role) for part in parts.parts}
        written = export(parts.parts, folder, metadata)
        manifest = replace(manifest, graphs=tuple(_spec(folder, parts.part(a.role), a) for a in written))
        manifest = replace(manifest, parity=verify.parity(folder, manifest, parts))
        if precision != "fp32":
            manifest = quantize.reduce(folder, manifest, conversion)
        if precision == "fp16":
            lost = verify.parity(folder, manifest, parts, least=0.0)["rollout"]
            manifest = replace(manifest, precision={**manifest.precision, "against_fp32": lost})
        manifest = replace(manifest, tools=_tools(target, precision))
        bundle.write(folder, manifest)
    return manifest


def _target(path: Path | None) -> str:
    try:
        targets = () if path is None else reader_of(path).description.targets
    except ModelError:  # a family may read what no reader does, and else says what is wrong
        targets = ()
    return targets[0] if targets else "onnx"


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
        part.operation,
    )


def _check(size: Size | None, policy: str | None) -> None:
    if size is not None and not all(8 <= extent <= 8192 for extent in size):
        raise OptionError(f"--size {size[0]}x{size[1]}: give height x width, 8 to 8192 pixels each")
    if policy is not None:
        parse(policy)


def _metadata(manifest: Manifest, role: str) -> dict[str, str]:
    # The contract travels in the artifact too, so that a lone file still says what it is. Graphs and parity
    # come after.
    contract = {
        key: value for key, value in manifest.to_json().items() if key not in ("graphs", "parity", "tools")
    }
    return {"edge_vss": json.dumps({"format": bundle.FORMAT, "role": role, **contract})}


def _tools(target: str, precision: str) -> dict[str, str]:
    """Name → version of what took part."""
    names = ["torch", "numpy", *TARGETS.find(target).description.modules]
    names += [name for name in usual_engine(target).description.modules if find_spec(name)][:1]
    if precision != "fp32":
        names += QUANTIZERS.find(target).description.modules
    # Asked of the module: what is imported as onnxruntime may be installed as onnxruntime-gpu.
    with without_telemetry():
        versions = {name: getattr(import_module(name), "__version__", "?") for name in dict.fromkeys(names)}
    return {
        "edge-vss": edge_vss.__version__,
        **{name.replace("_", "-"): str(version) for name, version in versions.items()},
    }
