"""Opening a live stream again that has ended, with pauses, as long as somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from edge_vss.errors import SourceError
from edge_vss.plugins import LOG

_RETRY_SECONDS = (0.1, 0.5)
"""The first and the longest pause between two tries to open a stream again."""


def open_again(
    name: str, reason: str, seconds: float, connect: Callable[[], None], closed: Callable[[], bool]
) -> bool:
    """Call ``connect`` until it raises no SourceError, or ``closed`` says that nobody waits any more: False.

    Raises SourceError after so many ``seconds``. The log tells of both: what ended, and that it is back.
    """
    LOG.warning("%s: %s, so it is opened again", name, reason)
    deadline = monotonic() + seconds
    pause, longest = _RETRY_SECONDS
    while not closed():
        try:
            connect()
        except SourceError:
            if monotonic() > deadline:
                raise SourceError(
                    f"{name} did not come back within {seconds:g} s ({reason}): "
                    "check the camera and the network"
                ) from None
        else:
            LOG.warning("%s: is back", name)
            return True
        sleep(pause)
        pause = min(2 * pause, longest)
    return False
