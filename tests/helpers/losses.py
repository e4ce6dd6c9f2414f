"""Streams with one packet taken out, and what that does to the pictures: always the same for one seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random

import av
import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.sources import open_source
from edge_vss.video import StartReason
from tests.helpers.videos import Image, encode, texture

SIZE = (96, 160)
FRAMES = 49
_VISIBLE_GREY_LEVELS, _VISIBLE_SHARE = 24, 0.02
"""A picture is visibly wrong where so many of its pixels are so far off."""

_X265 = "log-level=none:pools=none:frame-threads=1"


@dataclass(frozen=True)
class Recipe:
    """How a stream is encoded."""

    codec: str
    encoder: str
    options: dict[str, str]
    base: str = "mp4"
    """The container that it is encoded for. MP4 wants MPEG-4's headers once, beside the stream."""

    @property
    def containers(self) -> list[str]:
        """Suffixes of the containers that hold it."""
        headless = self.codec == "mpeg4" and self.base == "mp4"
        outside = {"hevc": {"avi"}, "vp8": {"ts", "mp4"}, "vp9": {"ts"}}.get(
            self.codec, {"ts"} if headless else set()
        )
        return [suffix for suffix in CONTAINERS if suffix not in outside]


def _recipes() -> Iterator[Recipe]:
    x264 = {"preset": "veryfast", "sc_threshold": "0"}
    yield Recipe("h264", "libx264", {**x264, "bf": "0", "refs": "1", "g": "250"}, "ts")
    yield Recipe("h264", "libx264", {**x264, "bf": "0", "refs": "3", "g": "12", "crf": "32"}, "ts")
    yield Recipe("h264", "libx264", {**x264, "bf": "2", "refs": "2", "g": "15", "crf": "18"}, "ts")
    yield Recipe(
        "h264", "libx264", {"preset": "medium", "x264-params": "open-gop=1:bframes=5:keyint=24"}, "ts"
    )
    yield Recipe("h264", "libx264", {**x264, "bf": "0", "g": "17", "tune": "zerolatency"}, "ts")
    for bframes, keyint, more in (
        (0, 12, ""),
        (0, 250, ":ref=1"),
        (4, 250, ":ref=3"),
        (3, 16, ":open-gop=1"),
    ):
        yield Recipe(
            "hevc",
            "libx265",
            {
                "preset": "veryfast" if keyint == 250 else "ultrafast",
                "x265-params": f"{_X265}:bframes={bframes}:keyint={keyint}{more}",
            },
        )
    for codec in ("mpeg1video", "mpeg2video", "mpeg4"):
        for gop, bf, rate in (
            ("12", "0", "400k"),
            ("250", "0", "200k"),
            ("12", "2", "800k"),
            ("18", "1", "300k"),
        ):
            options = {"g": gop, "bf": bf, "b": rate, "sc_threshold": "1000000000"}
            yield Recipe(codec, codec, options, "ts" if gop == "12" else "mp4")
    vpx = {"deadline": "realtime", "cpu-used": "8"}
    for codec, encoder in (("vp8", "libvpx"), ("vp9", "libvpx-vp9")):
        yield Recipe(codec, encoder, {**vpx, "g": "12", "b": "300k", "lag-in-frames": "0"}, "mkv")
        yield Recipe(codec, encoder, {**vpx, "g": "250", "b": "600k", "lag-in-frames": "0"}, "mkv")
        yield Recipe(
            codec,
            encoder,
            {**vpx, "g": "250", "b": "300k", "auto-alt-ref": "1", "lag-in-frames": "16"},
            "mkv",
        )


RECIPES = tuple(_recipes())
CONTAINERS = {"mp4": "mp4", "mkv": "matroska", "avi": "avi", "ts": "mpegts"}


def scene(seed: int, count: int = FRAMES) -> list[Image]:
    """A camera that moves unevenly over a still picture, and two boxes before it."""
    random = np.random.default_rng(seed)
    steps = random.integers(2, 7, (count, 2)) * random.choice([-1, 1], 2)
    places = np.cumsum(steps, axis=0)
    places -= places.min(axis=0)
    height, width = SIZE
    wall = texture((height + int(places[:, 1].max()), width + int(places[:, 0].max())), seed)
    frames = []
    for number, (x, y) in enumerate(places.tolist()):
        frame = wall[y : y + height, x : x + width].copy()
        left, top = (7 * number) % (width - 30), (5 * number + 20) % (height - 24)
        frame[top : top + 24, left : left + 30] = (220, 40, 40)
        frame[height - 24 - top : height - top, width - 30 - left : width - left] = (30, 200, 230)
        frames.append(frame)
    return frames


@dataclass(frozen=True)
class Whole:
    """An encoded stream with nothing missing."""

    recipe: Recipe
    path: Path
    lumas: list[NDArray[np.uint8]]
    """Its frames in the order of showing."""
    shown: list[int]
    """For each packet, in decoding order, the place of its frame in the order of showing."""


