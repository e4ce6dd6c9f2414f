"""A program of its own: interrupts the reading of a picture again and again, and tells what was lost.

``python -m tests.helpers.interrupted VIDEO {vectors,rgb,scaled,luma}``. A test's own process holds libraries
that run code while the garbage collector works, where Python drops whatever is raised.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

import av

from edge_vss.orientation import UPRIGHT
from edge_vss.runtimes.sources._decoded import Converters, DecodedPicture, side_data

ROUNDS = 50
PATIENCE_SECONDS = 2.0


def main(path: str, what: str) -> int:
    exported = next(islice(with_vectors(path), 5, None))
    assert side_data(exported, vectors=True)[1] is not None
    picture = DecodedPicture(exported, UPRIGHT, Converters())
    works: dict[str, Callable[[], object]] = {
        "vectors": lambda: side_data(exported, vectors=True),
        "rgb": picture.rgb,
        "scaled": lambda: picture.rgb((24, 32)),
        "luma": picture.luma,
    }
    gc.disable()
    signal.signal(signal.SIGALRM, stop)
    lost = sum(not interrupted(works[what]) for _ in range(ROUNDS))
    print(f"{lost} of {ROUNDS} interruptions lost")
    return 1 if lost else 0


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def interrupted(work: Callable[[], object]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while time.monotonic() < end:
            work()
    except KeyboardInterrupt:
        return True
    return False


def with_vectors(path: str) -> Iterator[av.VideoFrame]:
    """A video's pictures as PyAV gives them, with their motion vectors."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.options = {"flags2": "+export_mvs"}
        yield from container.decode(video=0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
