"""What holds for long: ``python -m tests.fuzzing.soak [PART ...] [--share S]`` prints a table of counts.

A share of 1 is the long form: 10,000 damaged streams of eight codecs, 10,000 damaged bundles, 200 kills of
each of three commands, a million frames, 100 runs to one digest, 24 sessions at once. ``tests/test_soak.py``
runs a small share.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import av
import cv2

from edge_vss import bundle, load, open_source
from edge_vss.cli.terminal import say, table
from edge_vss.errors import BundleError
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.timing import rss_mb
from tests.fuzzing import killed
from tests.fuzzing.count import Count
from tests.helpers.videos import encode, pan

CODECS = {
    "h264": ("libx264", {"preset": "veryfast"}, "mp4"),
    "hevc": ("libx265", {"x265-params": "log-level=none"}, "mp4"),
    "mpeg4": ("mpeg4", {}, "avi"),
    "mpeg2": ("mpeg2video", {}, "ts"),
    "mpeg1": ("mpeg1video", {}, "mpg"),
    "vp8": ("libvpx", {"deadline": "realtime"}, "webm"),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, "webm"),
    "av1": ("libsvtav1", {"preset": "12"}, "mkv"),
}
HANG_SECONDS = 60.0
WARM_FRAMES = 2_000
AT_ONCE = 24


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, left out, doubled or cut off."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 10, 40])):
        at, length = rng.randrange(len(found)), rng.choice([1, 1, 2, 16, 400])
        kind = rng.randrange(4)
        if kind == 0:
            found[at : at + length] = rng.randbytes(min(length, len(found) - at))
        elif kind == 1:
            del found[at : at + min(length, len(found) - 1 - at)]
        elif kind == 2:
            found[at:at] = found[at : at + length]
        elif rng.random() < 0.1:
            del found[max(at, 1) :]
    return bytes(found)


def clips(folder: Path) -> dict[str, Path]:
    """A small clip of every codec that this FFmpeg encodes."""
    made = {}
    for name, (encoder, options, suffix) in CODECS.items():
        try:
            av.Codec(encoder, "w")
        except av.error.FFmpegError:
            continue
        made[name] = encode(folder / f"{name}.{suffix}", pan(12, (64, 96)), encoder, options)
    return made


STREAMS = """
import random, sys
from pathlib import Path
from edge_vss import load, open_source
from edge_vss.errors import EdgeVssError
from edge_vss.runtimes.pipeline import run
from tests.fuzzing.soak import damaged
vss, clip, place, first, last = sys.argv[1:]
data, segmenter = Path(clip).read_bytes(), load(vss, "onnxruntime", threads=1)
place = Path(place)
for seed in range(int(first), int(last)):
    place.write_bytes(damaged(data, random.Random(f"{clip[-9:]} {seed}")))
    try:
        with open_source(place) as source:
            run(source, segmenter.session("interval:4"))
        print(seed, "played", flush=True)
    except EdgeVssError:
        print(seed, "refused", flush=True)
"""


def streams(vss: Path, folder: Path, share: float) -> list[Count]:
    """Damaged streams through a whole run: a frame, an error in one line, and nothing else may come."""
    made, rows = clips(folder), []
    each = max(1, round(share * 10_000 / len(made)))
    for name, clip in made.items():
        place, played, wrong, seed, notes = folder / f"damaged{clip.suffix}", 0, 0, 0, ""
        while seed < each:
            command = [sys.executable, "-c", STREAMS, str(vss), str(clip), str(place), str(seed), str(each)]
            seen, problem = _watched(command, HANG_SECONDS)
            played += sum(line.endswith("played") for line in seen)
            seed += len(seen)
            if seed < each:
                wrong, notes, seed = wrong + 1, f"{notes} seed {seed}: {problem}", seed + 1
        rows.append(Count(f"damaged {name} streams", each, wrong, notes or f"{played} gave frames"))
    return rows


def _watched(command: list[str], silence_seconds: float) -> tuple[list[str], str]:
    """The lines of a process, and how it ended; one that says nothing for so long is ended."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        said, since = 0, monotonic()
        while True:
            try:
                process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                size = os.fstat(out.fileno()).st_size
                if size != said:
                    said, since = size, monotonic()
                if monotonic() - since > silence_seconds:
                    process.kill()
                    process.wait()
                    return _lines(out), "hangs"
        text = _lines(err)
        return _lines(out), f"status {process.returncode} {text[-1] if text else ''}"


def _lines(file: object) -> list[str]:
    file.seek(0)  # type: ignore[attr-defined]
    return file.read().splitlines()  # type: ignore[attr-defined, no-any-return]


