"""Labelling many recordings: what is to be done next, what is done already, and what came of it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

from edge_vss.bundle.rules import MANIFEST
from edge_vss.claim import Claim
from edge_vss.errors import OptionError, SinkError, SourceError
from edge_vss.files import sha256
from edge_vss.runtimes.archive import index
from edge_vss.runtimes.archive.jobs import (
    MAPS,
    Finishing,
    Job,
    Labelled,
    Labelling,
    Planning,
    Task,
    begin_anew,
)
from edge_vss.runtimes.archive.planning import Plan
from edge_vss.runtimes.archive.processes import Processes, Runner
from edge_vss.runtimes.archive.recordings import Recording, find
from edge_vss.runtimes.archive.report import Failure, LabelReport, OnProgress
from edge_vss.runtimes.archive.store import SCRATCH, Local, Store, is_remote, open_store
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sinks import writing

ABOUT = "label.json"
"""The file that says what the results were made with."""
_FIXED = ("bundle", "policy", "engine", "provider", "motion", "maps", "confidence")
_AHEAD = 3
"""Jobs that are given out for every worker, so that none waits."""


def label(
    bundle: str | Path,
    footage: Sequence[str],
    out: str | Path,
    *,
    policy: str | None = None,
    engine: str | None = None,
    provider: str = "",
    threads: int = 1,
    workers: int = 1,
    motion: str = "auto",
    maps: str = "png",
    confidence: bool = False,
    shard_frames: int = 2000,
    runner: Callable[[Task], Runner] | None = None,
    on_progress: OnProgress | None = None,
) -> LabelReport:
    """Labels every video in ``footage`` (files, folders, URLs of fsspec) from both sides, into ``out``.

    ``out`` gets ``labels/`` (PNG folders or one file a recording, as ``maps`` says: ``png``, ``mkv``),
    ``index/`` (Parquet, a row a frame) and, with ``confidence``, ``confidence/``. Calling it again goes on
    where it was stopped. ``runner`` gives what does the jobs; without it, so many ``workers`` on this
    machine, each on so many cores as ``threads``.

    Raises OptionError where ``out`` was made with another bundle or other options, or where the bundle cannot
    be labelled from both sides; SinkError where nothing can be written; MissingExtra without pyarrow.
    """
    began = perf_counter()
    index.arrow()
    if workers < 1:
        raise OptionError(f"workers wants 1 or more, got {workers}: 1 is a good start")
    if maps not in MAPS:
        raise OptionError(f"maps are written as {' or '.join(MAPS)}, got {maps!r}: choose one")
    # Found out here, once, rather than by every worker.
    segmenter = load(bundle, engine, threads, provider)
    if ", " in segmenter.engine:
        # A worker that chose for itself might choose otherwise, and labels have to be the same everywhere.
        segmenter = load(bundle, segmenter.engine.partition(", ")[0], threads, provider)
    session = segmenter.session(policy)
    if not session.labels_from_key_frames:
        raise OptionError(
            "this bundle's frames depend on the frames before them, so they cannot be labelled from both "
            "sides: use run for each recording"
        )
    place = str(out) if is_remote(str(out)) else str(Path(str(out).removeprefix("file://")).absolute())
    task = Task(
        out=place,
        bundle=str(Path(bundle).absolute()),
        identity=sha256(Path(bundle) / MANIFEST),
        policy=policy or segmenter.manifest.policy,
        engine=segmenter.engine,
        provider=provider,
        threads=threads,
        motion=motion,
        maps=maps,
        confidence=confidence,
        shard_frames=shard_frames,
    )
    recordings = find(footage, "" if is_remote(place) else place)
    with ExitStack() as stack:
        store = open_store(place)
        if isinstance(store, Local):
            stack.callback(_claimed(store).release)
            store.remove(SCRATCH)
            stack.callback(store.remove, SCRATCH)
        _check_same(store, task)
        work = _Work(task, store, deque(recordings), on_progress)
        doing = Processes(workers) if runner is None else runner(task)
        stack.callback(doing.close)
        work.run(doing)
    return work.report(perf_counter() - began)


def _claimed(store: Local) -> Claim:
    with writing(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
        try:
            return Claim(store.root / ".edge-vss-label.lock")
        except BlockingIOError:
            raise SinkError(
                f"{store.root} is in use (another label writes there): wait for it, or choose another folder"
            ) from None


def _check_same(store: Store, task: Task) -> None:
    """Raises OptionError where the results there were made with something else."""
    fixed = {name: value for name, value in asdict(task).items() if name in _FIXED}
    fixed["bundle"] = task.identity
    before = store.read(ABOUT)
    if before is None:
        store.write(ABOUT, json.dumps({"format": 1, **fixed}, indent=2).encode() + b"\n")
        return
    try:
        known = dict(json.loads(before))
    except ValueError:
        raise OptionError(f"{task.out}/{ABOUT} is damaged: choose another folder") from None
    for name, value in fixed.items():
        if known.get(name) != value:
            raise OptionError(
                f"{task.out} was made with the {name.replace('_', ' ')} {known.get(name)}, this is {value}: "
                "choose another folder, or give what it was made with"
            )


@dataclass
class _Open:
    """A recording that is being labelled."""

    plan: Plan
    left: int
    frames: int = 0
    keyframes: int = 0
    broken: bool = False
    """Whether a shard was not as planned, so that all of it is to be labelled in one piece."""


@dataclass
class _Work:
    task: Task
    store: Store
    recordings: deque[Recording]
    on_progress: OnProgress | None
    ready: deque[Job] = field(default_factory=deque)
    open: dict[Recording, _Open] = field(default_factory=dict)
    begun: set[Recording] = field(default_factory=set)
    failed: dict[Recording, str] = field(default_factory=dict)
    finished: int = 0
    before: int = 0
    frames: int = 0
    keyframes: int = 0
    twice: int = 0
    pieces: int = 0
    planned: int = 0
    video_seconds: float = 0.0
    workers: dict[str, tuple[int, float]] = field(default_factory=dict)

    def run(self, runner: Runner) -> None:
        """Until nothing is left to do."""
        running = 0
        while True:
            # So many at a time that memory does not grow with the archive.
            while running < _AHEAD * runner.workers and (job := self._next_job()) is not None:
                runner.submit(job)
                running += 1
            if not running:
                break
            done, found = runner.next()
            running -= 1
            self._take(done, found)
        # One that could not be read at all may be there again tomorrow: what it has is kept.
        for recording in self.failed.keys() & self.begun:
            begin_anew(self.store, recording.name)

    def _next_job(self) -> Job | None:
        if self.ready:
            return self.ready.popleft()
        return Planning(self.task, self.recordings.popleft()) if self.recordings else None

    def _take(self, job: Job, found: object) -> None:
        if isinstance(found, BaseException):
            self._fail(job.recording, found)
        elif isinstance(job, Planning):
            self._begin(job.recording, found)
        elif isinstance(job, Labelling):
            assert isinstance(found, Labelled)
            self._shard_done(job, found)
        else:
            self.finished += 1

    def _fail(self, recording: Recording, error: BaseException) -> None:
        # What one file cannot do is no reason to stop. All else would happen again with the next one.
        if not isinstance(error, SourceError):
            raise error
        self.failed.setdefault(recording, str(error))
        self.open.pop(recording, None)
        self.ready = deque(job for job in self.ready if job.recording != recording)

    def _begin(self, recording: Recording, plan: object) -> None:
        if plan is None:
            self.finished += 1
            self.before += 1
            return
        assert isinstance(plan, Plan)
        self.begun.add(recording)
        self._cut(recording, plan)

    def _cut(self, recording: Recording, plan: Plan) -> None:
        there = set(self.store.names(f"parts/{recording.name}"))
        wanted = [
            shard for shard in plan.shards if f"parts/{recording.name}/{shard.place}.parquet" not in there
        ]
        self.planned += sum(shard.frames or plan.frames for shard in wanted)
        self.open[recording] = _Open(plan, len(wanted))
        self.ready.extend(Labelling(self.task, recording, shard, plan.fingerprint) for shard in wanted)
        if not wanted:
            self._finish(recording)

    def _shard_done(self, job: Labelling, found: Labelled) -> None:
        frames, seconds = self.workers.get(found.worker, (0, 0.0))
        self.workers[found.worker] = frames + found.frames, seconds + found.seconds
        opened = self.open.get(job.recording)
        if opened is None:
            return
        opened.left -= 1
        opened.broken = opened.broken or not found.as_planned
        if found.as_planned:
            self.frames += found.frames
            self.keyframes += found.keyframes
            opened.frames += found.frames
            opened.keyframes += found.keyframes
            self.twice += job.shard.end_pts is not None
            self.video_seconds += opened.plan.seconds * found.frames / max(1, opened.plan.frames)
        if self.on_progress is not None:
            self.on_progress(self.frames, self.planned, self.video_seconds, self._rates())
        if opened.left:
            return
        if opened.broken:
            self.pieces += 1
            self.frames, self.keyframes = self.frames - opened.frames, self.keyframes - opened.keyframes
            whole = opened.plan.in_one_piece()
            begin_anew(self.store, job.recording.name, whole)
            self._cut(job.recording, whole)
        else:
            self._finish(job.recording)

    def _finish(self, recording: Recording) -> None:
        self.ready.appendleft(Finishing(self.task, recording, self.open.pop(recording).plan))

    def _rates(self) -> dict[str, float]:
        return {name: frames / seconds for name, (frames, seconds) in self.workers.items() if seconds}

    def report(self, seconds: float) -> LabelReport:
        """What came of it."""
        return LabelReport(
            recordings=self.finished,
            labelled_before=self.before,
            frames=self.frames,
            keyframes=self.keyframes,
            key_frames_twice=self.twice,
            in_one_piece=self.pieces,
            seconds=round(seconds, 3),
            fps=round(self.frames / seconds, 2),
            video_hours_per_hour=round(self.video_seconds / seconds, 2),
            workers={name: round(rate, 2) for name, rate in sorted(self._rates().items())},
            failed=[Failure(recording.source, reason) for recording, reason in self.failed.items()],
        )
