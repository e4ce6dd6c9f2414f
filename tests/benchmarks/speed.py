"""The speed rows of README's table, measured here and now: `make bench`, or python -m tests.benchmarks.speed.

Whatever is compared runs in turn in the same run, several times over, and counts by its median ratio: shared
machines change their speed from one second to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import av

from edge_vss.cli.terminal import say, table
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sinks import SinkContext, open_sink
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.timing import rss_mb
from edge_vss.runtimes.tracing.root_map import Tracer
from tests.helpers.videos import B_FRAMES, P_ONLY

INTERVAL = 5
LONG_FRAMES = 10_000
WARM_FRAMES = 1_000


@dataclass(frozen=True)
class Row:
    """One measured number and what it has to reach, if anything."""

    what: str
    measured: float
    unit: str
    target: float | None
    at_most: bool
    notes: str

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.measured <= self.target if self.at_most else self.measured >= self.target


def chosen_rows(rows: Collection[str], description: str, usual: Sequence[str] = ()) -> list[str]:
    """The rows that the command line names; without names the ``usual`` ones, or all."""
    parser = argparse.ArgumentParser(description=description)
    alone = f"without one: {', '.join(usual)}" if usual else "all without one"
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(rows)}; {alone}")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(rows):
        parser.error(f"no row is called {', '.join(unknown)}: choose from {', '.join(rows)}")
    return list(args.rows or usual or rows)


def show(rows: Sequence[Row]) -> None:
    """A table of rows, on standard error."""
    table(
        ("what", "measured", "", "to reach", "reached"),
        [
            (r.what, r.measured, r.unit, f"{'≤' if r.at_most else '≥'} {r.target:g}", r.reached)
            if r.target is not None
            else (r.what, r.measured, r.unit, "", None)
            for r in rows
        ],
    )


def main() -> None:
    """Measure every row, or the ones named."""
    rows: dict[str, Callable[[Path, int], Row]] = {
        "decode": decoding,
        "codec": partial(motion, "codec", P_ONLY),
        "b-frames": partial(motion, "codec", B_FRAMES),
        "flow": partial(motion, "flow", P_ONLY),
        "pipeline": pipeline,
        "memory": memory,
        "help": starting,
    }
    parser = argparse.ArgumentParser(description="Measures the speed rows of the README.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(rows)}; all without one")
    parser.add_argument("--json", metavar="FILE|-", help="write the numbers as JSON")
    parser.add_argument("--rounds", type=int, default=7, help="how often each comparison is made")
    args = parser.parse_args()
    if unknown := set(args.rows) - set(rows):
        parser.error(f"no row is called {', '.join(unknown)}: choose from {', '.join(rows)}")
    measured: list[Row] = []
    load_before = os.getloadavg()[0]
    if load_before > 0.5:
        say(f"this machine is busy (load {load_before:.1f}): what needs more than one core will look slow")
    with tempfile.TemporaryDirectory(prefix="edge-vss-bench-") as folder:
        for name in args.rows or rows:
            row = rows[name](Path(folder), args.rounds)
            say(f"{row.what}: {row.notes}")
            measured.append(row)
    show(measured)
    if args.json:
        found = [asdict(row) | {"reached": row.reached} for row in measured]
        result = {"cpus": os.cpu_count(), "load_before": load_before, "rows": found}
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
        else:
            Path(args.json).write_text(text, encoding="utf-8")


def decoding(folder: Path, rounds: int) -> Row:
    """720p P-only H.264: decode, dense motion, trace-back, no RGB, against PyAV's plain decode to RGB."""
    from edge_vss.demo.scene.encode import write

    clip, frames = folder / "720p.mp4", 75
    write(clip, frames=frames, size=(720, 1280), seed=3)

    def plain() -> None:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")

    def traced() -> None:
        tracer = Tracer()
        with open_source(clip, motion="codec") as source:
            for frame in source:
                if frame.index % INTERVAL == 0:
                    tracer.anchor(frame)
                else:
                    tracer.follow(frame)
                    tracer.root((90, 160))

    ratio, (ours, theirs) = compare(traced, plain, rounds)
    notes = f"{1e3 * ours / frames:.2f} against {1e3 * theirs / frames:.2f} ms per frame"
    return Row("720p decode + motion + trace-back / decode to RGB", ratio, "x", 1.6, True, notes)


def motion(way: str, options: dict[str, str], folder: Path, rounds: int) -> Row:
    """Milliseconds of one motion provider on one kind of 720p H.264."""
    from edge_vss.demo.scene.encode import write

    clip = folder / "motion.mp4"
    write(clip, frames=40, size=(720, 1280), seed=3, options=options)
    spent = []
    for _ in range(rounds):
        with open_source(clip, motion=way) as source:
            spent.append(statistics.median([frame.seconds["motion"] for frame in source][1:]))
    kind = "no B-frames" if options is P_ONLY else "3 B-frames and 3 references"
    best, worst = 1e3 * min(spent), 1e3 * max(spent)
    notes = f"{best:.2f} to {worst:.2f} ms in {rounds} rounds"
    return Row(f"720p motion, {way}, {kind}", 1e3 * statistics.median(spent), "ms", None, True, notes)


