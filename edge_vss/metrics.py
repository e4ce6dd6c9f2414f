"""How good label maps are: mIoU, WIoU, video consistency, and what accuracy costs; in percent.

`Scores` takes a stream frame by frame in bounded memory. The functions beneath it are for tables of results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from edge_vss.errors import OptionError
from edge_vss.report import Report

FURTHEST = 250
"""Distances from the key frame beyond this one are counted with it, so that memory stays bounded."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion(
    ground_truth: NDArray[np.integer], labels: NDArray[np.integer], classes: int, ignore: int | None = None
) -> Counts:
    """Count pixels by (true class, predicted class): (classes, classes) int64.

    ``ground_truth`` and ``labels`` are class ids of one shape; pixels whose ground truth is ``ignore`` are
    left out. An ``ignore`` that is no class adds a column, (classes, classes + 1): the pixels predicted as
    that, which are wrong for every class. Raises OptionError where shapes or types differ from that, or an
    id is neither below ``classes`` nor ``ignore``.
    """
    _check(ground_truth, labels, classes, ignore)
    return _count(ground_truth, labels, classes, ignore)


def _count(
    ground_truth: NDArray[np.integer], labels: NDArray[np.integer], classes: int, ignore: int | None
) -> Counts:
    columns, predicted = _columns(classes, ignore), labels.ravel()
    if columns > classes:
        predicted = np.where(predicted == ignore, np.int32(classes), predicted)
    pairs = ground_truth.astype(np.int32).ravel() * columns + predicted
    if ignore is not None:
        pairs = pairs[ground_truth.ravel() != ignore]
    return np.bincount(pairs, minlength=classes * columns).reshape(classes, columns)


def _columns(classes: int, ignore: int | None) -> int:
    return classes if ignore is None or 0 <= ignore < classes else classes + 1


def _check(
    ground_truth: NDArray[np.integer], labels: NDArray[np.integer], classes: int, ignore: int | None
) -> None:
    if ground_truth.shape != labels.shape:
        raise OptionError(
            f"labels are {_size(labels)} but the ground truth is {_size(ground_truth)}: "
            "scale one to the other"
        )
    for name, verb, ids in (("the ground truth", "has", ground_truth), ("labels", "have", labels)):
        if ids.dtype.kind not in "ui":
            raise OptionError(f"{name} must be whole class ids, got {ids.dtype}: convert them to uint8")
        if not ids.size:
            continue
        low, high = int(ids.min()), int(ids.max())
        if ignore is not None and (high >= classes or low < 0):
            counted = ids[ids != ignore]
            low, high = (int(counted.min()), int(counted.max())) if counted.size else (0, 0)
        if low < 0 or high >= classes:
            way_out = (
                "say which id to ignore, as in --ignore ID"
                if ids is ground_truth
                else "were they made with other classes?"
            )
            raise OptionError(
                f"{name} {verb} id {high if low >= 0 else low}, but classes are 0 to {classes - 1}: {way_out}"
            )


def _size(array: NDArray[np.integer]) -> str:
    return "x".join(map(str, array.shape)) or "a single number"


def iou(counts: Counts) -> Floats:
    """Intersection over union per class, in percent: (classes,) float64, nan for a class in neither map."""
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(axis=0)[: len(both)] + counts.sum(axis=1) - both
    share: Floats = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return 100 * share


def miou(counts: Counts, ignore: int | None = None) -> float:
    """Mean IoU over classes, in percent.

    Classes found neither in the ground truth nor in the prediction are left out, and so is ``ignore`` where
    it is a class id; a class that is only predicted counts as 0. nan where nothing was counted.
    """
    values = iou(counts)
    if ignore is not None and 0 <= ignore < len(values):
        values[ignore] = np.nan
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size and counts.any() else math.nan


def wiou(counts: Counts) -> float:
    """Weighted IoU, in percent: each class counts by its share of the ground truth
    (frequency-weighted IoU)."""
    total = counts.sum()
    return float(np.nansum(iou(counts) * counts.sum(axis=1)) / total) if total else math.nan


def accuracy(counts: Counts) -> float:
    """Share of pixels with the right class, in percent."""
    total = counts.sum()
    return float(100 * np.trace(counts) / total) if total else math.nan


