"""Whether the first label maps look as if the pixels were prepared in another way than the network wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle import Manifest
from edge_vss.decisions import Prediction
from edge_vss.video import Frame

FRAMES = 8
"""Key frames that are looked at."""
ONE_CLASS = 0.95
"""Share of one class, the same in every picture, that is too much for a picture with detail.

Two trained networks on five videos have at most 0.60 with the right pixels, and 0.26 to 1 with wrong ones:
this finds 5 of 50 (tests/benchmarks/first_look.py).
"""
DETAIL = 25.0
"""Standard deviation of brightness in grey levels. A wall, fog or night has less, and may be one class."""
LOW_MARGIN = 0.2
"""Mean distance of the two best classes as probabilities: only what tells nothing at all is below this. Those
networks have 0.54 to 0.94 with the right pixels, and 0.52 to 1 with wrong ones.
"""
_NOTHING = ("background", "unlabel", "unlabeled", "unlabelled", "void", "ignore", "other", "none", "unknown")
"""Names of classes that stand for what the network was not trained to find: there may be nothing else."""


class FirstLook:
    """Watches the first key frames of a run. It finds nothing where preprocessing was said, or is the
    family's own. Not thread-safe: one per run."""

    def __init__(self, manifest: Manifest) -> None:
        self._classes = manifest.classes
        self._open = FRAMES if nothing_said(manifest) and len(manifest.classes) > 2 else 0
        self._seen: list[tuple[int, float, float]] = []
        self._margins: list[float] = []
        self._told = False

    def take(self, frame: Frame, prediction: Prediction) -> None:
        """The next frame; only the first key frames are looked at."""
        if not self._open or prediction.decision.route == "nonkey":
            return
        self._open -= 1
        counts = np.bincount(prediction.labels[::2, ::2].ravel(), minlength=1)
        most = int(counts.argmax())
        self._seen.append((most, counts[most] / counts.sum(), float(frame.luma[::4, ::4].std())))
        if prediction.logits is not None:
            self._margins.append(_margin(prediction.logits))

    def warning(self, ended: bool = False) -> str:
        """One line with what to try, given once: when enough was seen, or at the end. Else empty."""
        if self._told or (self._open and not ended):
            return ""
        self._told = True
        what = self._one_class() or self._low_margins()
        advice = "if the network was trained with --mean, --std, --scale or --bgr, convert it with them"
        return f"{what}: {advice}" if what else ""

    def _one_class(self) -> str:
        detailed = [(most, share) for most, share, detail in self._seen if detail >= DETAIL]
        if not detailed:
            return ""
        most, times = Counter(most for most, _ in detailed).most_common(1)[0]
        name = self._classes[most] if most < len(self._classes) else str(most)
        if times < len(self._seen) or min(share for _, share in detailed) < ONE_CLASS:
            return ""
        if name.strip(" _").lower() in _NOTHING:
            return ""
        return f"nearly all of the first {times} key frames is {name!r}"

    def _low_margins(self) -> str:
        if not self._margins or (margin := float(np.mean(self._margins))) >= LOW_MARGIN:
            return ""
        return f"the network is unsure nearly everywhere (margin {margin:.2f} of 1)"


def _margin(scores: NDArray[np.float32]) -> float:
    """Mean distance of the two best of (C, h, w) scores, as probabilities, 0 to 1."""
    # Scores that are probabilities already need no softmax, which would level them.
    given = scores.min() >= 0 and np.allclose(scores.sum(0), 1, atol=1e-2)
    shares = scores if given else np.exp(scores - scores.max(0))
    best = np.sort(shares / shares.sum(0), axis=0)
    return float((best[-1] - best[-2]).mean())


def nothing_said(manifest: Manifest) -> bool:
    """Whether pixels are only divided by 255, which is what is done where nobody says otherwise."""
    model = manifest.options.get("model")
    prepared = model.get("preprocess") if isinstance(model, Mapping) else None
    if not isinstance(prepared, Mapping) or (isinstance(model, Mapping) and model.get("untrained")):
        return False
    values = {name: prepared.get(name) for name in ("mean", "std", "scale", "bgr")}
    return values == {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "scale": 1 / 255, "bgr": False}
