"""Commands killed at any moment: what they have written is whole."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import av
import cv2

from edge_vss import load
from edge_vss.cli.terminal import say
from edge_vss.errors import EdgeVssError
from tests.fuzzing.count import Count
from tests.helpers.videos import encode, pan

KILLS = 200
HANG_SECONDS = 60.0
FIRST_PICTURES = 2
NETWORK = """
import sys, torch
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1))
torch.export.save(torch.export.export(net.eval(), (torch.zeros(1, 3, 32, 48),)), sys.argv[1])
"""


def of_run(vss: Path, folder: Path, share: float) -> list[Count]:
    """`run` killed at any moment: the overlay plays, and every label map is whole."""
    clip = encode(folder / "long.mp4", pan(300, (64, 96)))
    tries, wrong, rng, frames = max(2, round(share * KILLS)), 0, random.Random(0), 0
    for number in range(tries):
        place = folder / f"killed{number}"
        place.mkdir()
        command = [sys.executable, "-m", "edge_vss", "run", str(vss), str(clip), "--engine", "onnxruntime"]
        command += ["--out", str(place / "overlay.mp4"), "--save-labels", str(place / "labels")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Of ten kills one comes while it starts, the others while it writes.
        if number % 10:
            _wait_for_first(place / "labels", process)
        try:
            process.wait(rng.uniform(0.0, 0.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        try:
            frames += _whole(place)
        except (av.error.FFmpegError, AssertionError) as error:
            wrong += 1
            maps = len(list(place.glob("labels/*.png")))
            say(f"kill {number}: {error}; {(place / 'overlay.mp4').stat().st_size} bytes, {maps} label maps")
        shutil.rmtree(place)
    # Where nothing was written, nothing was tried.
    wrong += frames == 0
    return [Count("kills of run", tries, wrong, f"{frames} frames and label maps left, all of them whole")]


def _wait_for_first(labels: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + HANG_SECONDS
    while process.poll() is None and not any(labels.glob("*.png")) and monotonic() < deadline:
        sleep(0.01)


def _whole(place: Path) -> int:
    """How many frames and label maps are there. Raises where one cannot be read."""
    count = 0
    for path in place.glob("labels/*.png"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None, path
        count += 1
    overlay = place / "overlay.mp4"
    # A picture is in the file when the next one comes: with one or two, there may be nothing to play.
    if overlay.exists() and (overlay.stat().st_size > 0) and count > FIRST_PICTURES:
        with av.open(str(overlay)) as container:
            count += sum(1 for _ in container.decode(video=0))
    return count


def of_convert(vss: Path, folder: Path, share: float) -> list[Count]:
    """`convert --force` over a bundle, killed at any moment: the old one or the new one is there, whole."""
    if find_spec("torch") is None:
        return [Count("kills of convert", 0, 0, "torch is not installed")]
    model, place = folder / "net.pt2", folder / "place"
    place.mkdir()
    subprocess.run([sys.executable, "-c", NETWORK, str(model)], check=True)
    out = place / "made.vss"
    command = [sys.executable, "-m", "edge_vss", "convert", str(model), "--size", "32x48", "--classes", "3"]
    command += ["--policy", "interval:{}", "--force", "-o", str(out)]
    began = monotonic()
    _to_its_end(command, 1)
    usual, tries, wrong, rng, renewed = (
        monotonic() - began,
        max(2, round(share * KILLS)),
        0,
        random.Random(0),
        0,
    )
    before = load(out, "onnxruntime").manifest.policy
    for number in range(tries):
        words = [word.format(number + 2) for word in command]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Most of the time is torch's; what is written comes at the end.
        _kill_after(process, rng.uniform(0.0 if number % 4 == 0 else 0.7, 1.1) * usual)
        try:
            now = load(out, "onnxruntime").manifest.policy
            wrong += now not in (before, f"interval:{number + 2}")
            renewed += now != before
            before = now
        except EdgeVssError as error:
            wrong += 1
            say(f"kill {number}: {error}")
    # The next one clears up what those that were killed have left.
    _to_its_end(command, 1)
    left = [path.name for path in place.iterdir() if path != out]
    wrong += len(left)
    return [
        Count(
            "kills of convert",
            tries,
            wrong,
            f"{renewed} new bundles, the others old; {len(left)} things left",
        )
    ]


def _to_its_end(command: list[str], interval: int) -> None:
    subprocess.run([word.format(interval) for word in command], check=True, capture_output=True)


def _kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def of_serve(vss: Path, folder: Path, share: float) -> list[Count]:
    """`serve --record`, killed at any moment: every part of the recording plays."""
    if find_spec("starlette") is None:
        return [Count("kills of serve", 0, 0, "the extra web is not installed")]
    clip = encode(folder / "long.mp4", pan(300, (64, 96)))
    tries, wrong, rng, frames = max(2, round(share * KILLS)), 0, random.Random(0), 0
    for number in range(tries):
        place = folder / f"recorded{number}"
        command = [sys.executable, "-m", "edge_vss", "serve", str(vss), str(clip), "--engine", "onnxruntime"]
        command += ["--record", str(place), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = monotonic() + HANG_SECONDS
        while process.poll() is None and not _pieces(place) and monotonic() < deadline:
            sleep(0.01)
        _kill_after(process, rng.uniform(0.0, 3.0))
        found = [_played(part) for part in _pieces(place)]
        frames += sum(count for count in found if count > 0)
        wrong += sum(count < 0 for count in found)
        shutil.rmtree(place, ignore_errors=True)
    wrong += frames == 0
    return [Count("kills of serve", tries, wrong, f"{frames} frames recorded, all of them play")]


def _played(part: Path) -> int:
    """How many frames there are; -1 where the part does not play."""
    try:
        with av.open(str(part)) as container:
            return sum(1 for _ in container.decode(video=0))
    except av.error.FFmpegError as error:
        say(f"{part.name}: {error}; {part.stat().st_size} bytes")
        return -1


def _pieces(place: Path) -> list[Path]:
    """Parts of a recording that have begun."""
    found = []
    for path in place.glob("*.mp4"):
        # One in which nothing was written goes away.
        with suppress(FileNotFoundError):
            found += [path] if path.stat().st_size > 0 else []
    return found
