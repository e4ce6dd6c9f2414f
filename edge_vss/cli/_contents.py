"""What is inside a bundle, for the verbs that show it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_vss.cli.terminal import say, table
from edge_vss.errors import OptionError
from edge_vss.report import Json, Report, plain

if TYPE_CHECKING:
    from edge_vss.bundle import GraphSpec, Manifest
    from edge_vss.runtimes.engines._ways import Taken


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
    engines: dict[str, Taken] = field(default_factory=dict)
    """Role → what runs the graph on this machine, where that was measured before."""

    def to_json(self) -> dict[str, Json]:
        """The manifest's keys, each graph with its ``bytes``, the two sums, ``engines``, and ``preview``, if
        any."""
        graphs: list[Json] = [
            {**_object(asdict(graph)), "bytes": self.graph_bytes[graph.role]}
            for graph in self.manifest.graphs
        ]
        return {
            **_object(self.manifest.to_json()),
            "graphs": graphs,
            "state_bytes": self.state_bytes,
            "gmac_per_frame": self.gmac_per_frame.to_json(),
            "engines": plain(self.engines),
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
        engines=_engines(manifest),
    )


def _engines(manifest: Manifest) -> dict[str, Taken]:
    """What ``auto`` has taken here before. A target of another edge-vss has no engine here."""
    from edge_vss.runtimes.engines import EngineOptions
    from edge_vss.runtimes.engines._auto import remembered

    try:
        return remembered(manifest, EngineOptions())
    except OptionError:
        return {}


def show_engines(taken: dict[str, Taken]) -> None:
    """A table: what runs the graphs here. Nothing where nothing was measured."""
    rows = [(role, found.way.shown, found.milliseconds) for role, found in taken.items()]
    table(("graph", "runs here by", "ms"), rows)


def _bytes(bundle: Path, graph: GraphSpec) -> int:
    return sum((bundle / file).stat().st_size for file in (graph.file, graph.data) if file)


def _cost(bundle: Path, manifest: Manifest, policy: str | None) -> Cost:
    from edge_vss.runtimes.policy import Interval, default, parse

    chosen = parse(policy) if policy else default(manifest.policy, bundle)
    share = 1 / chosen.frames if isinstance(chosen, Interval) else None
    return Cost(str(chosen), share, None if share is None else manifest.gmac_per_frame(share))


READING = {
    "kind": "read as",
    "output": "output",
    "outputs": "outputs",
    "mattes": "mattes",
    "form": "its form",
    "classes": "classes",
    "from_model": "from its own files",
    "weights": "weights",
    "weights_instead_of": "weights left out",
    "prefix_removed": "taken off names",
    "prefix_added": "put before names",
    "left_out": "not of the network",
}
"""What the manifest notes of a model, in the order and the words in which it is shown."""


def show_reading(manifest: Manifest) -> None:
    """A table: how the model was understood. Nothing for families that know their networks."""
    notes = manifest.options.get("model", {})
    rows = [(words, _in_words(notes[name])) for name, words in READING.items() if notes.get(name)]
    pixels = notes.get("preprocess")
    if isinstance(pixels, dict):
        mean, std = (", ".join(f"{value:.4g}" for value in pixels.get(key, ())) for key in ("mean", "std"))
        order = "BGR" if pixels.get("bgr") else "RGB"
        from edge_vss.runtimes.tools.first_look import nothing_said

        shown = f"{order} x {pixels.get('scale', 1):.4g}, mean {mean}, std {std}"
        if nothing_said(manifest) and "scale" not in str(notes.get("from_model", "")):
            shown += " (the default; --mean, --std, --scale and --bgr change it)"
        rows.append(("pixels", shown))
    if manifest.fit != "stretch":
        rows.append(("other shapes", manifest.fit))
    table(("model", ""), rows)


def _in_words(noted: object) -> str:
    """What is noted of one output, or of each of several."""
    if isinstance(noted, dict):
        return ", ".join(f"{output}: {words}" for output, words in noted.items())
    return ", ".join(map(str, noted)) if isinstance(noted, list) else str(noted)


def show_graphs(bundle: Path, manifest: Manifest) -> None:
    """Two tables: the graphs with their sizes and costs, and how near their numbers are to the model's."""
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


def show_outputs(manifest: Manifest) -> None:
    """Which outputs of the model became maps, and which were left."""
    if manifest.heads:
        heads = [(h.name, h.tensor, h.kind, len(h.classes) or None) for h in manifest.heads]
        table(("head", "tensor", "kind", "classes"), heads)
    model = manifest.options.get("model", {})
    if left := model.get("left"):
        say(f"the output {model.get('output')} is taken; {left} is left: --output takes several")
