"""Opening a live stream again that has ended, with pauses, as long as somebody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG

_RETRY_SECONDS = (0.1, 0.5)
"""The first and the longest pause between two tries to open a stream again."""


class Patience:
    """How long a stream without frames is opened again. One thread opens; any may call `stop`.

    Time counts, and pauses grow, from one frame to the next. A camera that lets in, sends nothing of use and
    hangs up is no camera that came back.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._stopped = threading.Event()
        self._silent_since: float | None = None
        self._pause, self._longest = _RETRY_SECONDS
        self._next_try = 0.0

    @property
    def stopped(self) -> bool:
        """Whether nobody waits any more."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Nobody waits any more: pauses end at once."""
        self._stopped.set()

    def came(self) -> None:
        """There was a frame."""
        if self._silent_since is not None:
            LOG.warning("%s: is back", self._name)
            self._silent_since = None
        self._pause = _RETRY_SECONDS[0]

    def open_again(self, reason: str, connect: Callable[[], None]) -> bool:
        """Call ``connect`` until it raises no SourceError; False where nobody waits any more.

        Raises SourceError where no frame came for too long. The log tells of the end here, and in `came` that
        it is back.
        """
        if self._silent_since is None:
            self._silent_since = monotonic()
            LOG.warning("%s: %s, so it is opened again", self._name, reason)
        else:
            self._give_up(reason)
        # A stream that was opened a moment ago has to wait too, even if a frame came.
        while not self._stopped.wait(max(0.0, self._next_try - monotonic())):
            if self._is_open(connect):
                return True
            self._give_up(reason)
        return False

    def _is_open(self, connect: Callable[[], None]) -> bool:
        try:
            connect()
        except SourceError:
            return False
        finally:
            self._next_try = monotonic() + self._pause
            self._pause = min(2 * self._pause, self._longest)
        return True

    def _give_up(self, reason: str) -> None:
        """Raises SourceError where it is time to."""
        if self._silent_since is not None and monotonic() > self._silent_since + self._seconds:
            raise SourceError(
                f"{self._name} did not come back within {self._seconds:g} s ({reason}): "
                "check the camera and the network"
            )