def whole(folder: Path, number: int, frames: list[Image] | None = None) -> Whole:
    """The stream of one recipe."""
    recipe = RECIPES[number % len(RECIPES)]
    path = encode(folder / f"{number}.{recipe.base}", frames or scene(number), recipe.encoder, recipe.options)
    with av.open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size]
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    lumas = [np.asarray(picture.to_ndarray(format="gray"), np.uint8) for picture in pictures]
    order = sorted(time for time in times if time is not None)
    return Whole(recipe, path, lumas, [order.index(time) for time in times if time is not None])


def without(
    source: Path, target: Path, lost: Sequence[int], *, closed: bool = False, earlier_seconds: float = 0.0
) -> Path:
    """Copies a video of 25 frames per second without the packets of these numbers. ``closed``: later times
    move up. ``earlier_seconds``: all times move up, some before 0."""
    options = {"avoid_negative_ts": "disabled"} if earlier_seconds else {}
    with (
        av.open(str(source)) as before,
        av.open(str(target), "w", format=CONTAINERS[target.suffix[1:]], options=options) as after,
    ):
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        gone, first = 0, stream.start_time or 0
        for number, packet in enumerate(packet for packet in before.demux(stream) if packet.size):
            if number in lost:
                gone += 1
                continue
            back = round(gone / 25 / packet.time_base) if closed else 0
            if earlier_seconds:
                back += first + round(earlier_seconds / packet.time_base)
            made = av.Packet(bytes(packet))
            made.pts = None if packet.pts is None else packet.pts - back
            made.dts = None if packet.dts is None else packet.dts - back
            made.duration = packet.duration or 0
            made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
            made.stream = copy
            after.mux(made)
    return target


@dataclass(frozen=True)
class Outcome:
    """What came of a stream with a packet missing."""

    frames: int
    wrong: list[int]
    """Numbers of the frames that are visibly wrong, of those that came."""
    starts: dict[int, StartReason]
    """Start reasons after the first frame's."""
    losses: int
    """As the run's report counts them."""

    @property
    def silent(self) -> bool:
        """Whether pixels are visibly wrong before a frame began anew, or frames are short without a word."""
        # The first frame begins anew anyway, whatever comes before it.
        wrong = [index for index in self.wrong if index]
        told_in_time = not wrong or any(index <= wrong[0] for index in self.starts)
        return not told_in_time or (self.frames < FRAMES - 1 and not self.starts and not self.losses)


def outcome(stream: Whole, path: Path, lost: int, motion: str = "none") -> Outcome:
    """Reads a stream that lacks one packet, and compares its pictures with the whole one's."""
    with open_source(path, motion=motion) as source:
        frames = [(frame.luma.copy(), frame.start) for frame in source]
        losses = sum(start == StartReason.LOST_PACKETS for _, start in frames) + source.untold_losses
    expected = [place for place in range(len(stream.lumas)) if place != stream.shown[lost]]
    expected = _aligned([luma for luma, _ in frames], stream.lumas, expected)
    wrong = []
    for index, ((luma, _), place) in enumerate(zip(frames, expected, strict=True)):
        off = np.abs(luma.astype(np.int16) - stream.lumas[place])
        if (off > _VISIBLE_GREY_LEVELS).mean() > _VISIBLE_SHARE:
            wrong.append(index)
    starts = {index: start for index, (_, start) in enumerate(frames) if index and start}
    return Outcome(len(frames), wrong, starts, losses)


def _aligned(came: list[NDArray[np.uint8]], lumas: list[NDArray[np.uint8]], places: list[int]) -> list[int]:
    """The places of the frames that came, where the decoder left out some more."""
    spare, chosen, at = len(places) - len(came), [], 0
    for luma in came:
        off = [np.abs(luma.astype(np.int16) - lumas[places[at + skip]]).mean() for skip in range(spare + 1)]
        skip = int(np.argmin(off))
        spare, at = spare - skip, at + skip + 1
        chosen.append(places[at - 1])
    return chosen


@dataclass(frozen=True)
class Case:
    """One stream with one packet missing."""

    recipe: int
    suffix: str
    lost: int
    motion: str = "none"

    def __str__(self) -> str:
        recipe = RECIPES[self.recipe % len(RECIPES)]
        return f"{recipe.codec}#{self.recipe} .{self.suffix} without packet {self.lost}, motion {self.motion}"


def cases(count: int, seed: int = 11) -> list[Case]:
    """So many cases, spread evenly over recipes and containers; other scenes where there are many."""
    random = Random(seed)
    kinds = [
        (number, suffix)
        for number in range(len(RECIPES) * max(1, count // 500))
        for suffix in RECIPES[number % len(RECIPES)].containers
    ]
    random.shuffle(kinds)
    return [
        Case(number, suffix, random.randrange(1, FRAMES - 1), random.choice(["none", "codec"]))
        for number, suffix in islice(cycle(kinds), count)
    ]
