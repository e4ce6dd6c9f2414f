"""The bundle: a folder ``NAME.vss/`` with ``manifest.json`` and graph files.

The norm is docs/bundle.md, which `read` and `write` hold to: every graph input is ``image``, ``motion``, a
state tensor, or an output of an earlier graph on the same route; every route outputs ``labels``; shapes are
static; a tensor has one shape and dtype wherever it appears; files are plain files inside the folder, have
the recorded hash, and make no engine open another; the major version is known. A bundle holds no code and no
pickle.
"""

from edge_vss.bundle.manifest import (
    FORMAT,
    USUAL_VERSION,
    VERSION,
    GraphSpec,
    HeadSpec,
    Manifest,
    MotionSpec,
    StateSpec,
    TensorSpec,
)
from edge_vss.bundle.parsing import parse
from edge_vss.bundle.reading import loading, read
from edge_vss.bundle.writing import building, check_target, write

__all__ = [
    "FORMAT",
    "VERSION",
    "USUAL_VERSION",
    "GraphSpec",
    "HeadSpec",
    "Manifest",
    "MotionSpec",
    "StateSpec",
    "TensorSpec",
    "building",
    "check_target",
    "loading",
    "parse",
    "read",
    "write",
]