class Consistency:
    """Video consistency VC_n of one video (MPVSS appendix A.1; TV3S Eq. 4), for several lengths of window.

    For every window of n frames: of the pixels whose ground truth is one class throughout, the share whose
    prediction is that class throughout, ``|∩P ∩ ∩P̂| / |∩P|``; averaged over all T - n + 1 windows.

    Ignored pixels are never constant. A window without any constant pixel has no ratio and is left out. A
    video shorter than n gives nan. What is kept is two maps of run lengths, whatever n is.

    The code published with VSPW differs: it asks only that the prediction be constant, right or wrong, leaves
    out the last window, counts constant ignored pixels, and divides by zero where nothing is constant.

    Not thread-safe: one per video.
    """

    def __init__(self, windows: Sequence[int] = (8, 16), ignore: int | None = None) -> None:
        if any(not 1 <= n <= 255 for n in windows):
            raise OptionError(f"a consistency window is 1 to 255 frames long, got {list(windows)}")
        self.windows = tuple(windows)
        self.ignore = ignore
        self._last: NDArray[np.integer] | None = None
        self._sums = [0.0] * len(self.windows)
        self._counts = [0] * len(self.windows)

    def update(self, ground_truth: NDArray[np.integer], labels: NDArray[np.integer]) -> None:
        """Take the next frame. Raises OptionError where its size is not that of the video."""
        last = ground_truth if self._last is None else self._last
        if not ground_truth.shape == labels.shape == last.shape:
            raise OptionError(
                f"{_size(ground_truth)} and {_size(labels)} in a video of {_size(last)}: begin another video"
            )
        if self._last is None:
            self._steady = np.zeros(ground_truth.shape, np.uint8)
            self._right = np.zeros(ground_truth.shape, np.uint8)
        same = ground_truth == last
        hit = labels == ground_truth
        # A run starts anew where the ground truth changes; 255 stands for that many or more.
        self._steady = np.minimum(self._steady * same, 254) + np.uint8(1)
        if self.ignore is not None:
            self._steady *= ground_truth != self.ignore
        self._right = (np.minimum(self._right * same, 254) + np.uint8(1)) * hit
        for i, n in enumerate(self.windows):
            steady = self._steady >= n
            total = int(np.count_nonzero(steady))
            if total:
                self._sums[i] += np.count_nonzero(steady & (self._right >= n)) / total
                self._counts[i] += 1
        self._last = ground_truth.copy()

    def result(self) -> list[float]:
        """VC_n in percent for every window length, nan where no window had a constant pixel."""
        return [100 * s / n if n else math.nan for s, n in zip(self._sums, self._counts, strict=True)]


@dataclass(frozen=True)
class ScoreReport(Report):
    """What `Scores` found, in percent; NaN where there was nothing to measure."""

    frames: int
    miou: float
    wiou: float
    accuracy: float
    mvc8: float
    mvc16: float
    iou: dict[str, float]
    """By class name."""
    miou_by_distance: list[float]
    """Entry d: mIoU of the frames d after their key frame."""


