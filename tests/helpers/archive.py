"""A small archive: recordings of the drawn street of several kinds, and a bundle that knows it."""

from __future__ import annotations

import filecmp
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from edge_vss.errors import MissingExtra, SourceError
from edge_vss.runtimes.archive.driver import label
from edge_vss.runtimes.archive.jobs import Job, Task, with_task
from edge_vss.runtimes.archive.processes import Processes, Runner
from edge_vss.runtimes.archive.recordings import Recording
from edge_vss.runtimes.motion import _parts as parts
from edge_vss.video import Size
from tests.helpers.scene import scene
from tests.helpers.videos import Image, encode

BUNDLE = Path(__file__).resolve().parents[1] / "data" / "scene.vss"
"""What `tests.helpers.bundles.make_bundle` makes."""


PARTS = 20
"""The fewest frames of a part here: a recording of a few seconds then has some."""


def noise(count: int, size: Size = (48, 64)) -> list[Image]:
    """The street, small."""
    return [scene(index, size)[0] for index in range(count)]


def footage(folder: Path) -> Path:
    """Recordings of several kinds, with parts of `PARTS` frames; one was cut short, one has one frame."""
    fast = {"preset": "ultrafast", "bf": "0", "refs": "1", "sc_threshold": "0"}
    frames = noise(90)
    (folder / "day").mkdir(parents=True)
    (folder / "ts").mkdir()
    encode(folder / "p.mp4", frames[:70], options={**fast, "g": "10"})
    encode(
        folder / "b.mp4",
        frames[:60],
        options={
            "preset": "veryfast",
            "g": "12",
            "sc_threshold": "0",
            "x264-params": "open-gop=1:b-pyramid=normal",
        },
    )
    encode(folder / "day" / "p.mp4", frames[20:70], codec="mpeg4", options={"g": "12"})
    encode(folder / "ts" / "cut.ts", frames[:90], options={**fast, "g": "10"})
    whole = (folder / "ts" / "cut.ts").read_bytes()
    (folder / "ts" / "cut.ts").write_bytes(whole[: len(whole) * 4 // 5])
    encode(folder / "one.avi", frames[:1], codec="mpeg4")
    return folder


ANY = Task("", str(BUNDLE), "", "interval:5")
SOMEWHERE = Recording("somewhere.mp4", "/footage/somewhere.mp4")


@dataclass(frozen=True)
class InSmallParts:
    """A job for another process, where parts are as short as here."""

    task: Task
    job: Job

    @property
    def recording(self) -> Recording:
        return self.job.recording

    def __call__(self) -> object:
        parts.PART_FRAMES = PARTS
        return with_task(self.job, self.task)()


class SmallParts:
    """A `Runner` that makes them so."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.workers = runner.workers

    def submit(self, job: Job) -> None:
        self._runner.submit(InSmallParts(job.task, job))

    def next(self) -> tuple[Job, object]:
        job, found = self._runner.next()
        assert isinstance(job, InSmallParts)
        return job.job, found

    def close(self) -> None:
        self._runner.close()


@dataclass(frozen=True)
class Deadly:
    """A job that ends its process."""

    task: Task = ANY
    recording: Recording = SOMEWHERE

    def __call__(self) -> object:
        os.kill(os.getpid(), signal.SIGKILL)
        return None


@dataclass(frozen=True)
class Raising:
    """A job that raises."""

    text: str
    extra: bool
    task: Task = ANY
    recording: Recording = SOMEWHERE

    def __call__(self) -> object:
        raise MissingExtra("onnxruntime", "onnxruntime", "this") if self.extra else SourceError(self.text)


def main(recordings: str, out: str) -> None:
    """Label them with two processes."""
    label(BUNDLE, [recordings], out, shard_frames=1, runner=lambda task: SmallParts(Processes(2)))


if __name__ == "__main__":
    main(*sys.argv[1:])


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, bit for bit."""
    names = [
        {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}
        for top in (one, other)
    ]
    assert names[0] == names[1]
    return not any(filecmp.cmpfiles(one, other, names[0], shallow=False)[1:])
