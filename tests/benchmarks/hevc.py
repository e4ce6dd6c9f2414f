"""What reading HEVC's motion costs beside decoding: `python -m tests.benchmarks.hevc`, with EDGE_VSS_DATA.

Two drives are encoded by x265 at the rates of dashcams. Processor seconds of the parser (through WebAssembly,
with its limits) and of FFmpeg's decoder on one thread, in turn, the best of nine runs each. Then those of a
whole source, in each way of getting its motion, and how long each takes from end to end, as medians.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import av

from edge_vss.cli.terminal import say, table
from edge_vss.runtimes.motion._hevc.parser import Parser
from edge_vss.runtimes.sources import open_source
from tests.helpers.hevc import packets

CLIPS = {
    "720p at 2.4 Mb/s": ("udacity_solidWhiteRight.mp4", (720, 1280), 2_400_000),
    "1080p at 4.7 Mb/s": ("intel_car-detection.mp4", (1080, 1920), 4_700_000),
}
FRAMES, FPS, RUNS = 100, 25, 9
WAYS: dict[str, dict[str, str]] = {
    "flow": {"motion": "flow"},
    "hevc": {"motion": "hevc"},
    "hevc, pictures=key": {"motion": "hevc", "pictures": "key"},
    "hevc, pictures=none": {"motion": "hevc", "pictures": "none"},
}


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description="Measures the parser of HEVC's motion.").parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("hevc needs video/: set EDGE_VSS_DATA to the folder that holds it")
        return
    rows: list[tuple[str, ...]] = []
    ways: list[tuple[str, ...]] = []
    ends: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="edge-vss-hevc-") as scratch:
        paths = {"480×360, x265 defaults": data / "video" / "0016E5_hevc_default.mp4"}
        for name, (file, size, rate) in CLIPS.items():
            paths[name] = encode(data / "video" / file, Path(scratch) / f"{size[0]}.mp4", size, rate)
        for name, path in paths.items():
            pairs = [(parsing(path), decoding(path)) for _ in range(RUNS)]
            parsed, decoded = (min(pair[i] for pair in pairs) for i in range(2))
            rows.append((name, f"{parsed:.3f}", f"{decoded:.3f}", f"{parsed / decoded:.2f}"))
            turns = [[whole(path, **way) for way in WAYS.values()] for _ in range(RUNS)]
            of_ways = [list(zip(*of_way, strict=True)) for of_way in zip(*turns, strict=True)]
            ways.append((name, *(f"{min(spent):.1f}" for spent, _ in of_ways)))
            ends.append((name, *(f"{median(took):.1f}" for _, took in of_ways), _ratio(of_ways)))
    table(("stream", "parse s", "decode s", "parse / decode"), rows)
    say("Processor milliseconds a frame, for decoding and motion together")
    table(("stream", *WAYS), ways)
    say("Milliseconds a frame from end to end")
    table(("stream", *WAYS, "hevc / flow"), ends)


def _ratio(of_ways: list[list[tuple[float, ...]]]) -> str:
    """How long the second way takes, of what the first takes: the median of the turns."""
    (_, first), (_, second), *_ = of_ways
    return f"{median(b / a for a, b in zip(first, second, strict=True)):.2f}"


def encode(source: Path, target: Path, size: tuple[int, int], rate: int) -> Path:
    """The first frames of a drive, scaled, as x265 encodes them by default at a bit rate."""
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream: Any = after.add_stream("libx265", rate=FPS)
        stream.height, stream.width = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", rate
        stream.options = {"x265-params": "log-level=none"}
        for number, frame in enumerate(islice(before.decode(video=0), FRAMES)):
            scaled = frame.reformat(size[1], size[0], "yuv420p", interpolation="BICUBIC")
            scaled.pts, scaled.time_base = number, Fraction(1, FPS)
            after.mux(stream.encode(scaled))
        after.mux(stream.encode(None))
    return target


def parsing(path: Path) -> float:
    """Processor seconds of the parser, the copy of its results included."""
    extradata, found = packets(path)
    parser = Parser(extradata)
    began = process_time()
    for _, packet in found:
        parser.read(packet)
    return process_time() - began


def whole(path: Path, **options: str) -> tuple[float, float]:
    """Milliseconds a frame of a source with its motion: of all threads together, and by the clock."""
    began, began_clock = process_time(), perf_counter()
    with open_source(path, **options) as source:  # type: ignore[arg-type]
        count = sum(1 for _ in source)
    return 1e3 * (process_time() - began) / count, 1e3 * (perf_counter() - began_clock) / count


def decoding(path: Path) -> float:
    """Processor seconds of FFmpeg's decoder on one thread."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        found = list(container.demux(stream))
        began = process_time()
        for packet in found:
            stream.codec_context.decode(packet if packet.size else None)
        return process_time() - began


if __name__ == "__main__":
    main()
