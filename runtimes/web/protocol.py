"""HTTP with limits: how many connections, how long one may be idle, and how long it may leave data lying."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What one client, and all together, may take."""

    connections: int = 64
    """Open at once. A browser has up to six."""
    idle_seconds: float = 10.0
    """From connecting, or the last answer, to the end of the next request's head."""
    stalled_seconds: float = 20.0
    """How long a client may leave all that it is sent lying."""


_TICK_SECONDS = 1.0
_HEAD_BYTES = 16 * 1024


def bounded(limits: Limits) -> type[Any]:
    """uvicorn's protocol, with these limits."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    # uvicorn itself waits for a request's head for ever, and for a client that never reads.
    class Bounded(H11Protocol):  # type: ignore[misc]  # checked without uvicorn's types
        _refused = False
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) >= limits.connections:
                self._refused = True
                transport.abort()
                return
            super().connection_made(transport)
            self._lying = 0
            self._idle = self._stalled = 0.0
            self._timer = self.loop.call_later(_TICK_SECONDS, self._tick)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            if not self._refused:
                super().connection_lost(exc)

        def _tick(self) -> None:
            busy = self.cycle is not None and not self.cycle.response_complete
            lying = self.transport.get_write_buffer_size()
            self._stalled = self._stalled + _TICK_SECONDS if lying and lying == self._lying else 0.0
            self._idle = 0.0 if busy else self._idle + _TICK_SECONDS
            self._lying = lying
            if self._stalled > limits.stalled_seconds or self._idle > limits.idle_seconds:
                self.transport.abort()
                return
            self._timer = self.loop.call_later(_TICK_SECONDS, self._tick)

    return Bounded


HEAD_BYTES = _HEAD_BYTES
"""The longest head of a request."""
