"""What a step copies and allocates, and how long it takes: python -m tests.benchmarks.copies BUNDLE.

With ``--against FOLDER``, a checkout of another version, both run in turn and the ratio of their times is
shown. Times are of the processor, not of the clock: other work on the machine counts for less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from edge_vss.cli.terminal import say, table

STEPS, WARM = 6, 3
WORKER = """
import json, sys, time
import numpy as np
from edge_vss.runtimes.segmenter import load
segmenter = load(sys.argv[1], sys.argv[2] or None, threads=1)
manifest, rng = segmenter.manifest, np.random.default_rng(0)
fed = {"image": rng.integers(0, 255, (1, *manifest.frame_size, 3), np.uint8)}
if manifest.motion:
    fed["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
state = manifest.initial_state()
route = manifest.routes.get(sys.argv[3], manifest.routes["start"])
for line in sys.stdin:
    began = time.process_time()
    tensors = {**fed, **state}
    for role in route:
        tensors |= segmenter.graphs[role](tensors)
    state = manifest.next_state(tensors)
    print(time.process_time() - began, flush=True)
"""


@dataclass
class Copies:
    """Bytes that engines' interfaces copied: counted where they are handed over, so exact."""

    inputs: int = 0
    outputs: int = 0


@contextmanager
def counted() -> Iterator[Copies]:
    """Counts what is copied into and out of graphs in the block.

    ONNX Runtime and OpenVINO are given the arrays' own memory: only an input in several pieces is copied.
    LiteRT's buffers are copied when they are written and read, the interpreter's tensors always.
    """
    found = Copies()
    whole = np.ascontiguousarray

    def contiguous(array: Any) -> Any:
        made = whole(array)
        found.inputs += 0 if np.shares_memory(made, array) else made.nbytes
        return made

    with ExitStack() as patches:
        patches.enter_context(patch("edge_vss.runtimes.engines.np.ascontiguousarray", contiguous))
        if find_spec("ai_edge_litert") is not None:
            _count_litert(patches, found)
        yield found


def _count_litert(patches: ExitStack, found: Copies) -> None:
    from ai_edge_litert.interpreter import SignatureRunner
    from ai_edge_litert.tensor_buffer import TensorBuffer

    write, read, run = TensorBuffer.write, TensorBuffer.read, SignatureRunner.__call__

    def writing(self: Any, array: Any) -> None:
        found.inputs += array.nbytes
        write(self, array)

    def reading(self: Any, count: int, dtype: Any) -> Any:
        made = read(self, count, dtype)
        found.outputs += made.nbytes
        return made

    def running(self: Any, **inputs: Any) -> Any:
        made = run(self, **inputs)
        found.inputs += sum(array.nbytes for array in inputs.values())
        found.outputs += sum(array.nbytes for array in made.values())
        return made

    patches.enter_context(patch.object(TensorBuffer, "write", writing))
    patches.enter_context(patch.object(TensorBuffer, "read", reading))
    patches.enter_context(patch.object(SignatureRunner, "__call__", running))


def step_costs(segmenter: Any, route: str) -> tuple[float, float]:
    """Bytes that a step of a route copies, and bytes of arrays that it allocates; labels are read."""
    manifest, rng = segmenter.manifest, np.random.default_rng(0)
    fed: dict[str, Any] = {"image": rng.integers(0, 255, (1, *manifest.frame_size, 3), np.uint8)}
    if manifest.motion is not None:
        fed["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    state: Mapping[str, Any] = manifest.initial_state()
    allocated = []
    with counted() as found:
        for step in range(WARM + STEPS):
            if step == WARM:
                found.inputs = found.outputs = 0
                tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0] if step >= WARM else 0
            tensors = {**fed, **state}
            for role in manifest.routes.get(route, manifest.routes["start"]):
                tensors |= segmenter.graphs[role](tensors)
            labels = tensors["labels"]
            labels = labels if isinstance(labels, np.ndarray) else labels.numpy()
            state = manifest.next_state(tensors)
            if step >= WARM:
                allocated.append(tracemalloc.get_traced_memory()[1] - before)
                tracemalloc.reset_peak()
            del tensors, labels
    tracemalloc.stop()
    return (found.inputs + found.outputs) / STEPS, statistics.median(allocated)


def main() -> None:
    """Print the table for one bundle."""
    parser = argparse.ArgumentParser(description="Counts what a step of a bundle copies and allocates.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--engine", default="", help="an engine other than the usual one")
    parser.add_argument("--route", default="key", help="start, key or nonkey")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="a checkout to compare with")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    from edge_vss.runtimes.segmenter import load

    segmenter = load(args.bundle, args.engine or None)
    copied, allocated = step_costs(segmenter, args.route)
    if args.json:
        sys.stdout.write(json.dumps([copied, allocated]))
        return
    state = sum(tensor.nbytes for tensor in segmenter.manifest.state)
    rows = [("now", copied / 1e6, allocated / 1e6)]
    if args.against:
        # This file as it is, with the other version's package.
        command = [sys.executable, __file__, str(args.bundle), "--json"]
        command += ["--engine", args.engine, "--route", args.route]
        done = subprocess.run(
            command, env=_environment(args.against), capture_output=True, text=True, check=True
        )
        then = json.loads(done.stdout)
        rows.append(("against", then[0] / 1e6, then[1] / 1e6))
    say(f"{segmenter.engine}, {args.route} route, {state / 1e6:.1f} MB of state")
    table(("version", "MB copied a step", "MB of arrays allocated a step"), rows)
    if args.against:
        say(in_turn(args))


def in_turn(args: argparse.Namespace) -> str:
    """Both versions, one step each in turn: processor time and the median ratio."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(args.bundle), args.engine, args.route],
            env=_environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for folder in (Path(__file__).parents[2], args.against)
    ]
    spent: list[list[float]] = []
    for turn in range(args.turns + 2):
        pair = []
        for worker in workers if turn % 2 else workers[::-1]:
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            pair.append(float(worker.stdout.readline()))
        if turn > 1:
            spent.append(pair if turn % 2 else pair[::-1])
    for worker in workers:
        worker.communicate()
    ratio = statistics.median(now / then for now, then in spent)
    now, then = (1e3 * statistics.median(column) for column in zip(*spent, strict=True))
    return f"a step takes {now:.1f} ms of processor time, {then:.1f} before: {ratio:.3f} of it"


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder)}


if __name__ == "__main__":
    main()