class Scores:
    """Scores of a stream of label maps against the ground truth, frame by frame; not thread-safe."""

    def __init__(self, classes: int, ignore: int | None = None) -> None:
        if classes < 1:
            raise OptionError(f"scores need at least one class, got {classes}")
        self.classes, self.ignore = classes, ignore
        self.frames = 0
        self._by_distance: dict[int, Counts] = {}
        self._video = Consistency(ignore=ignore)
        self._past: list[list[float]] = []

    @property
    def counts(self) -> Counts:
        """The confusion matrix of all frames, as `confusion` gives it: (true class, predicted class)."""
        empty = np.zeros((self.classes, _columns(self.classes, self.ignore)), np.int64)
        return sum(self._by_distance.values(), empty)

    def update(
        self, ground_truth: NDArray[np.integer], labels: NDArray[np.integer], frames_since_key: int = 0
    ) -> None:
        """Count a frame: class ids (H, W) of one shape; ``frames_since_key`` is 0 on a key frame.

        Raises OptionError like `confusion`, and then counts nothing.
        """
        if ground_truth.ndim != 2 or frames_since_key < 0:
            raise OptionError(
                f"a label map is (H, W) and a distance of 0 or more, got {_size(ground_truth)} and "
                f"{frames_since_key}"
            )
        counts = confusion(ground_truth, labels, self.classes, self.ignore)
        self._video.update(ground_truth, labels)
        frames_since_key = min(frames_since_key, FURTHEST)
        self._by_distance[frames_since_key] = self._by_distance.get(frames_since_key, 0) + counts
        self.frames += 1

    def begin(self) -> None:
        """The next frame does not follow the last one: another video, or frames are missing in between."""
        self._past.append(self._video.result())
        self._video = Consistency(ignore=self.ignore)

    def result(self, names: Sequence[str] | None = None) -> ScoreReport:
        """The scores so far, by class ``names``; mVC_n is the mean of VC_n over the videos that have one."""
        names = [str(i) for i in range(self.classes)] if names is None else names
        if len(names) != self.classes:
            raise OptionError(f"{len(names)} names for {self.classes} classes: give one each")
        counts = self.counts
        per_class = iou(counts)
        if self.ignore is not None and 0 <= self.ignore < self.classes:
            per_class[self.ignore] = np.nan
        videos = np.array([*self._past, self._video.result()])
        mvc8, mvc16 = (float(v[~np.isnan(v)].mean()) if (~np.isnan(v)).any() else math.nan for v in videos.T)
        distances = range(max(self._by_distance, default=-1) + 1)
        by_distance = [self._by_distance.get(d) for d in distances]
        return ScoreReport(
            frames=self.frames,
            miou=miou(counts, self.ignore),
            wiou=wiou(counts),
            accuracy=accuracy(counts),
            mvc8=mvc8,
            mvc16=mvc16,
            iou={name: float(value) for name, value in zip(names, per_class, strict=True)},
            miou_by_distance=[math.nan if c is None else miou(c, self.ignore) for c in by_distance],
        )


def averaged_flops(key: float, nonkey: float, interval: int) -> float:
    """Mean cost of a frame, one key frame in ``interval`` (AR-Seg supplement, Eq. 1), in the unit given."""
    if interval < 1:
        raise OptionError(f"a key-frame interval is 1 or more, got {interval}")
    return key / interval + nonkey * (interval - 1) / interval


def bd_flops(base_cost: ArrayLike, base_miou: ArrayLike, cost: ArrayLike, miou: ArrayLike) -> float:
    """Mean change of cost at equal mIoU against a base, in percent; -50 is half (AR-Seg supplement, A5).

    A cubic polynomial of log cost over mIoU is fitted to each method's points, and their difference averaged
    over the mIoU both reach. Raises OptionError for less than 4 points, a cost that is not positive, or no
    common range.
    """
    base, test = _curve(base_cost, base_miou), _curve(cost, miou)
    return 100 * math.expm1(_mean_difference(base[::-1], test[::-1], "mIoU"))


def bd_miou(base_cost: ArrayLike, base_miou: ArrayLike, cost: ArrayLike, miou: ArrayLike) -> float:
    """Mean change of mIoU at equal cost against a base, in the unit of mIoU: `bd_flops`, axes exchanged."""
    return _mean_difference(_curve(base_cost, base_miou), _curve(cost, miou), "cost")


def _curve(cost: ArrayLike, miou: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(cost, np.float64), np.asarray(miou, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(np.unique(x)) < 4 or len(np.unique(y)) < 4:
        raise OptionError(
            f"a curve needs 4 or more different costs and as many mIoUs, got {x.tolist()} and {y.tolist()}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all()):
        raise OptionError(f"costs must be positive and mIoUs finite, got {x.tolist()} and {y.tolist()}")
    return np.log(x), y


def _mean_difference(base: tuple[Floats, Floats], test: tuple[Floats, Floats], axis: str) -> float:
    """The mean of test - base over their common positions, each a cubic polynomial of (position, value)."""
    low = max(base[0].min(), test[0].min())
    high = min(base[0].max(), test[0].max())
    if high <= low:
        raise OptionError(f"the two curves share no range of {axis}: measure them where they overlap")
    areas = [Polynomial.fit(x, y, 3).integ() for x, y in (base, test)]
    (a, b) = (float(area(high) - area(low)) for area in areas)
    return (b - a) / float(high - low)
