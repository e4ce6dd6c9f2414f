"""The pieces of work: plain values that can be sent anywhere, each with one pure function, ``call``.

What a job leaves behind depends on its fields alone. It may be done twice, or by two at once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Protocol

import cv2

from edge_vss.decisions import Prediction
from edge_vss.runtimes.archive import index
from edge_vss.runtimes.archive.planning import Plan, Shard, plan
from edge_vss.runtimes.archive.recordings import Recording
from edge_vss.runtimes.archive.store import Store, fingerprint, open_store, reading
from edge_vss.runtimes.labelling import both_ways
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sinks import writing
from edge_vss.runtimes.sinks.confidence import grey
from edge_vss.runtimes.sinks.labels import encode_png
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.tools.label_video import LabelVideoWriter
from edge_vss.runtimes.tools.label_video import joined as joined_videos
from edge_vss.video import Frame

MAPS = ("png", "mkv")


@dataclass(frozen=True)
class Task:
    """What is the same for all jobs of a run."""

    out: str
    """The path or URL of the results."""
    bundle: str
    identity: str
    """The SHA-256 of the bundle's manifest, which holds the hashes of its graphs."""
    policy: str
    engine: str = ""
    provider: str = ""
    threads: int = 1
    """Of one worker."""
    motion: str = "auto"
    maps: str = "png"
    confidence: bool = False
    shard_frames: int = 2000


class Job(Protocol):
    """One piece of work."""

    @property
    def task(self) -> Task:
        """What is the same for all jobs."""

    @property
    def recording(self) -> Recording:
        """The recording that it belongs to."""

    def __call__(self) -> object:
        """Do it. Raises SourceError for what cannot be read, other EdgeVssErrors where no job could go on."""


@dataclass(frozen=True)
class Planning:
    """Find out how a recording is cut. Gives its Plan, or None where it is labelled already."""

    task: Task
    recording: Recording

    def __call__(self) -> Plan | None:
        """What an earlier run planned, if the recording is the same; else everything of it begins anew."""
        store, name = open_store(self.task.out), self.recording.name
        with reading(self.recording.source) as path:
            mark = fingerprint(path)
            finished = store.read(f"index/{name}.parquet")
            if finished is not None and index.about(finished).get("fingerprint") == mark:
                store.remove(f"parts/{name}")
                return None
            before = store.read(f"parts/{name}/plan.json")
            if before is not None and (known := Plan.of_bytes(before)).fingerprint == mark:
                return known
            made = plan(path, mark, self.task.shard_frames)
        begin_anew(store, name, made)
        return made


def begin_anew(store: Store, name: str, made: Plan | None = None) -> None:
    """Take away all that there is of a recording, and write down how it is cut."""
    # The index first: no rows may tell of labels that are gone.
    for place in (f"index/{name}.parquet", f"parts/{name}", f"labels/{name}", f"confidence/{name}"):
        store.remove(place)
    if made is not None:
        store.write(f"parts/{name}/plan.json", made.to_bytes())


@dataclass(frozen=True)
class Labelled:
    """What became of a shard."""

    frames: int
    keyframes: int
    seconds: float
    """What it took."""
    worker: str
    """Who did it: host and process."""
    as_planned: bool
    """Whether its frames were those that were planned. If not, nothing of it counts."""


@dataclass(frozen=True)
class Labelling:
    """Label one shard."""

    task: Task
    recording: Recording
    shard: Shard
    fingerprint: str

    def __call__(self) -> Labelled:
        """Write its maps, and then its rows: whoever finds those need not do it again."""
        began = perf_counter()
        task, shard, name = self.task, self.shard, self.recording.name
        cv2.setNumThreads(task.threads)
        segmenter = _loaded(task.bundle, task.identity, task.engine, task.provider, task.threads)
        session = segmenter.session(task.policy)
        store, rows = open_store(task.out), index.Rows(name, segmenter.manifest)
        keyframes = 0
        with ExitStack() as stack:
            path = stack.enter_context(reading(self.recording.source))
            source = stack.enter_context(Opening(task.motion, live=False, parts=True).open(path, session))
            reader = _Reader(source, shard)
            maps = stack.enter_context(_Maps(store, task, name, shard, segmenter))
            for frame, prediction in both_ways(reader.frames(), session):
                if frame is reader.beyond:
                    continue
                maps.write(prediction)
                rows.add(frame, prediction)
                keyframes += prediction.decision.route != "nonkey"
            if reader.as_planned:
                maps.finish()
        count = len(rows.columns.get("frame", ()))
        if reader.as_planned:
            about = {"fingerprint": self.fingerprint, "bundle": task.identity}
            store.write(f"parts/{name}/{shard.place}.parquet", rows.parquet(about))
        worker = f"{socket.gethostname()}:{os.getpid()}"
        return Labelled(count, keyframes, perf_counter() - began, worker, reader.as_planned)


