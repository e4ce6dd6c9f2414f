"""What the verbs that describe do: bundles as they are made, looked into and checked, and this machine."""

from __future__ import annotations

import math
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from edge_vss.terminal import cell, emit, flat, say, table, writable

if TYPE_CHECKING:
    from edge_vss.bundle import Manifest


def convert(model: Path | None, bundle: Path, json: str | None, **options: Any) -> None:
    """``edge-vss convert``."""
    writable(json, made=bundle)
    from edge_vss.converters.convert import convert as build

    given = {name: value for name, value in options.items() if value is not None}
    manifest = build(model, bundle, **given)
    emit(_contents(bundle, manifest), json)
    _show_graphs(bundle, manifest)
    say(f"{bundle}: runs with `edge-vss run {quote(str(bundle))} VIDEO`")


def inspect(bundle: Path, policy: str | None, json: str | None) -> None:
    """``edge-vss inspect``."""
    from edge_vss.bundle import read

    manifest = read(bundle)
    contents = _contents(bundle, manifest, policy)
    emit(contents, json)
    height, width = manifest.frame_size
    kind = f"{manifest.family} for {manifest.target}"
    if manifest.options.get("model", {}).get("untrained"):
        kind += ", UNTRAINED: its labels mean nothing"
    say(f"{bundle}: {kind}, {len(manifest.classes)} classes, frames {height}x{width}")
    _show_graphs(bundle, manifest)
    tensors = [
        (graph.role, way, spec.name, spec.dtype, "x".join(map(str, spec.shape)))
        for graph in manifest.graphs
        for way, specs in (("in", graph.inputs), ("out", graph.outputs))
        for spec in specs
    ]
    table(("graph", "", "tensor", "type", "shape"), tensors)
    state = [
        (s.name, s.dtype, "x".join(map(str, s.shape)), s.initial, s.nbytes / 1e6) for s in manifest.state
    ]
    table(("state", "type", "shape", "starts as", "MB"), state)
    say(f"state: {contents['state_bytes'] / 1e6:.2f} MB for every video that is segmented at once")
    table(("route", "graphs"), [(route, " → ".join(roles)) for route, roles in manifest.routes.items()])
    average = contents["gmac_per_frame"]
    share = (
        f"{average['key_share']:.0%} key frames"
        if average["key_share"] is not None
        else "depends on the video"
    )
    say(f"policy {average['policy']}: {share}, {cell(average['gmac'])} GMAC per frame")


def verify(
    bundle: Path,
    model: Path | None,
    factory: str | None,
    high: Path | None,
    trust_pickle: bool,
    json: str | None,
) -> None:
    """``edge-vss verify``; without a model it needs no more than a device has."""
    writable(json)
    if model is None:
        from edge_vss.runtimes.check import check

        found = check(bundle)
    else:
        from edge_vss.converters.verify import verify as compare

        found = compare(bundle, model, factory=factory, high=high, trust_pickle=trust_pickle)
    emit(found, json)
    table(("check", "result"), flat(found))
    say(f"{bundle} is whole")


def doctor(json: str | None) -> None:
    """``edge-vss doctor``."""
    from edge_vss.runtimes.doctor import report

    found = report()
    emit(found, json)
    video, cpu, opencv = found["video"], found["cpu"], found["opencv"]
    features = ", ".join(cpu["features"])
    rows = [
        (
            "machine",
            " · ".join(filter(None, (found["board"], cpu["model"], f"{cpu['cores']} cores", features))),
        ),
        ("system", f"{found['platform']} · Python {found['python']}"),
        (
            "video",
            f"PyAV {video['pyav']} · FFmpeg {video['ffmpeg']}" if video["pyav"] else "PyAV does not load",
        ),
        ("OpenCV", f"{opencv['version']} ({opencv['package']})" if opencv["version"] else "not installed"),
    ]
    for name, engine in found["engines"].items():
        installed = " · ".join((f"{engine['package']} {engine['version']}", *engine["providers"]))
        rows.append(
            (f"engine {name}", installed if engine["version"] else f"not installed: {engine['install']}")
        )
    rows += [("accelerator", f"{device['name']} ({device['device']})") for device in found["accelerators"]]
    rows += [("camera", f"{camera['device']} {camera['name']}") for camera in found["cameras"]]
    rows.append(
        ("convert", " · ".join(f"{name} {number or 'missing'}" for name, number in found["convert"].items()))
    )
    table(("edge-vss " + (found["edge_vss"] or ""), "found"), rows)
    codecs = [
        (name, c["decoder"], c["encoder"], "yes" if c["vectors"] else "no: flow instead")
        for name, c in video["codecs"].items()
    ]
    table(("codec", "decoder", "encoder", "motion vectors"), codecs)
    for line in found["missing"]:
        say(line)
    if not found["missing"]:
        say("nothing is missing")


def _contents(bundle: Path, manifest: Manifest, policy: str | None = None) -> dict[str, Any]:
    from dataclasses import asdict

    contents = asdict(manifest)
    for graph in contents["graphs"]:
        graph["bytes"] = _bytes(bundle, graph["file"], graph["data"])
    contents["state_bytes"] = sum(state.nbytes for state in manifest.state)
    contents["gmac_per_frame"] = _average(bundle, manifest, policy)
    return contents


def _bytes(bundle: Path, *files: str) -> int:
    return sum((bundle / file).stat().st_size for file in files if file)


def _average(bundle: Path, manifest: Manifest, policy: str | None) -> dict[str, Any]:
    from edge_vss.runtimes.policy import Interval, default, parse

    chosen = parse(policy) if policy else default(manifest.policy, bundle)
    share = 1 / chosen.frames if isinstance(chosen, Interval) else None
    gmac = None if share is None else manifest.gmac_per_frame(share)
    return {"policy": str(chosen), "key_share": share, "gmac": gmac}


def _show_graphs(bundle: Path, manifest: Manifest) -> None:
    parity = manifest.parity.get("graphs", {}) | {"rollout": manifest.parity.get("rollout", {})}
    rows = [
        (graph.role, graph.file, _bytes(bundle, graph.file, graph.data) / 1e6, graph.gmac)
        for graph in manifest.graphs
    ]
    table(("graph", "file", "MB", "GMAC"), rows)
    agreements = [
        (
            name,
            100 * found.get("labels_equal", math.nan),
            max(found.get("max_abs", {}).values(), default=None),
        )
        for name, found in parity.items()
        if found
    ]
    table(("numbers", "equal labels %", "largest difference"), agreements)
