"""What a stream's motion vectors are worth: the work behind ``edge-vss motion``."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import OptionError, SourceError
from edge_vss.metrics import confusion, miou
from edge_vss.report import Json, Report
from edge_vss.runtimes.motion._vectors import cells, grid_of
from edge_vss.runtimes.sinks import check_places
from edge_vss.runtimes.sinks._drawing import badge
from edge_vss.runtimes.sinks._video_file import VideoFile
from edge_vss.runtimes.sources import Uri
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.runtimes.tools.opening import Opening, check_repeatable
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Frame, Size, StreamInfo

CARRIERS = {"hold": "none", "codec": "codec", "flow": "flow", "auto": "auto"}
"""Row of the comparison → motion provider that carries the label maps."""

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

    has_b_frames: bool
    references: int | None
    """The most reference frames an H.264 stream may use; None where that is not known."""

    coverage: float
    """Mean share of the picture that has a vector, 0 to 1, over the frames that are not I-frames."""

    digest: str
    """SHA-256 over all fields of all vectors, in the order of the frames."""

    advice: tuple[str, ...]
    """What to change in the encoder, one sentence each."""

    interval: int | None = None
    """Frames from one label map that was carried to the next; None where none was given."""

    miou: dict[str, float | None] | None = None
    """mIoU in percent of the label maps that were carried, by what carried them (``CARRIERS``); ``codec`` is
    None where the codec gives no vectors."""

    def to_json(self) -> dict[str, Json]:
        """``interval`` and ``miou`` are left out where there was no ground truth."""
        left_out = ("interval", "miou") if self.miou is None else ()
        return {name: value for name, value in super().to_json().items() if name not in left_out}


class Findings:
    """Collects what frames tell about their stream; an interruption loses nothing. Not thread-safe."""

    def __init__(self) -> None:
        self.frames = 0
        self._stream: StreamInfo | None = None
        self._digest = hashlib.sha256()
        self._types: Counter[str] = Counter()
        self._covered: list[float] = []
        self._gops: list[int] = []

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
        if frame.picture_type != "I" and frame.index:
            self._covered.append(_covered(frame))

    def result(self) -> StreamReport:
        """The report on the frames so far, without ``miou``. Raises SourceError where there was no frame."""
        stream = self._stream
        if stream is None:
            raise SourceError("no frame was read: give a video that plays")
        found = StreamReport(
            codec=stream.codec,
            frames=self.frames,
            size=stream.size,
            fps=stream.fps,
            picture_types=dict(sorted(self._types.items())),
            longest_gop=max(self._gops, default=0),
            exports_vectors=stream.exports_vectors,
            has_b_frames=stream.has_b_frames or self._types["B"] > 0,
            references=stream.references,
            coverage=float(np.mean(self._covered)) if self._covered else 0.0,
            digest=self._digest.hexdigest(),
            advice=(),
        )
        return replace(found, advice=tuple(advice(found)))


def report(
    uri: Uri,
    ground_truth: Path | None = None,
    interval: int = 5,
    *,
    ignore: int | None = None,
    limit: int | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[], None] | None = None,
    findings: Findings | None = None,
) -> StreamReport:
    """What the stream is and what its vectors cover.

    With ``ground_truth``, a folder of label maps, the report has ``miou`` too: the label map of every
    ``interval``-th frame is carried along the motion to the frames in between, and compared with theirs.
    ``limit`` ends the reading after so many frames. ``findings`` keeps what was read where an exception ends
    this.

    Raises SourceError where the source cannot be read, or the label maps do not fit it; OptionError for an
    ``interval`` or ``limit`` below 1, and for ``ground_truth`` with a live source or a pipe, whose frames
    come only once.
    """
    if interval < 1:
        raise OptionError(f"interval wants 1 frame or more, got {interval}: 5 is a good start")
    if limit is not None and limit < 1:
        raise OptionError(f"limit wants 1 frame or more, got {limit}: leave it out to read all")
    if ground_truth is not None:
        check_repeatable(uri)
    findings = findings or Findings()
    with opening.open(uri, motion="codec") as source:
        stream = source.info
        if stream.live and ground_truth is not None:
            raise OptionError(
                f"{stream.uri} is live and cannot be compared with label maps: "
                "record some of it, and give the file"
            )
        for frame in islice(source, limit):
            findings.add(frame, stream)
            if on_frame is not None:
                on_frame()
    found = findings.result()
    if ground_truth is None:
        return found
    maps = GroundTruth(ground_truth)
    # Where the video was not read to its end, more label maps may be there.
    if len(maps) != found.frames and not (found.frames == limit and len(maps) > found.frames):
        raise SourceError(
            f"{ground_truth} holds {len(maps)} label maps, but the video has {found.frames} frames: "
            "give one per frame"
        )
    reached = {
        row: None
        if row == "codec" and not stream.exports_vectors
        else _carry(uri, maps, interval, replace(opening, motion=way), ignore, limit)
        for row, way in CARRIERS.items()
    }
    return replace(found, interval=interval, miou=reached)


def advice(found: StreamReport) -> list[str]:
    """What to change in the encoder so that the vectors tell more, one sentence each."""
    codec = found.codec or "this source"
    if not found.exports_vectors:
        return [
            f"{codec} gives no vectors, so motion comes from optical flow: encode as H.264 "
            "(ffmpeg -c:v libx264 -bf 0 -refs 1) to have it for free"
        ]
    sentences = []
    if found.has_b_frames:
        sentences.append("B-frames: references are told apart by pixels, which costs time: encode with -bf 0")
    if codec == "h264" and (found.references or 0) > 1:
        sentences.append(
            f"up to {found.references} reference frames: vectors do not say which: encode with -refs 1"
        )
    if found.coverage < 0.7:
        sentences.append(
            f"vectors cover {found.coverage:.0%} of the picture: a higher bit rate or less movement "
            "between frames (a higher frame rate) gives fewer intra blocks"
        )
    return sentences or ["the vectors say everything they can: one reference, no B-frames"]


def draw(
    uri: Uri,
    out: Path,
    *,
    limit: int | None = None,
    opening: Opening = Opening(),
    on_frame: Callable[[], None] | None = None,
) -> int:
    """Write a video with the motion drawn on every frame, or on the first ``limit``; returns how many.

    An arrow runs from where a cell's content was to where it is; its colour is its direction. A cell whose
    motion was filled in, and not measured, is red. Raises SourceError where the source cannot be
    read, SinkError where ``out`` cannot be written or is the source, OptionError for an unknown file type.
    """
    check_places({"video": out}, uri)
    count = 0
    with opening.open(uri) as source:
        info = source.info
        target = VideoFile(out, info.size, info.fps, pixel_aspect=info.pixel_aspect, colour=info.colour)
        try:
            for frame in islice(source, limit):
                target.write(_drawn(frame), frame.pts_seconds)
                count += 1
                if on_frame is not None:
                    on_frame()
        finally:
            target.close()
    return count


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
    uri: Uri, maps: GroundTruth, interval: int, opening: Opening, ignore: int | None, limit: int | None
) -> float:
    counts = np.zeros((EVERY_ID, EVERY_ID), np.int64)
    tracer = Tracer()
    labels = anchored = maps[0]
    with opening.open(uri) as source:
        for frame in islice(source, limit):
            true = maps.matching(frame.index, frame.size)
            if frame.index % interval == 0 or frame.start:
                tracer.anchor(frame)
                labels = anchored = true
            else:
                tracer.follow(frame)
                labels = tracer.carry(anchored)
            counts += confusion(true, labels, EVERY_ID, ignore)
    return miou(counts, ignore)


def _drawn(frame: Frame) -> NDArray[np.uint8]:
    mixed = cv2.addWeighted(frame.image, 0.7, np.full_like(frame.image, 16), 0.3, 0)
    image = np.asarray(mixed, np.uint8)
    field = frame.motion
    text = f"{frame.index}  {frame.picture_type}"
    if field is not None:
        height, width = frame.size
        guessed = cv2.resize(
            (~field.known).astype(np.uint8),
            (field.known.shape[1] * field.cell_px, field.known.shape[0] * field.cell_px),
            interpolation=cv2.INTER_NEAREST,
        )[:height, :width]
        image[guessed > 0] = image[guessed > 0] // 2 + np.array([90, 20, 20], np.uint8)
        apart = max(1, round(max(height, width) / 40 / field.cell_px))
        for row in range(apart // 2, field.known.shape[0], apart):
            for column in range(apart // 2, field.known.shape[1], apart):
                _arrow(image, field.displacement_px[:, row, column], row, column, field.cell_px)
        text += f"  {field.provider or 'none'} {field.coverage:.0%}"
    badge(image, text)
    return image


def _arrow(
    image: NDArray[np.uint8], motion: NDArray[np.float32], row: int, column: int, cell_px: int
) -> None:
    dx, dy = float(motion[0]), float(motion[1])
    x, y = (column + 0.5) * cell_px, (row + 0.5) * cell_px
    hue = (np.degrees(np.arctan2(-dy, -dx)) % 360) / 2
    colour = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    here, before = (round(x), round(y)), (round(x + dx), round(y + dy))
    if dx * dx + dy * dy < 1:
        cv2.circle(image, here, 1, (200, 200, 200), -1, cv2.LINE_AA)
    else:
        cv2.arrowedLine(image, before, here, colour, 1, cv2.LINE_AA, tipLength=0.35)
