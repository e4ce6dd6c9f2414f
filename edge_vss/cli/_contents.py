"""What is inside a bundle, for the verbs that show it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_vss.bundle import GraphSpec, Manifest
from edge_vss.cli.terminal import say, table
from edge_vss.report import Json, Report, plain


@dataclass(frozen=True)
class Cost(Report):
    """What a frame costs on average."""

    policy: str
    key_share: float | None
    """Share of key frames, 0 to 1; None where the policy lets the video decide."""
    gmac: float | None
    """Billions of multiply-accumulates per frame; None like ``key_share``."""


@dataclass(frozen=True)
class Contents(Report):
    """A manifest, and the sizes of what belongs to it."""

    manifest: Manifest
    graph_bytes: dict[str, int]
    """Size of each graph's files, by role."""
    state_bytes: int
    """Memory that the state of one video takes."""
    gmac_per_frame: Cost
    preview: Path | None = None
    """Where a picture of what it makes of a video was drawn."""

    def to_json(self) -> dict[str, Json]:
        """The manifest's keys, each graph with its ``bytes``, the two sums, and ``preview``, if any."""
        graphs: list[Json] = [
            {**_object(asdict(graph)), "bytes": self.graph_bytes[graph.role]}
            for graph in self.manifest.graphs
        ]
        return {
            **_object(self.manifest.to_json()),
            "graphs": graphs,
            "state_bytes": self.state_bytes,
            "gmac_per_frame": self.gmac_per_frame.to_json(),
            **({} if self.preview is None else {"preview": str(self.preview)}),
        }


def _object(value: dict[str, object]) -> dict[str, Json]:
    return {name: plain(item) for name, item in value.items()}


def contents(
    bundle: Path, manifest: Manifest, policy: str | None = None, preview: Path | None = None
) -> Contents:
    """What the bundle holds; the cost is that of ``policy``, or of the bundle's own."""
    return Contents(
        manifest=manifest,
        graph_bytes={graph.role: _bytes(bundle, graph) for graph in manifest.graphs},
        state_bytes=sum(state.nbytes for state in manifest.state),
        gmac_per_frame=_cost(bundle, manifest, policy),
        preview=preview,
    )


def _bytes(bundle: Path, graph: GraphSpec) -> int:
    return sum((bundle / file).stat().st_size for file in (graph.file, graph.data) if file)


def _cost(bundle: Path, manifest: Manifest, policy: str | None) -> Cost:
    from edge_vss.runtimes.policy import Interval, default, parse

    chosen = parse(policy) if policy else default(manifest.policy, bundle)
    share = 1 / chosen.frames if isinstance(chosen, Interval) else None
    return Cost(str(chosen), share, None if share is None else manifest.gmac_per_frame(share))


def show_graphs(bundle: Path, manifest: Manifest) -> None:
    """The graphs with their sizes and costs, how near their numbers are to the model's, and what it gives."""
    rows = [(graph.role, graph.file, _bytes(bundle, graph) / 1e6, graph.gmac) for graph in manifest.graphs]
    table(("graph", "file", "MB", "GMAC"), rows)
    parity = manifest.parity.get("graphs", {}) | {"rollout": manifest.parity.get("rollout", {})}
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
    model = manifest.options.get("model")
    form = model.get("form") if isinstance(model, dict) else None
    if isinstance(form, str):
        say(f"the model gives {form}")


def show_outputs(manifest: Manifest) -> None:
    """Which outputs of the model became maps, and which were left."""
    if manifest.heads:
        heads = [(h.name, h.tensor, h.kind, len(h.classes) or None) for h in manifest.heads]
        table(("head", "tensor", "kind", "classes"), heads)
    model = manifest.options.get("model", {})
    if left := model.get("left"):
        say(f"the output {model.get('output')} is taken; {left} is left: --output takes several")
