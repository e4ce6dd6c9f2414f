"""PNG files whose parts do not fit together, and all of whose checksums are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.runtimes.tools.ground_truth import GroundTruth
from tests.test_ground_truth import png


def map_of(folder: Path, size: tuple[int, int], pixels: bytes) -> Callable[[], object]:
    """The call that reads a folder's one label map, for a video of ``size``."""
    (folder / "0.png").write_bytes(png(size, pixels))
    truth = GroundTruth(folder)
    return lambda: truth.of_file(truth.files[0], size)