class _Reader:
    """The frames of one shard, and whether they are those that were planned."""

    def __init__(self, source: Source, shard: Shard) -> None:
        self._source, self._shard = source, shard
        self.as_planned = True
        self.beyond: Frame | None = None
        """The frame that the next shard begins with."""

    def frames(self) -> Iterator[Frame]:
        """Up to the frame that the next shard begins with, or the end."""
        shard, count = self._shard, 0
        if shard.start_pts is not None:
            self._source.seek(shard.start_seconds)
        settled = shard.start_pts is None
        for count, frame in enumerate(self._source):
            if count == 0 and shard.start_pts not in (None, frame.pts):
                self.as_planned = False
                return
            # Pictures that need what comes before the shard say so before its second I-frame, if at all.
            settled = settled or (count > 0 and frame.picture_type == "I" and not frame.start)
            if count and frame.start and not settled:
                self.as_planned = False
                return
            frame.index = shard.first_frame + count
            if frame.begins_part and shard.end_pts is not None and frame.pts == shard.end_pts:
                self.beyond = frame
                self.as_planned = count == shard.frames
                yield frame
                return
            yield frame
        self.as_planned = shard.end_pts is None


class _Maps:
    """Where the maps of a shard go: pictures straight to their place, or a file that is joined later."""

    def __init__(self, store: Store, task: Task, name: str, shard: Shard, segmenter: Segmenter) -> None:
        self._store, self._name, self._shard = store, name, shard
        self._video, self._confidence = task.maps == "mkv", task.confidence
        heads = segmenter.manifest.maps
        self._palettes = {f"labels/{name}": heads[0].palette if not heads[0].is_matte else None}
        self._others = {head.name: f"labels/{name}/{head.name}" for head in heads[1:]}
        self._palettes |= {self._others[h.name]: None if h.is_matte else h.palette for h in heads[1:]}
        self._writers: dict[str, tuple[LabelVideoWriter, Path]] = {}
        self._stack = ExitStack()

    def write(self, prediction: Prediction) -> None:
        self._write(f"labels/{self._name}", prediction, prediction.labels)
        for head, place in self._others.items():
            self._write(place, prediction, prediction.heads[head])
        if self._confidence:
            self._write(f"confidence/{self._name}", prediction, grey(prediction))

    def _write(self, place: str, prediction: Prediction, values: index.Ids) -> None:
        if not self._video:
            data = encode_png(values, self._palettes.get(place))
            self._store.write(f"{place}/{prediction.index:06d}.png", data)
            return
        if place not in self._writers:
            scratch = self._store.scratch() / f"{os.getpid()}-{len(self._writers)}-{os.urandom(8).hex()}"
            self._stack.callback(scratch.unlink, missing_ok=True)
            with writing(scratch):
                self._writers[place] = self._stack.enter_context(LabelVideoWriter(scratch)), scratch
        writer, scratch = self._writers[place]
        with writing(scratch):
            writer.write(values, prediction.pts_seconds)

    def finish(self) -> None:
        """Put files in their places."""
        for place, (writer, scratch) in self._writers.items():
            with writing(scratch):
                writer.close()
            self._store.put(f"parts/{self._name}/{place}/{self._shard.place}.mkv", scratch)

    def __enter__(self) -> _Maps:
        return self

    def __exit__(self, *of_error: object) -> None:
        self._stack.close()


@dataclass(frozen=True)
class Finishing:
    """Join the shards of a recording."""

    task: Task
    recording: Recording
    plan: Plan

    def __call__(self) -> None:
        """The index is the last that is written: where it is, all is."""
        store, name = open_store(self.task.out), self.recording.name
        shards = self.plan.shards
        for folder in sorted(
            {at.rpartition("/")[0] for at in store.names(f"parts/{name}") if at.endswith(".mkv")}
        ):
            self._join(store, folder, folder.removeprefix(f"parts/{name}/"))
        parts = (store.read(f"parts/{name}/{shard.place}.parquet") for shard in shards)
        about = {
            "fingerprint": self.plan.fingerprint,
            "bundle": self.task.identity,
            "file": self.recording.source,
        }
        rows = index.joined([part for part in parts if part is not None], about)
        store.write(f"index/{name}.parquet", rows)
        store.remove(f"parts/{name}")

    def _join(self, store: Store, folder: str, place: str) -> None:
        scratch = store.scratch() / os.urandom(8).hex()
        parts = [scratch.with_name(f"{scratch.name}-{shard.number}") for shard in self.plan.shards]
        try:
            with writing(scratch):
                for shard, part in zip(self.plan.shards, parts, strict=True):
                    store.fetch(f"{folder}/{shard.place}.mkv", part)
                joined_videos(parts, scratch)
            store.put(f"{place}.mkv", scratch)
        finally:
            for file in (scratch, *parts):
                file.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _loaded(bundle: str, identity: str, engine: str, provider: str, threads: int) -> Segmenter:
    # A worker's first job loads the bundle, and all others of the run use it.
    return load(bundle, engine or None, threads, provider)


def with_task(job: Job, task: Task) -> Job:
    """The same job for another task. All jobs are dataclasses."""
    return replace(job, task=task)  # type: ignore[type-var]
