"""Cameras that go and come back as others, without waiting for any clock."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def coming_back(*clips: Path) -> Iterator[str]:
    """The URL of a camera: each connection gets the next clip, whole and at once, and the last one again and
    again. The clips are streams that can be read from a pipe, such as MPEG-TS."""
    contents = [clip.read_bytes() for clip in clips]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            turn = 0
            while True:
                connection, _ = server.accept()
                # An empty connection is the one that ends this thread.
                with connection, suppress(OSError):
                    if ended.is_set():
                        return
                    connection.sendall(contents[min(turn, len(contents) - 1)])
                turn += 1

        ended = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            socket.create_connection(server.getsockname()).close()
            thread.join()
