"""Do the graphs compute what the model computes? Numbers of the artifacts against torch, over a rollout."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import HeadSpec, Manifest
from edge_vss.bundle.json_fields import Reader
from edge_vss.classes import ClassSet
from edge_vss.converters.conversion import Conversion, fingerprint
from edge_vss.converters.families import FAMILIES, split
from edge_vss.converters.inputs import motions, pictures
from edge_vss.converters.readers._artifact import ArtifactNetwork
from edge_vss.converters.silence import quiet
from edge_vss.converters.targets.onnx import reveal
from edge_vss.converters.values import Part, Split
from edge_vss.errors import BundleError, ModelError, OptionError
from edge_vss.runtimes.engines import EngineOptions, Load, engine_for, giving_arrays
from edge_vss.runtimes.tools.self_check import CheckReport, check

AGREEMENT = 0.999
"""Share of labels that have to be equal. Rounding differs between engines, so where two classes score the
same to six digits the label may change; a wrong weight, mean or resize mode changes far more than one label
in a thousand.
"""

STEPS: tuple[str, ...] = ("start", *("nonkey",) * 5, "key", *("nonkey",) * 5)
STEPS_WITH_MEMORY: tuple[str, ...] = ("start", *("key",) * 6, "nonkey", "nonkey", "key", "key", "nonkey")
"""Where full frames change what the next ones give."""
Tensors = dict[str, NDArray[Any]]
Graph = Callable[[Mapping[str, NDArray[Any]]], Tensors]


def parity(folder: Path, manifest: Manifest, parts: Split, least: float = AGREEMENT) -> dict[str, Any]:
    """Run both sides over ``STEPS`` on textured pictures and smooth motion, each side with its own state.

    Gives, per graph (both sides fed by torch) and for the rollout (each side fed by itself), the share of
    equal labels and the largest absolute difference of every float tensor. Raises ModelError where less than
    ``least`` of the labels are equal, of several maps in each of them.
    """
    # Only in an ONNX file can what is hidden be looked at.
    trained = {part.role: _torch(part, hidden=manifest.target == "onnx") for part in parts.parts}
    steps = STEPS_WITH_MEMORY if manifest.remembers else STEPS
    with tempfile.TemporaryDirectory() as scratch:
        graphs = {part.role: _artifact(folder, manifest, part, Path(scratch)) for part in parts.parts}
        inputs = _inputs(manifest, len(steps))
        report: dict[str, Any] = {
            "graphs": {part.role: _Difference(manifest.maps) for part in parts.parts},
            "rollout": _Difference(manifest.maps),
        }
        state = manifest.initial_state()
        ours = dict(state)
        for route, frame in zip(steps, inputs, strict=True):
            if route not in manifest.routes:
                route = "start"
            expected, found = {**frame, **state}, {**frame, **ours}
            for role in manifest.routes[route]:
                result = trained[role](expected)
                report["graphs"][role].add(result, graphs[role](expected))
                expected |= result
                found |= graphs[role](found)
            report["rollout"].add(expected, {name: found[name] for name in expected})
            state, ours = manifest.next_state(expected), manifest.next_state(found)
    done = {
        "against": _reference(parts),
        "steps": list(steps),
        "graphs": {role: difference.report() for role, difference in report["graphs"].items()},
        "rollout": report["rollout"].report(),
    }
    for where, numbers in (*done["graphs"].items(), ("rollout", done["rollout"])):
        if numbers.get("labels_equal", 1.0) < least:
            raise ModelError(
                f"the converted {where} agrees with the model on {numbers['labels_equal']:.2%} of labels, "
                f"less than {least:.1%}: the export is wrong; export the model to ONNX another way"
            )
        if infinite := [name for name, apart in numbers.get("max_abs", {}).items() if not np.isfinite(apart)]:
            raise ModelError(
                f"the converted {where} gives NaN or infinity in {infinite[0]} where the model does not"
            )
    return done


def verify(path: str | Path, conversion: Conversion | None = None) -> CheckReport:
    """Check a bundle: hashes, contracts, that its graphs load and run, and with a model its numbers too.

    ``conversion`` says where the model is that the bundle was made from, and what no bundle is trusted with:
    ``factory``, ``trust_pickle``, and those of the family's ``options`` that are files. All else is read from
    the bundle.

    Gives ``graphs`` (role → ``ok``), ``labels`` (the ids seen over ``STEPS``) and ``parity``. ``measured`` is
    true where that was measured now, and false where it is the recorded one. Raises BundleError, EngineError
    or ModelError for the first thing that is wrong.

        verify("street.vss", Conversion("weights.pt", factory="network.py:build"))
    """
    report = check(path)
    if conversion is None:
        return report
    path = Path(path)
    manifest = bundle.read(path)
    again = split(_recorded(manifest, conversion))
    # What fewer bits lose was measured when they were made.
    least = AGREEMENT if manifest.precision["weights"] == "fp32" else 0.0
    return replace(report, parity=parity(path, manifest, again, least), measured=True)


def _recorded(manifest: Manifest, conversion: Conversion) -> Conversion:
    """The conversion that the bundle records, of the files that the user gives."""
    recorded = manifest.options.get("model")
    if not isinstance(recorded, dict):
        raise BundleError('"options.model" does not say how the model was read: convert it again')
    if conversion.path is not None:
        _same(conversion.path, manifest.source)
    options = {key: value for key, value in manifest.options.items() if key not in ("model", "logits")}
    for option in FAMILIES.find(manifest.family).description.options:
        file = recorded.get(option.name)
        if option.type is not Path or not isinstance(file, dict):
            continue
        if option.name not in conversion.options:
            raise OptionError(
                f"{option.spelling} is missing: this bundle was made from {file.get('name')} too"
            )
        options[option.name] = Path(str(conversion.options[option.name]))
        _same(options[option.name], file)
    untrained, own = recorded.get("untrained") is True, recorded.get("own_weights") is True
    if conversion.path is None and not untrained and not own:
        raise OptionError(f"this bundle was made from {manifest.source.get('name')}: give that file too")
    if recorded.get("factory") and conversion.factory is None:
        # Never called unasked: a bundle is not to choose the code that runs.
        raise OptionError(f"--model is missing: this bundle was made with {recorded['factory']}")
    return replace(
        conversion,
        size=manifest.frame_size,
        **_outputs(manifest, recorded),
        own_weights=own,
        weights_key=recorded.get("weights"),
        family=manifest.family,
        options=options,
        logits=bool(manifest.options.get("logits")),
        **_pixels(recorded.get("preprocess")),
    )


def _outputs(manifest: Manifest, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """``classes``, ``output_name`` and ``matte`` as they were."""
    if not manifest.heads:
        classes = ClassSet(manifest.classes, manifest.palette, manifest.ignore)
        return {"classes": classes, "output_name": recorded.get("output")}
    outputs, labels = recorded.get("outputs", []), [head for head in manifest.heads if not head.is_matte]
    sets = [ClassSet(head.classes, head.palette, head.ignore) for head in labels]
    return {
        "classes": dict(zip(outputs, sets, strict=False)) or None,
        "output_name": tuple(outputs),
        "matte": tuple(recorded.get("mattes", [])),
    }


def _pixels(recorded: object) -> dict[str, Any]:
    """``mean``, ``std``, ``scale`` and ``bgr`` as they were; nothing where the family knows them."""
    if recorded is None:
        return {"mean": None, "std": None, "scale": None, "bgr": False}
    reader = Reader(recorded, "options.model.preprocess.")
    triples = {key: tuple(reader.numbers(key)) for key in ("mean", "std")}
    return {**triples, "scale": reader.number("scale"), "bgr": reader.get("bgr", bool)}


def _same(file: Path, recorded: Mapping[str, Any]) -> None:
    if file.exists() and fingerprint(file) != recorded.get("sha256"):
        raise ModelError(
            f"{file} is not the file this bundle was made from ({recorded.get('name')}): its SHA-256 "
            "differs; give the original, or convert anew"
        )


def _engine(manifest: Manifest) -> Load:
    return engine_for(manifest.target, EngineOptions()).call


def _reference(parts: Split) -> str:
    modules = (module for part in parts.parts for module in part.module.modules())
    artifact = next((module for module in modules if isinstance(module, ArtifactNetwork)), None)
    title = f"the {artifact.description.title} graph itself, and " if artifact else ""
    return f"{title}torch {torch.__version__}"


def _torch(part: Part, hidden: bool) -> Graph:
    def call(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
        with torch.no_grad(), quiet():
            results = part.module(*(torch.from_numpy(tensors[spec.name]) for spec in part.inputs))
        results = results if isinstance(results, tuple) else (results,)
        names = [spec.name for spec in part.outputs + (part.hidden if hidden else ())]
        return {name: result.numpy() for name, result in zip(names, results, strict=False)}

    return call


def _artifact(folder: Path, manifest: Manifest, part: Part, scratch: Path) -> Graph:
    graph, load = manifest.graph(part.role), _engine(manifest)
    if not part.hidden or manifest.target != "onnx":
        return giving_arrays(load(folder / graph.file, graph))
    revealed = scratch / graph.file
    reveal(folder / graph.file, part.hidden, revealed)
    return giving_arrays(load(revealed, replace(graph, outputs=graph.outputs + part.hidden)))


def _inputs(manifest: Manifest, count: int) -> list[Tensors]:
    images = [picture.numpy() for picture in pictures(manifest.frame_size, count, seed=1)]
    if manifest.motion is None:
        return [{"image": image} for image in images]
    moved = [motion.numpy() for motion in motions(manifest.motion.grid, count)]
    return [{"image": image, "motion": motion} for image, motion in zip(images, moved, strict=True)]


class _Difference:
    """How far two sets of tensors are apart, over all calls so far. Of several maps, the worst counts."""

    def __init__(self, heads: Sequence[HeadSpec]) -> None:
        self.heads = {head.tensor: head for head in heads}
        self.equal: Counter[str] = Counter()
        self.pixels: Counter[str] = Counter()
        self.largest: dict[str, float] = {}

    def add(self, expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> None:
        for name, want in expected.items():
            have = found[name]
            if name in self.heads:
                self.equal[name] += int(self.heads[name].same(want, have).sum())
                self.pixels[name] += want.size
            elif want.dtype.kind == "f" and name not in ("motion", "score_check"):
                apart = np.abs(want - have, where=want != have, out=np.zeros(want.shape, np.float64))
                # NaN would vanish in a maximum.
                largest = float(np.nan_to_num(apart, nan=np.inf).max())
                self.largest[name] = max(self.largest.get(name, 0.0), largest)

    def report(self) -> dict[str, Any]:
        each = {self.heads[name].name: self.equal[name] / count for name, count in self.pixels.items()}
        found: dict[str, Any] = {"labels_equal": min(each.values())} if each else {}
        if len(each) > 1:
            found["heads"] = each
        return {**found, **({"max_abs": self.largest} if self.largest else {})}
