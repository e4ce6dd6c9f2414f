"""``edge-vss inspect``."""

from __future__ import annotations

from edge_vss.cli._contents import contents, show_engines, show_graphs, show_outputs, show_reading
from edge_vss.cli._precision import show_precision
from edge_vss.cli.options import Bundle, Debug, Json, PolicyName
from edge_vss.cli.terminal import cell, emit, say, table


def inspect(bundle: Bundle, policy: PolicyName = None, json: Json = None, debug: Debug = False) -> None:
    """What is inside a bundle: graphs, shapes, state, sizes, cost."""
    from edge_vss.bundle import read

    manifest = read(bundle)
    found = contents(bundle, manifest, policy)
    emit(found, json)
    height, width = manifest.frame_size
    kind = f"{manifest.family} for {manifest.target}"
    if manifest.options.get("model", {}).get("untrained"):
        kind += ", UNTRAINED: its labels mean nothing"
    say(f"{bundle}: {kind}, {len(manifest.classes)} classes, frames {height}x{width}")
    show_reading(manifest)
    show_outputs(manifest)
    show_graphs(bundle, manifest)
    show_engines(found.engines)
    show_precision(manifest)
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
    say(f"state: {found.state_bytes / 1e6:.2f} MB for every video that is segmented at once")
    table(("route", "graphs"), [(route, " → ".join(roles)) for route, roles in manifest.routes.items()])
    cost = found.gmac_per_frame
    share = "depends on the video" if cost.key_share is None else f"{cost.key_share:.0%} key frames"
    say(f"policy {cost.policy}: {share}, {cell(cost.gmac)} GMAC per frame")
