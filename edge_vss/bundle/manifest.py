"""What a manifest says, as plain values. The norm is docs/bundle.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle.json_fields import broken
from edge_vss.errors import OptionError
from edge_vss.video import Size

Array = TypeVar("Array")
FORMAT = "edge-vss bundle"
VERSION = "1.4"
"""1.1 added ``data`` and ``precision``, 1.2 a state's ``next``, 1.3 ``heads`` and ``fit``, 1.4 ``operation``.
What reads 1.0 reads them, unless a graph has ``data`` or a state has ``next``, which it refuses. It stretches
all frames."""
MAPS_VERSION = "1.3"
"""What a bundle is written as that has several maps, or brings frames in without stretching them."""
USUAL_VERSION = "1.2"
"""What other bundles are written as. ``operation`` asks nothing of a reader."""
KINDS = ("labels", "matte")
"""Of heads."""
MATTE_STEPS = 2
"""By how many of its 255 steps two engines may round a matte differently."""
FITS = ("stretch", "letterbox", "crop")
"""How a frame of another shape is brought into the picture that the graphs take."""


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor looks like where it enters or leaves a graph."""

    name: str
    shape: tuple[int, ...]
    """Static: every extent is 1 or more."""
    dtype: str
    """A numpy dtype name."""


@dataclass(frozen=True)
class GraphSpec:
    """One graph file. Inputs and outputs are ordered: some formats lose names."""

    role: str
    """``key``, ``nonkey``, ``state`` or ``start``: what it is called with on a route."""
    file: str
    """Path relative to the bundle, with forward slashes."""
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    gmac: float
    """Billions of multiply-accumulates in convolutions and matrix products, for one call."""
    data: str = ""
    """A second file that ``file`` finds by its name: an OpenVINO graph's weights."""
    data_sha256: str = ""
    operation: str = ""
    """The standard operation that it is (``warp-labels@1``); empty where it is none."""


@dataclass(frozen=True)
class StateSpec:
    """A tensor that goes from one step to the next; on a start it holds ``initial`` everywhere."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    initial: float = 0.0
    next: str = ""
    """The output that it becomes after a step, where a graph both reads and writes it; else an output of its
    own name. On a route that does not give it, it stays."""

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class MotionSpec:
    """How ``motion`` is given. The grid spans the frame: a grid pixel is (H / h, W / w) frame pixels."""

    grid: Size
    units: str = "grid pixels"
    direction: str = "current to reference"
    trace: str = "grid"
    """``grid`` (sub-pixel, cheap) or ``exact`` (per pixel, rounded at every hop)."""
    sampling: str = "centres"
    """Read at the ``centres`` of the grid's cells, or with its outer points on the frame's outer pixels
    (``corners``)."""


@dataclass(frozen=True)
class HeadSpec:
    """One of the maps that a bundle gives for every frame: class ids, or a matte."""

    name: str
    """What it is called in options, folders and reports: letters, digits, ``_``, ``.`` and ``-``."""
    tensor: str
    """The output that every route gives, uint8 (1, H, W)."""
    kind: str = "labels"
    """``labels`` (class ids) or ``matte`` (0 is none of the foreground, 255 all of it)."""
    classes: tuple[str, ...] = ()
    """Of labels: names by class id. A matte has none."""
    palette: tuple[tuple[int, int, int], ...] = ()
    """RGB, one per class."""
    ignore: int | None = None
    """The id that ground truth uses for "not labelled", if any."""

    @property
    def is_matte(self) -> bool:
        """Whether it holds how much of a pixel is foreground, and not what it is."""
        return self.kind == "matte"

    def same(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where two of its maps say the same: the same class, or a matte but for rounding."""
        apart = np.maximum(one, other) - np.minimum(one, other)
        return np.asarray(apart <= (MATTE_STEPS if self.is_matte else 0))