def pipeline(folder: Path, rounds: int) -> Row:
    """Frames per second of the whole pipeline, against its slowest stage with the machine to itself."""
    from edge_vss.demo.scene.encode import write

    clip, frames = folder / "streets.mp4", 100
    write(clip, frames=frames, seed=4)
    segmenter = load(make_streets(folder), threads=1)
    policy = f"interval:{INTERVAL}"
    shares: dict[str, list[float]] = {"run": [], "source": [], "graphs": [], "sinks": []}
    for turn in range(rounds):
        place = folder / f"labels{turn}"
        with open_source(clip) as source:
            sink = open_sink("labels", place, SinkContext.of(segmenter.manifest, source.info))
            report = run(source, segmenter.session(policy), [sink])
        shares["run"].append(report.seconds)
        for stage, seconds in alone(clip, segmenter, policy, place).items():
            shares[stage].append(seconds)
    typical = {stage: statistics.median(seconds) for stage, seconds in shares.items()}
    slowest = max(("source", "graphs", "sinks"), key=typical.__getitem__)
    ratios = [alone / whole for alone, whole in zip(shares[slowest], shares["run"], strict=True)]
    notes = ", ".join(f"{stage} {frames / seconds:.0f} fps" for stage, seconds in typical.items())
    return Row("throughput of run / slowest stage alone", statistics.median(ratios), "x", 0.9, False, notes)


def alone(clip: Path, segmenter: Segmenter, policy: str, place: Path) -> dict[str, float]:
    """Seconds of each stage of the pipeline with nothing else going on."""
    began = perf_counter()
    with open_source(clip) as source:
        frames = list(source)
        context = SinkContext.of(segmenter.manifest, source.info)
    decoded = perf_counter()
    session = segmenter.session(policy)
    predictions = [session.step(frame) for frame in frames]
    segmented = perf_counter()
    sink = open_sink("labels", place, context)
    for frame, prediction in zip(frames, predictions, strict=True):
        sink.write(frame, prediction)
    sink.close()
    return {"source": decoded - began, "graphs": segmented - decoded, "sinks": perf_counter() - segmented}


def make_streets(folder: Path) -> Path:
    """The sample's network as a bundle."""
    from edge_vss.converters import networks
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert
    from edge_vss.demo.sample import MEAN, SIZE, STD, WEIGHTS

    bundle = folder / "streets.vss"
    factory = f"{Path(networks.__path__[0]) / 'streetnet.py'}:streetnet"
    convert(Conversion(WEIGHTS, size=SIZE, classes="streets", factory=factory, mean=MEAN, std=STD), bundle)
    return bundle


def memory(folder: Path, rounds: int) -> Row:
    """What a process holds after many frames, beyond what it held after the first thousand."""
    from tests.helpers.bundles import make_bundle
    from tests.helpers.scene import make_video

    bundle, clip = make_bundle(folder), make_video(folder / "long.mp4", frames=LONG_FRAMES)
    code = "import sys; from tests.benchmarks.speed import held; held(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(bundle), str(clip)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    frames, warm, end, most = json.loads(done.stdout)
    notes = (
        f"{frames} frames: {warm:.1f} MB after {WARM_FRAMES}, at most {most:.1f} since, {end:.1f} at the end"
    )
    return Row("growth of memory over 10,000 frames", max(end, most) - warm, "MB", 10, True, notes)


def held(bundle: str, clip: str) -> None:
    """Run a clip; print its frames, and the memory held after the warm-up, at the end, at most in between."""
    sizes: list[float] = []

    def note(*_: object) -> None:
        notes.frames += 1
        if notes.frames % (WARM_FRAMES // 4) == 0:
            sizes.append(rss_mb())

    class notes:
        frames = 0

    segmenter = load(bundle, threads=1)
    with open_source(clip) as source, tempfile.TemporaryDirectory() as folder:
        sink = open_sink("jsonl", Path(folder) / "out.jsonl", SinkContext.of(segmenter.manifest, source.info))
        report = run(source, segmenter.session(), [sink], on_frame=note)
    warm = sizes[3]
    print(json.dumps([report.frames, warm, sizes[-1], max(sizes[3:])]))


def starting(folder: Path, rounds: int) -> Row:
    """How much sooner `edge-vss --help` is done than `import torch`."""

    def helping() -> None:
        code = "from edge_vss.cli import main; import sys; sys.argv = ['edge-vss', '--help']; main()"
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

    def importing() -> None:
        subprocess.run([sys.executable, "-c", "import torch"], check=True)

    ratio, (torch_seconds, help_seconds) = compare(importing, helping, rounds)
    notes = f"{help_seconds:.2f} against {torch_seconds:.2f} s"
    return Row("import torch / edge-vss --help", ratio, "x", 3, False, notes)


def compare(
    first: Callable[[], None], second: Callable[[], None], rounds: int
) -> tuple[float, tuple[float, float]]:
    """The median ratio of the first's time to the second's, taken in turn, and both medians in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    sides = [(first, times[0]), (second, times[1])]
    for work, _ in sides:
        work()
    for _ in range(rounds):
        for work, taken in sides:
            began = perf_counter()
            work()
            taken.append(perf_counter() - began)
        sides.reverse()
    ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
    return ratio, (statistics.median(times[0]), statistics.median(times[1]))


if __name__ == "__main__":
    main()
