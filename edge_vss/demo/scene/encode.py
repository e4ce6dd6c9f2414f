"""Writes the streets as a video file, encoded on the spot as a camera would, with the labels beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
from av.video.stream import VideoStream

from edge_vss.demo.sample import FPS, SIZE
from edge_vss.demo.scene.canvas import Bytes
from edge_vss.demo.scene.streets import scene
from edge_vss.errors import OptionError, SinkError
from edge_vss.files import utf8_name
from edge_vss.video import Size

CAMERA: Mapping[str, str] = {
    "preset": "veryfast",
    "crf": "23",
    "x264-params": "bframes=0:ref=1:keyint=60:min-keyint=60:scenecut=0:weightp=0",
}
"""What the encoder chip of a camera does, in libx264's words.

No B-frames, because they cost latency; one reference frame, because memory is dear; an I-frame every 2.4
seconds at fixed places, because the chip knows no scene cuts; no weighted prediction. Its motion vectors are
therefore easy to read: each points to the frame shown before.
"""


def write(
    path: Path,
    *,
    frames: int = 250,
    size: Size = SIZE,
    seed: int | Sequence[int] = 0,
    codec: str = "libx264",
    options: Mapping[str, str] = CAMERA,
    labels: Path | None = None,
) -> None:
    """Encode a drive to ``path``, 25 frames a second, and its labels to ``labels`` as 000000.png and so on.

    Labels are uint8 PNG without palette, one class id per pixel, for every frame. Several seeds share the
    frames evenly, with a hard cut between drives. The file appears when it is whole. Raises OptionError for
    an odd size, a codec this build lacks or no frames, and SinkError where the disk refuses.
    """
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if size[0] % 2 or size[1] % 2:
        raise OptionError(f"a video with half-size colour needs even sides, got {size[0]}x{size[1]}")
    if not 1 <= len(seeds) <= frames:
        raise OptionError(
            f"a clip needs at least one seed and a frame for each, got {len(seeds)} and {frames}"
        )
    shares = [frames * (i + 1) // len(seeds) - frames * i // len(seeds) for i in range(len(seeds))]
    pairs = chain.from_iterable([scene(s, size, n) for s, n in zip(seeds, shares, strict=True)])
    unfinished = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if labels:
            labels.mkdir(parents=True, exist_ok=True)
        _encode(unfinished, pairs, size, codec, options, labels)
        unfinished.replace(path)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise SinkError(f"cannot write {path}: {error}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _encode(
    path: Path,
    pairs: Iterator[tuple[Bytes, Bytes]],
    size: Size,
    codec: str,
    options: Mapping[str, str],
    labels: Path | None,
) -> None:
    try:
        if av.codec.Codec(codec, "w").type != "video":
            raise OptionError(f"{codec!r} does not encode video: try libx264 or mpeg4")
    except av.codec.codec.UnknownCodecError as error:
        raise OptionError(f"there is no encoder called {codec!r} here: try libx264 or mpeg4") from error
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=Fraction(FPS), options=dict(options))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index, (image, ids) in enumerate(pairs):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
            if labels:
                name = labels / f"{index:06d}.png"
                if not cv2.imwrite(utf8_name(name), ids):
                    raise SinkError(f"cannot write {name}: is the disk full?")
        container.mux(stream.encode())