@dataclass(frozen=True)
class Manifest:
    """Everything a runtime needs to know about a bundle."""

    family: str
    options: dict[str, Any]
    target: str
    source: dict[str, str]
    """``name`` and ``sha256`` of the model file."""
    frame_size: Size
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB, one per class."""
    ignore: int | None
    """The id that ground truth uses for "not labelled", if any."""
    graphs: tuple[GraphSpec, ...]
    state: tuple[StateSpec, ...]
    routes: dict[str, tuple[str, ...]]
    """Route (``start``, ``key``, ``nonkey``) → roles of the graphs to call, in order."""
    policy: str
    motion: MotionSpec | None
    colour: str = "RGB"
    parity: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    precision: dict[str, Any] = field(default_factory=lambda: {"weights": "fp32"})
    """``weights``: ``fp32``, ``fp16`` or ``int8``; and below fp32, what that loses (``against_fp32``)."""
    version: str = USUAL_VERSION
    heads: tuple[HeadSpec, ...] = ()
    """The maps of a bundle that gives several; the first is ``labels``. Empty where that is the only one."""
    fit: str = FITS[0]
    """How a frame of another shape is brought to ``frame_size``: one of ``FITS``."""

    @property
    def maps(self) -> tuple[HeadSpec, ...]:
        """``heads``, or the only map there is."""
        return self.heads or (
            HeadSpec("labels", "labels", "labels", self.classes, self.palette, self.ignore),
        )

    def head(self, name: str | None) -> HeadSpec:
        """The map of that name; the first for None. OptionError if the bundle has none such."""
        for head in self.maps:
            if name in (None, head.name):
                return head
        raise OptionError(f"no head is called {name!r}: choose from {', '.join(h.name for h in self.maps)}")

    def to_json(self) -> dict[str, Any]:
        """What manifest.json holds besides ``format``. ``heads`` is left out where it is empty, ``fit``
        where frames are stretched, and ``operation`` of a graph that is none."""
        found = asdict(self)
        if not self.heads:
            del found["heads"]
        if self.fit == FITS[0]:
            del found["fit"]
        for graph in found["graphs"]:
            if not graph["operation"]:
                del graph["operation"]
        return found

    def graph(self, role: str) -> GraphSpec:
        """The graph with a role; BundleError if the bundle has none."""
        for graph in self.graphs:
            if graph.role == role:
                return graph
        present = ", ".join(graph.role for graph in self.graphs) or "no graphs"
        raise broken(f"no graph has the role {role!r} (this bundle has {present})")

    @property
    def remembers(self) -> bool:
        """Whether a full frame depends on the frames before it, and not on its picture alone."""
        return any(state.next for state in self.state)

    @property
    def labels_from_key_frames(self) -> bool:
        """Whether frames in between depend on their key frame, their own picture and their motion alone, so
        that they may wait, and may take another key frame's labels."""
        roles = self.routes.get("nonkey", ())
        made = {spec.name for role in roles for spec in self.graph(role).outputs}
        kept = {name for state in self.state for name in (state.name, state.next) if name}
        return "nonkey" in self.routes and not self.remembers and not made & kept

    def initial_state(self) -> dict[str, NDArray[Any]]:
        """The state at a start."""
        return {state.name: np.full(state.shape, state.initial, state.dtype) for state in self.state}

    def next_state(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The state after a step, from all tensors of the step: what went in and what the graphs gave."""
        return {
            state.name: tensors[state.next if state.next in tensors else state.name] for state in self.state
        }

    def gmac_per_frame(self, key_share: float) -> float:
        """Average cost in GMAC when ``key_share`` (0 to 1) of the frames take the key route.

        AR-Seg supplement, Eq. 1, with 1/L as the share of key frames.
        """
        key = self._route_gmac("key" if "key" in self.routes else "start")
        nonkey = self._route_gmac("nonkey") if "nonkey" in self.routes else key
        return key_share * key + (1 - key_share) * nonkey

    def _route_gmac(self, route: str) -> float:
        return sum(self.graph(role).gmac for role in self.routes[route])
