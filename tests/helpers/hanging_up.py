"""Servers that hang up: cameras that go away, or let in and give nothing of use, and files that break off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def answering(answer: Callable[[socket.socket, int], bool]) -> Iterator[int]:
    """A server that calls ``answer`` with each connection and its number, and hangs up. Gives its port.

    Where ``answer`` gives False, the server goes away.
    """
    server = socket.create_server(("127.0.0.1", 0))
    port = int(server.getsockname()[1])
    over = threading.Event()

    def serve() -> None:
        number, more = 0, True
        while more:
            connection = server.accept()[0]
            with connection, suppress(OSError):
                more = not over.is_set()
                more = more and answer(connection, number)
            number += 1
        server.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        over.set()
        # It may be waiting for a connection.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()


@contextmanager
def gone(content: bytes) -> Iterator[int]:
    """A camera that sends this once and goes away."""

    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(content)
        return False

    with answering(answer) as port:
        yield port
