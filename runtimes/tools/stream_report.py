"""What a stream's motion vectors are worth: the work behind ``edge-vss motion``."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import MissingExtra, OptionError, SourceError
from edge_vss.metrics import confusion, miou
from edge_vss.report import Json, Report
from edge_vss.runtimes.motion._coded import provider_of, why_none, with_vectors
from edge_vss.runtimes.opening import Opening, check_repeatable
from edge_vss.runtimes.sources import Uri
from edge_vss.runtimes.tools.frame_matching import BREAKS, MatchReport
from edge_vss.runtimes.tools.ground_truth import GroundTruth, again, labels_of_size
from edge_vss.runtimes.tracing.cells import cells, grid_of
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.values import check_limit, whole_number
from edge_vss.video import Frame, Size, StreamInfo

CARRIERS = ("hold", "codec", "flow", "auto")
"""What carries the label maps in each row of the comparison. ``codec`` stands for whoever reads the vectors
that the encoder chose."""

EVERY_ID = 256


@dataclass(frozen=True)
class StreamReport(Report):
    """What a stream is, and what its motion vectors cover."""

    codec: str
    """FFmpeg's name of the codec; empty for arrays and images."""

    frames: int

    size: Size
    """Height and width in pixels."""

    fps: float
    picture_types: dict[str, int]
    """How many pictures of each of the codec's types there are."""

    longest_gop: int
    """The most frames from one I-frame to the next."""

    exports_vectors: bool
    """Whether the decoder gives motion vectors for this codec."""

    provider: str | None
    """The motion provider that reads them: ``codec`` from the decoder, ``hevc`` with a parser; None where
    nobody does."""

    has_b_frames: bool
    references: int | None
    """H.264: the most reference frames that the stream may use. HEVC: the most that one of its frames was
    seen to use. None where that is not known."""

    coverage: float
    """Mean share of the picture that has a vector, 0 to 1, over the frames that are not I-frames."""

    digest: str
    """SHA-256 over all fields of all vectors, in the order of the frames."""

    advice: tuple[str, ...]
    """What to change in the encoder, one sentence each."""

    interval: int | None = None
    """Frames from one label map that was carried to the next; None where none was given."""

    ground_truth: MatchReport | None = None
    """Which frames had a label map; None where none was given."""

    miou: dict[str, float | None] | None = None
    """mIoU in percent of the label maps that were carried, by what carried them (``CARRIERS``); ``codec`` is
    None where the codec gives no vectors."""

    def to_json(self) -> dict[str, Json]:
        """``interval``, ``ground_truth`` and ``miou`` are left out where there was no ground truth."""
        left_out = ("interval", "ground_truth", "miou") if self.miou is None else ()
        return {name: value for name, value in super().to_json().items() if name not in left_out}


class Findings:
    """Collects what frames tell about their stream; an interruption loses nothing. Not thread-safe."""

    def __init__(self) -> None:
        self.frames = 0
        self._stream: StreamInfo | None = None
        self._digest = hashlib.sha256()
        self._types: Counter[str] = Counter()
        self.coverage: list[float | None] = []
        """Of each frame so far, the share that has a vector; None on I-frames and the first frame."""
        self._gops: list[int] = []
        self._references = 0

    def add(self, frame: Frame, stream: StreamInfo) -> None:
        """Take the next frame of a stream."""
        self._stream = stream
        self.frames += 1
        self._types[frame.picture_type] += 1
        if frame.picture_type == "I":
            self._gops.append(0)
        if self._gops:
            self._gops[-1] += 1
        _absorb(self._digest, frame)
        self._references = max(self._references, _references(frame))
        measured = frame.picture_type != "I" and frame.index
        self.coverage.append(_covered(frame) if measured else None)

    def result(self) -> StreamReport:
        """The report on the frames so far, without ``miou``. Raises SourceError where there was no frame."""
        stream = self._stream
        if stream is None:
            raise SourceError("no frame was read: give a video that plays")
        covered = [share for share in self.coverage if share is not None]
        found = StreamReport(
            codec=stream.codec,
            frames=self.frames,
            size=stream.size,
            fps=stream.fps,
            picture_types=dict(sorted(self._types.items())),
            longest_gop=max(self._gops, default=0),
            exports_vectors=stream.exports_vectors,
            provider=_provider(stream),
            has_b_frames=stream.has_b_frames or self._types["B"] > 0,
            references=stream.references or self._references or None,
            coverage=float(np.mean(covered)) if covered else 0.0,
            digest=self._digest.hexdigest(),
            advice=(),
        )
        return replace(found, advice=tuple(advice(found, why_none(stream))))


