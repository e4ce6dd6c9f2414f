"""Many streams through one network: who gets the next key frame, streams that die, and memory. Rows of
`tests.benchmarks.late`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import SourceError
from edge_vss.metrics import confusion, miou
from edge_vss.runtimes._requests import Computed, Job, Request
from edge_vss.runtimes.fleet import Fleet, Scheduler
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.timing import rss_mb
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.video import Frame
from tests.benchmarks.both_ways import IGNORED, TruePicture, knowing
from tests.benchmarks.speed import Row
from tests.helpers import toys
from tests.helpers.videos import Image, encode, stills
from tests.test_fleet import endless
from tests.test_session import frames as toy_frames

FPS = 15
KEY_FRAMES_TAKE = 4


class Lockstep:
    """One worker for several sessions that step in turn, and takes so many frames for a key frame."""

    def __init__(self, choose: Scheduler) -> None:
        self.choose, self.waiting, self.left = choose, dict[int, Request](), 0
        self.running: Request | None = None
        self.begun = 0

    def tick_all(self) -> None:
        """One more frame of every stream is shown."""
        self.left -= 1
        if self.running is not None and self.left <= 0:
            self.running.done, self.running = True, None

    def begin(self) -> None:
        """Start the next key frame, if there is room."""
        if self.running is None and self.waiting:
            self.running = self.waiting.pop(self.choose(self.waiting))
            self.running.started, self.left = True, KEY_FRAMES_TAKE
            self.running.carry_out()
            self.begun += 1


class Seat:
    """One session's place at it."""

    def __init__(self, shared: Lockstep, number: int) -> None:
        self.shared, self.number = shared, number

    def tick(self) -> None: ...

    def offer(self, request: Request) -> None:
        self.shared.waiting[self.number] = request

    def withdraw(self) -> None:
        self.shared.waiting.pop(self.number, None)

    def settle(self, request: Request) -> None: ...

    def wait(self, request: Request, seconds: float) -> bool:
        return False

    def now(self, job: Job) -> Computed:
        return job()

    def close(self) -> None: ...


def seeing(frame: Frame, labels: NDArray[np.uint8]) -> Frame:
    """The frame, where a network sees the true labels."""
    return replace(frame, picture=TruePicture(frame.picture, np.ascontiguousarray(labels)))


def doubt(data: Path, folder: Path) -> list[Row]:
    """Mean mIoU of four clips of unlike motion with one key worker: by doubt, and in turns."""
    images = stills(data / "camvid" / "val")
    maps = GroundTruth(data / "camvid" / "valannot")
    labels = [maps[index] for index in range(len(images))]
    width = images[0].shape[1]
    across = [round((width // 3) * (0.5 - 0.5 * np.cos(i / 8))) for i in range(96)]
    cuts = [12 * (7 * (i // 12) % 8) + i % 12 for i in range(96)]
    clips: dict[str, list[tuple[Image, NDArray[np.uint8]]]] = {
        "parked": [(images[0], labels[0])] * 96,
        "steady": [(images[i], labels[i]) for i in range(96)],
        "turning": [
            (images[i][:, x : x + width * 2 // 3], labels[i][:, x : x + width * 2 // 3])
            for i, x in enumerate(across)
        ],
        "with cuts": [(images[i], labels[i]) for i in cuts],
    }
    means, texts = [], []
    for schedule in ("doubt", "turns"):
        shared = Lockstep(Scheduler(schedule=schedule))
        shown, sessions, counts = [], [], [np.zeros((12, 12), np.int64) for _ in clips]
        for number, clip in enumerate(clips.values()):
            path = encode(folder / f"{number}.mp4", [np.ascontiguousarray(i) for i, _ in clip], fps=FPS)
            with open_source(path) as source:
                shown.append([seeing(frame, clip[frame.index][1]) for frame in source])
            segmenter = knowing(shown[-1][0].size)
            sessions.append(segmenter.late(segmenter.chosen("continuous"), Seat(shared, number)))
        for index in range(96):
            shared.tick_all()
            for number, clip in enumerate(clips.values()):
                prediction = sessions[number].step(shown[number][index])
                counts[number] += confusion(clip[index][1], prediction.labels, 12, IGNORED)
            shared.begin()
        found = [miou(count, IGNORED) for count in counts]
        means.append(float(np.mean(found)))
        each = ", ".join(f"{name} {value:.1f}" for name, value in zip(clips, found, strict=True))
        texts.append(f"{schedule} {means[-1]:.2f} ({each}; {shared.begun} key frames)")
    return [Row("mean mIoU by doubt, against turns", means[0] - means[1], "", 1.0, False, "; ".join(texts))]


def dying(data: Path, folder: Path, times: int = 1000) -> list[Row]:
    """p99 of a paced stream while others die beside it, against alone."""

    def dies() -> Iterator[Frame]:
        yield from toy_frames(2)
        raise SourceError("gone")

    segmenter = toys.segmenter()
    spent: dict[bool, list[float]] = {}
    for beside in (False, True, False, True):
        with Fleet(segmenter, {"good": endless(2000)}, pace=100) as fleet:
            done, reading = 0, iter(fleet)
            for _ in reading:
                if beside and done < times // 2:
                    with Fleet(segmenter, {"dies": dies()}) as other:
                        list(other)
                    done += 1
            figures = fleet.reports()["good"].timeliness.packet_to_label_ms
        spent.setdefault(beside, []).append(figures.p99)
    alone, others = (min(spent[beside]) for beside in (False, True))
    notes = f"{times} times; p99 {alone:.2f} ms alone, {others:.2f} ms beside"
    return [Row("p99 beside streams that die / alone", others / alone, "", 1.1, True, notes)]


def memory(data: Path, folder: Path, count: int = 250_000) -> list[Row]:
    """What a million small frames through a fleet of four leave behind."""
    with Fleet(toys.segmenter(), {str(n): endless(count) for n in range(4)}) as fleet:
        before = 0.0
        for number, _ in enumerate(fleet):
            if number == 10_000:
                before = rss_mb()
        grown = rss_mb() - before
    return [Row(f"{4 * count} frames through a fleet of 4: memory grows", grown, "MB", 20, True, "")]
