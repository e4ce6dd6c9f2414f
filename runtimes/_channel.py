"""Between two stages of a run: a queue, and when frames come."""

from __future__ import annotations

import threading
from collections import deque
from math import inf
from time import perf_counter
from typing import Generic, TypeVar

from edge_vss.errors import OptionError
from edge_vss.video import Frame

QUEUE_BYTES = 128 * 2**20
"""Most bytes that wait between two stages: 40 frames of 1080p, 10 of 4K. One frame may always wait."""

T = TypeVar("T")


class Channel(Generic[T]):
    """A queue between two threads, bounded in items and bytes. Either thread can close it.

    Once it is closed and empty, ``get`` gives None.
    """

    def __init__(self, capacity: int, capacity_bytes: int = QUEUE_BYTES) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T, nbytes: int = 0) -> bool:
        """Waits for room; an item larger than the queue waits until it is empty. False when nobody takes
        anything any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(nbytes))
            if not self._closed:
                self._items.append((item, nbytes))
                self._bytes += nbytes
                self._changed.notify_all()
            return not self._closed

    def get(self) -> T | None:
        """Waits for an item; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items))
            if not self._items:
                return None
            item, nbytes = self._items.popleft()
            self._bytes -= nbytes
            self._changed.notify_all()
            return item

    def wait_closed(self, seconds: float) -> None:
        """Waits so long, or until it is closed."""
        if seconds > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, seconds)

    def _has_room(self, nbytes: int) -> bool:
        within = len(self._items) < self._capacity and self._bytes + nbytes <= self._capacity_bytes
        return within or not self._items

    def close(self, discard: bool = False) -> None:
        """No more items; those that wait are still given out, unless ``discard``."""
        with self._changed:
            self._closed = True
            if discard:
                self._items.clear()
                self._bytes = 0
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)


def check_pace(fps: float | None) -> None:
    """Raises OptionError for a pace that is no number of frames a second."""
    if fps is not None and not 0 < fps < inf:
        raise OptionError(f"pace wants frames per second, above 0, got {fps}")


class Pace:
    """When frames are read: so many a second, as a camera would send them, or as fast as somebody takes them.
    And when each of them came. One thread reads, another asks."""

    def __init__(self, fps: float | None, taken: Channel[Frame]) -> None:
        self._fps = fps
        self._taken = taken
        self._began: float | None = None
        self._came: dict[int, float] = {}

    def wait(self, number: int) -> None:
        """Until the packet of a frame comes, or nobody takes frames any more."""
        if self._fps is not None:
            self._began = perf_counter() if self._began is None else self._began
            self._taken.wait_closed(self._began + number / self._fps - perf_counter())

    def read(self, frame: Frame, number: int) -> None:
        """The frame is decoded."""
        if self._fps is not None and self._began is not None:
            self._came[frame.index] = self._began + number / self._fps
        else:
            self._came[frame.index] = perf_counter() - sum(frame.seconds.values())

    def so_far(self, frame: Frame) -> float:
        """Seconds since the frame's packet came."""
        now = perf_counter()
        return now - self._came.get(frame.index, now)

    def since(self, frame: Frame) -> float:
        """Seconds since the frame's packet came. It is forgotten then."""
        now = perf_counter()
        return now - self._came.pop(frame.index, now)
