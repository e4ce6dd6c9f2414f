"""What is inside a bundle, for the verbs that show it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from edge_vss.bundle import Manifest
from edge_vss.cli.terminal import table


def contents(bundle: Path, manifest: Manifest, policy: str | None = None) -> dict[str, Any]:
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


def show_graphs(bundle: Path, manifest: Manifest) -> None:
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
