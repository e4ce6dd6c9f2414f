"""Free space ahead, from labels to a steering value: in every column, how far up the floor reaches.

python examples/robot.py street.vss /dev/video0 --floor road marking
"""

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import edge_vss as vss


def free_space(labels: NDArray[np.uint8], floor: list[int]) -> NDArray[np.float64]:
    """Share of each column below the first pixel, from the bottom, that is no floor: 0 is blocked."""
    blocked = ~np.isin(labels[::-1], floor)
    return np.where(blocked.any(0), blocked.argmax(0), len(labels)) / len(labels)


def steer(free: NDArray[np.float64]) -> float:
    """Towards the middle of the free space: -1 left, 0 straight on, 1 right. Far reaches count most."""
    weight = free**2
    return float((weight * np.linspace(-1, 1, len(free))).sum() / weight.sum()) if weight.any() else 0.0


def main() -> None:
    """One line per frame: time, free space straight ahead, where to steer, and how fast.

    No frame waits for the network. Where labels may be out of date, the robot slows down.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("source")
    parser.add_argument("--floor", nargs="+", default=["road", "marking"], help="the classes to drive on")
    parser.add_argument("--stop", type=float, default=0.15, help="stop when less of the way ahead is free")
    args = parser.parse_args()

    segmenter = vss.load(args.bundle)
    names = segmenter.manifest.classes
    if unknown := set(args.floor) - set(names):
        sys.exit(f"error: no class is called {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    floor = [names.index(name) for name in args.floor]
    with segmenter.session(background=True) as session, vss.open_source(args.source) as source:
        for frame in source:
            prediction = session.step(frame)
            free, speed = free_space(prediction.labels, floor), max(0.1, 1 - prediction.staleness / 24)
            middle = free[len(free) * 2 // 5 : len(free) * 3 // 5].min()
            order = "stop" if middle < args.stop else f"steer {steer(free):+.2f} at {speed:.0%}"
            print(f"{frame.pts_seconds:7.2f} s  free ahead {middle:4.0%}  {order}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except vss.EdgeVssError as error:
        sys.exit(f"error: {error}")
