"""The bundle: a folder ``NAME.vss/`` with ``manifest.json`` and graph files.

MUST, checked by ``read`` and by ``write``: every graph input is ``image``, ``motion``, a state tensor, or an
output of an earlier graph on the same route; every route outputs ``labels``; shapes are static; a tensor has
one shape and dtype wherever it appears; files lie inside the folder and have the recorded hash; the major
version is known. Keys that are not known are ignored, so that a newer minor version stays readable. A bundle
holds no code and no pickle.

``image`` is uint8 (1, H, W, 3) RGB at ``frame_size``. ``motion`` is float32 (1, 2, h, w): x then y, from the
current frame to the anchor, in pixels of a grid that spans the frame evenly. ``labels`` is uint8 (1, H, W). A
graph may output ``score_check`` float32 (1,): the sum of its scores, which is NaN as soon as one of them is.
"""

from edge_vss.bundle.manifest import FORMAT, VERSION, GraphSpec, Manifest, MotionSpec, StateSpec, TensorSpec
from edge_vss.bundle.reading import loading, parse, read
from edge_vss.bundle.writing import building, check_target, write

__all__ = [
    "FORMAT",
    "VERSION",
    "GraphSpec",
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