def report(
    uri: Uri,
    ground_truth: GroundTruth | str | Path | None = None,
    interval: int = 5,
    *,
    ignore: int | None = None,
    limit: int | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[], None] | None = None,
    findings: Findings | None = None,
) -> StreamReport:
    """What the stream is and what its vectors cover.

    With ``ground_truth``, a folder of label maps, the report has ``miou`` too: a label map at least
    ``interval`` frames after the last one is carried along the motion to the frames that follow, and compared
    with theirs.
    ``limit`` ends the reading after so many frames. ``findings`` keeps what was read where an exception ends
    this.

    Raises SourceError where the source cannot be read, or the label maps do not fit it; OptionError for an
    ``interval`` or ``limit`` below 1, and for ``ground_truth`` with a live source or a pipe, whose frames
    come only once.
    """
    whole_number("interval", interval, 1, "5 is a good start")
    check_limit(limit)
    if ground_truth is not None:
        check_repeatable(uri)
    findings = findings or Findings()
    losses = 0
    with opening.open(uri, motion=with_vectors) as source:
        stream = source.info
        if stream.live and ground_truth is not None:
            raise OptionError(
                f"{stream.uri} is live and cannot be compared with label maps: "
                "record some of it, and give the file"
            )
        if ground_truth is not None:
            maps = ground_truth if isinstance(ground_truth, GroundTruth) else GroundTruth(ground_truth)
            matching = maps.matched(source, again(uri, opening))
        for frame in islice(source, limit):
            losses += frame.start in BREAKS
            findings.add(frame, stream)
            if on_frame is not None:
                on_frame()
    found = findings.result()
    if ground_truth is None:
        return found
    match = matching.report(found.frames, ended=limit is None or found.frames < limit, losses=losses)
    if not match.labelled or (match.by == "order" and (match.unused or match.missing)):
        raise maps.uneven(stream.uri, f"{found.frames} frames")
    ways = {"hold": "none", "codec": found.provider, "flow": "flow", "auto": "auto"}
    reached = {
        row: None
        if way is None
        else _carry(uri, matching.maps, interval, replace(opening, motion=way), ignore, limit, maps.of_file)
        for row, way in ways.items()
    }
    return replace(found, interval=interval, ground_truth=match, miou=reached)


def advice(found: StreamReport, why_none: str = "") -> list[str]:
    """What to change in the encoder so that the vectors tell more, one sentence each. ``why_none`` says why
    nobody reads any."""
    if found.provider is None and found.codec == "hevc":
        return [f"{why_none}; motion is optical flow until then"]
    if found.provider is None:
        advised = "; a camera that can be set to H.264 or HEVC saves that" if found.codec else ""
        return [f"{why_none}, so motion comes from optical flow{advised}"]
    if found.provider == "hevc" and not found.coverage and set(found.picture_types) - {"I"}:
        return ["no vector could be read (the page on HEVC says of what), so motion comes from optical flow"]
    sentences = []
    told = found.provider == "hevc"
    if found.has_b_frames:
        sentences.append(
            "B-frames: motion is a little less exact than without (-bf 0)"
            if told
            else "B-frames: references are told apart by pixels, which costs time: encode with -bf 0"
        )
    if found.codec == "h264" and (found.references or 0) > 1:
        sentences.append(
            f"up to {found.references} reference frames: vectors do not say which: encode with -refs 1"
        )
    if found.coverage < 0.7:
        sentences.append(
            f"vectors cover {found.coverage:.0%} of the picture: a higher bit rate or less movement "
            "between frames (a higher frame rate) gives fewer intra blocks"
        )
    best = "each names its frame" if told else "one reference"
    return sentences or [f"the vectors say everything they can: {best}, no B-frames"]


def _provider(stream: StreamInfo) -> str | None:
    try:
        return provider_of(stream) or None
    except MissingExtra:
        return None


def _references(frame: Frame) -> int:
    """How many frames this one refers to, as far as its vectors say."""
    told = None if frame.vectors is None else frame.vectors.reference
    return 0 if told is None else len(np.unique(told[told != 0]))


def _absorb(digest: Any, frame: Frame) -> None:
    digest.update(f"{frame.index} {frame.picture_type} ".encode())
    if frame.vectors is not None:
        for part in fields(frame.vectors):
            values = getattr(frame.vectors, part.name)
            if values is not None:
                digest.update(values.tobytes())


def _covered(frame: Frame) -> float:
    grid = grid_of(frame.size)
    return float((cells(frame.vectors, grid)[1] | cells(frame.vectors, grid, ahead=True)[1]).mean())


def _carry(
    uri: Uri,
    maps: Mapping[int, Path],
    interval: int,
    opening: Opening,
    ignore: int | None,
    limit: int | None,
    read: Callable[[Path, Size], NDArray[np.uint8]] = labels_of_size,
) -> float:
    counts = np.zeros((EVERY_ID, EVERY_ID), np.int64)
    tracer = Tracer()
    anchored: NDArray[np.uint8] | None = None
    since_key = 0
    with opening.open(uri) as source:
        for frame in islice(source, limit):
            path = maps.get(frame.index)
            true = None if path is None else read(path, frame.size)
            since_key += 1
            if frame.start:
                anchored = None
            elif anchored is not None:
                tracer.follow(frame)
                # Of sparse label maps, each is compared before it is carried on.
                if true is not None and since_key != interval:
                    counts += confusion(true, tracer.carry(anchored), EVERY_ID, ignore)
            if true is not None and (anchored is None or since_key >= interval):
                tracer.anchor(frame)
                if since_key == interval or anchored is None:
                    counts += confusion(true, true, EVERY_ID, ignore)
                anchored, since_key = true, 0
    return miou(counts, ignore)