def bundles(vss: Path, folder: Path, share: float) -> list[Count]:
    """Damaged graph files and cut manifests: none may load."""
    copy, tries, loaded = folder / "damaged.vss", round(share * 10_000), 0
    shutil.copytree(vss, copy)
    files = [copy / name for graph in bundle.read(vss).graphs for name in (graph.file, graph.data) if name]
    manifest = copy / "manifest.json"
    for seed in range(tries):
        rng = random.Random(seed)
        file = manifest if rng.random() < 0.3 else rng.choice(files)
        whole = file.read_bytes()
        # A manifest is text that people may change. Cut short, it is none.
        changed = whole[: rng.randrange(len(whole.rstrip()))] if file is manifest else damaged(whole, rng)
        file.write_bytes(changed)
        try:
            load(copy, "onnxruntime")
            loaded += changed != whole
        except BundleError:
            pass
        file.write_bytes(whole)
    load(copy, "onnxruntime")
    return [Count("damaged bundles", tries, loaded, "none may load")]


def growth(vss: Path, folder: Path, share: float) -> list[Count]:
    """Frames without end in one process: it may not grow."""
    clip, frames = encode(folder / "loop.mp4", pan(300, (64, 96))), max(round(share * 1_000_000), WARM_FRAMES)
    segmenter, sizes, done = load(vss, "onnxruntime", threads=1), list[float](), 0
    while done < frames:
        with open_source(clip) as source:
            done += run(source, segmenter.session()).frames
        if done >= WARM_FRAMES:
            sizes.append(rss_mb())
    grown = max(sizes) - sizes[0]
    return [Count("frames without growth", done, int(grown > 10), f"{grown:.1f} MB more after {WARM_FRAMES}")]


def digests(vss: Path, folder: Path, share: float) -> list[Count]:
    """One digest of labels, however many threads there are."""
    clip, runs = encode(folder / "one.mp4", pan(40)), max(4, round(share * 100))
    found = []
    for number in range(runs):
        cv2.setNumThreads(1 + number % 4)
        found.append(_digest(vss, clip, number % 3))
    cv2.setNumThreads(-1)
    return [Count("runs to one digest", runs, len(set(found)) - 1, "threads 1 to 4 and 0 to 2")]


def _digest(vss: Path, clip: Path, threads: int) -> str:
    session, digest = load(vss, "onnxruntime", threads=threads).session("interval:6"), hashlib.sha256()
    with open_source(clip) as source:
        for frame in source:
            digest.update(session.step(frame).labels.tobytes())
    return digest.hexdigest()


def sessions(vss: Path, folder: Path, share: float) -> list[Count]:
    """Many sessions of one segmenter at once give what one gives alone."""
    clip, segmenter = encode(folder / "many.mp4", pan(60)), load(vss, "onnxruntime", threads=1)

    def one(_: int) -> list[bytes]:
        session = segmenter.session("interval:5")
        with open_source(clip) as source:
            return [session.step(frame).labels.tobytes() for frame in source]

    alone = one(0)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wrong = sum(found != alone for found in pool.map(one, range(AT_ONCE)))
    return [Count("sessions at once", AT_ONCE, wrong, "the labels of one alone")]


PARTS: dict[str, Callable[[Path, Path, float], list[Count]]] = {
    "streams": streams,
    "bundles": bundles,
    "kills": killed.of_run,
    "kills-convert": killed.of_convert,
    "kills-serve": killed.of_serve,
    "growth": growth,
    "digests": digests,
    "sessions": sessions,
}


def soaked(vss: Path, parts: Iterator[str], share: float) -> Iterator[Count]:
    """The rows of the parts named."""
    for name in parts:
        with tempfile.TemporaryDirectory(prefix="edge-vss-soak-") as folder:
            yield from PARTS[name](vss, Path(folder), share)


def main() -> int:
    """Run the parts named, or all, and print the table."""
    from tests.helpers.bundles import make_bundle

    parser = argparse.ArgumentParser(description="Damages, kills and repeats, and counts what goes wrong.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without one")
    parser.add_argument("--share", type=float, default=1.0, help="of the long form, 0 to 1")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="edge-vss-soak-") as folder:
        rows = []
        for row in soaked(make_bundle(Path(folder)), iter(args.parts or PARTS), args.share):
            say(f"{row.what}: {row.tried}, {row.wrong} wrong ({row.notes})")
            rows.append(row)
    table(("what", "tried", "wrong", ""), [(r.what, r.tried, r.wrong, r.notes) for r in rows])
    return int(any(row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main())
