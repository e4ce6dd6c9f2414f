"""The first stage of a run: frames are decoded in a thread of its own, and some pass without labels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from itertools import count
from time import perf_counter

from edge_vss.errors import OptionError
from edge_vss.runtimes._channel import Channel
from edge_vss.text import kind_of
from edge_vss.values import check_limit, positive
from edge_vss.video import Frame

QUEUE_FRAMES = 4
"""Frames between two stages: enough to even out a slow key frame, few enough to hold on a small device."""

LIVE_SECONDS = 2.0
"""How far a live source may run ahead. If decoding waited for a graph, the network would lose packets."""


def check_pace(fps: float | None) -> None:
    """Raises OptionError for a pace that is no number of frames a second."""
    if fps is not None:
        positive("pace", fps, "give frames per second, as in 15")


class Reader:
    """Decodes frames ahead of who takes them, in a thread that `start` begins.

    With ``pace``, so many are read a second, as a camera would send them. It knows when each frame's packet
    came. ``limit`` ends it after so many frames.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        *,
        fps: float,
        pace: float | None,
        limit: int | None,
        drop_inference: bool,
        failed: Callable[[BaseException], None],
        name: str = "edge-vss decode",
    ) -> None:
        """``fps`` is what the source promises, and ``failed`` is called with the source's error.

        Raises OptionError for a ``pace`` or ``limit`` that is none.
        """
        check_pace(pace)
        check_limit(limit)
        self._frames = frames
        self._pace = pace
        self._limit = limit
        self._failed = failed
        self._began = 0.0
        self._came: dict[int, float] = {}
        ahead = max(QUEUE_FRAMES, round(LIVE_SECONDS * (pace or fps))) if drop_inference else QUEUE_FRAMES
        self._decoded: Channel[Frame] = Channel(ahead)
        self.ahead = ahead
        """Most frames that wait here."""
        self.busy_seconds = 0.0
        """What decoding took, up to now."""
        # A daemon thread: a silent camera must not keep the program from ending.
        self.thread = threading.Thread(target=self._read, name=name, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._began = perf_counter()
        self.thread.start()

    def get(self) -> Frame | None:
        """Waits for the next frame; None at the end."""
        return self._decoded.get()

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._decoded)

    def close(self) -> None:
        """Nobody takes frames any more. The thread ends with the frame that it has under way."""
        self._decoded.close(discard=True)

    def so_far(self, frame: Frame) -> float:
        """Seconds since the frame's packet came."""
        now = perf_counter()
        return now - self._came.get(frame.index, now)

    def since(self, frame: Frame) -> float:
        """Seconds since the frame's packet came. It is forgotten then."""
        now = perf_counter()
        return now - self._came.pop(frame.index, now)

    def _read(self) -> None:
        try:
            frames = iter(self._frames)
            for number in range(self._limit) if self._limit is not None else count():
                due = self._began + number / self._pace if self._pace is not None else None
                if due is not None:
                    self._decoded.wait_closed(due - perf_counter())
                began = perf_counter()
                frame = next(frames, None)
                now = perf_counter()
                self.busy_seconds += now - began
                if frame is None:
                    break
                if not isinstance(frame, Frame):
                    raise OptionError(f"a run wants frames, got {kind_of(frame)}: open it with open_source")
                self._came[frame.index] = due if due is not None else now - sum(frame.seconds.values())
                if not self._decoded.put(frame, frame.nbytes):
                    break
        except BaseException as error:
            self._failed(error)
        finally:
            self._decoded.close()


class Backlog:
    """Which frames pass without labels, so that a live source is kept up with."""

    def __init__(self, reader: Reader, *, quick: bool) -> None:
        """``quick`` frames never wait for a key frame. Then only a long queue is a reason to pass one."""
        self._reader = reader
        self._quick = quick
        self._behind = 0
        # While the first key frame was computed, frames have come. Those are caught up with.
        self._starting = reader.ahead

    @property
    def _long(self) -> bool:
        return len(self._reader) > self._reader.ahead // 2

    def passes(self) -> bool:
        """Whether the frame that was just taken should pass. To be asked once for each frame."""
        if self._quick:
            return self._long and not self._starting
        # ``_behind`` counts the frames that wait now, and the last of them gets the graphs. Frames that
        # arrive meanwhile do not count: otherwise no frame would ever get labels.
        self._behind = (self._behind or 1 + len(self._reader)) - 1
        return self._behind > 0

    def labelled(self) -> None:
        """A frame got its labels."""
        self._starting = self._starting - 1 if self._starting and self._long else 0
