"""What labelling an archive costs: `python -m tests.benchmarks.label`, with EDGE_VSS_DATA.

The same clips on one process, on two, and on a Ray cluster of two workers, with the sample network. Then what
one worker's memory grows to over 10,000 frames of 720p.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from edge_vss.cli.terminal import say, table
from edge_vss.runtimes.archive.driver import label
from edge_vss.runtimes.archive.jobs import Labelling, Planning, Task
from edge_vss.runtimes.archive.on_ray import OnRay
from edge_vss.runtimes.archive.planning import Plan
from edge_vss.runtimes.archive.recordings import Recording
from edge_vss.runtimes.archive.report import LabelReport
from edge_vss.runtimes.timing import peak_rss_mb
from tests.helpers.videos import encode, remux, stills

FRAMES = 48


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measures labelling many recordings.")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--memory-frames", type=int, default=10_000)
    given = parser.parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    video = data / "video" / "0016E5_h264_p_refs1_g250.mp4"
    if not video.is_file():
        say("label needs video/ and camvid/: set EDGE_VSS_DATA to the folder that holds them")
        return
    # Not above: a worker, whose memory is measured, has no torch.
    from edge_vss.converters.convert import convert
    from edge_vss.demo.show import sample_model

    with tempfile.TemporaryDirectory(prefix="edge-vss-label-") as scratch:
        folder = Path(scratch)
        bundle = folder / "sample.vss"
        convert(replace(sample_model(), policy="interval:12"), bundle)
        if given.clips:
            _archive(bundle, video, folder, given.clips)
        if given.memory_frames:
            _memory(bundle, data, folder, given.memory_frames)


def _archive(bundle: Path, video: Path, folder: Path, clips: int) -> None:
    (folder / "footage").mkdir()
    one = remux(video, folder / "one.mp4", lambda number, content: content if number < FRAMES else None)
    for number in range(clips):
        shutil.copy(one, folder / "footage" / f"{number}.mp4")
    rows: list[tuple[str, float, float, float]] = []

    def add(name: str, found: LabelReport, seconds: float) -> None:
        first = rows[0][1] if rows else seconds
        rows.append((name, seconds, found.frames / seconds, first / seconds))
        shutil.rmtree(folder / "out")

    for workers in (1, 2):
        began = perf_counter()
        found = label(bundle, [str(folder / "footage")], folder / "out", workers=workers)
        add(f"{workers} processes", found, perf_counter() - began)
    if find_spec("ray") is not None:
        # The cluster is there already where an archive is labelled; connecting to it counts.
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            began = perf_counter()
            found = label(
                bundle,
                [str(folder / "footage")],
                folder / "out",
                runner=lambda task: OnRay(cluster.address, task.bundle),
            )
            add("Ray, 2 workers", found, perf_counter() - began)
        finally:
            cluster.shutdown()
    table(("40 clips" if clips == 40 else f"{clips} clips", "s", "fps", "x 1 process"), rows)


def _memory(bundle: Path, data: Path, folder: Path, frames: int) -> None:
    large = [
        np.asarray(cv2.resize(image, (1280, 720)), np.uint8) for image in stills(data / "camvid" / "val")[:50]
    ]
    there_and_back = [*large, *large[::-1]]
    path = encode(
        folder / "long.mp4",
        (there_and_back[number % len(there_and_back)] for number in range(frames)),
        options={"preset": "ultrafast", "bf": "0", "refs": "1", "g": "60"},
    )
    program = "import sys; from tests.benchmarks.label import worker; worker(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", program, str(bundle), str(path), str(folder / "memory")], check=True
    )


def worker(bundle: str, video: str, out: str) -> None:
    """One worker labels one long recording; prints its largest memory."""
    task = Task(out, bundle, "", "interval:12", "onnxruntime", shard_frames=2000, maps="mkv")
    recording = Recording("long.mp4", video)
    plan = Planning(task, recording)()
    assert isinstance(plan, Plan)
    rows = []
    for shard in plan.shards:
        done = Labelling(task, recording, shard, plan.fingerprint)()
        rows.append((shard.first_frame + done.frames, peak_rss_mb(), done.frames / done.seconds))
    table(("frames", "peak MB", "fps"), rows)


if __name__ == "__main__":
    main()
