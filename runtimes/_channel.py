"""Between two stages of a run: a queue."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

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
