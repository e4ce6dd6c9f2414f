"""Small real videos for tests: known scenes, encoded and muxed by FFmpeg, and taken apart again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.video import Size

Image = NDArray[np.uint8]

P_ONLY = {"preset": "veryfast", "bf": "0", "refs": "1", "g": "250", "sc_threshold": "0"}
"""What a stream should be for its vectors to say everything: no B-frames, one reference, one I-frame."""

B_FRAMES = {"preset": "medium", "bf": "3", "refs": "3", "g": "250", "sc_threshold": "0"}
"""What x264 does by default: B-frames (some of them references), three references."""


def texture(size: Size, seed: int = 0) -> Image:
    """(H, W, 3) uint8: smooth random colours, which motion estimation can hold on to."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(2, size[0] // 8), max(2, size[1] // 8), 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def pan(count: int, size: Size = (96, 128), step: tuple[int, int] = (2, 0), seed: int = 0) -> list[Image]:
    """A camera over a still scene, whose content moves by ``step`` (x, y) pixels from frame to frame."""
    dx, dy = step
    large = texture((size[0] + abs(dy) * count, size[1] + abs(dx) * count), seed)
    frames = []
    for i in range(count):
        x = dx * (count - 1 - i) if dx > 0 else -dx * i
        y = dy * (count - 1 - i) if dy > 0 else -dy * i
        frames.append(np.ascontiguousarray(large[y : y + size[0], x : x + size[1]]))
    return frames


def encode(
    path: Path,
    frames: Iterable[Image],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    fps: int = 25,
    pix_fmt: str = "yuv420p",
    times: Sequence[float] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    muxer: dict[str, str] | None = None,
    format: str | None = None,
) -> Path:
    """Encodes RGB frames; ``times`` in seconds vary the rate, a player shows it turned and then mirrored."""
    time_base = Fraction(1, 1000 * fps)
    with av.open(str(path), "w", format=format, options=muxer or {}) as container:
        stream: Any = None
        for i, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=fps)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.options = P_ONLY if options is None and codec == "libx264" else options or {}
                if times is not None:
                    stream.codec_context.time_base = time_base
                if rotation or mirrored:
                    stream.set_display_rotation(rotation, mirrored)
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            if times is not None:
                picture.pts, picture.time_base = round(times[i] / time_base), time_base
            else:
                picture.pts, picture.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def retimed(source: Path, target: Path, change: Callable[[int], int]) -> Path:
    """Copies packets; ``change`` gets how many frames are shown before a packet's, and gives its time, in
    frames too."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = before.streams.video[0]
        copy: Any = after.add_stream_from_template(stream)
        packets = [packet for packet in before.demux(stream) if packet.size]
        order = sorted(packet.pts or 0 for packet in packets)
        assert stream.average_rate is not None and stream.time_base is not None
        frame = round(1 / stream.average_rate / stream.time_base)
        for packet in packets:
            packet.pts = frame * change(order.index(packet.pts or 0))
            packet.dts, packet.stream = min(packet.pts, packet.dts or 0), copy
            after.mux(packet)
    return target


def remux(
    source: Path,
    target: Path,
    change: Callable[[int, bytes], bytes | None],
    format: str | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Copies packets; ``change`` gets a number in decoding order and bytes, and gives bytes or None."""
    with (
        av.open(str(source)) as before,
        av.open(str(target), "w", format=format, options=muxer or {}) as after,
    ):
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in before.demux(stream) if packet.size):
            content = change(number, bytes(packet))
            if content is None:
                continue
            made = av.Packet(content)
            made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration or 0
            made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
            made.stream = copy
            after.mux(made)
    return target


def drop(source: Path, target: Path, lost: Iterable[int], format: str | None = None) -> Path:
    """Copies a video without the packets of these numbers, counted in decoding order."""
    gone = set(lost)
    return remux(source, target, lambda number, content: None if number in gone else content, format)


def annex_b(source: Path, target: Path) -> Path:
    """An H.264 file as a raw stream of start codes, with its parameter sets in front of every I-frame."""
    return remux(source, target, lambda number, content: content, format="h264")


def decoded(path: Path) -> list[Image]:
    """Every frame as PyAV alone converts it, (H, W, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def stills(folder: Path) -> list[Image]:
    """Every PNG of a folder in the order of the names, (H, W, 3) uint8 RGB."""
    read = (cv2.imread(str(path)) for path in sorted(folder.glob("*.png")))
    return [np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8) for bgr in read if bgr is not None]


def audio(path: Path, seconds: float = 0.5) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16_000)
        samples = np.zeros((1, round(16_000 * seconds)), np.float32)
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        sound.sample_rate = 16_000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path
