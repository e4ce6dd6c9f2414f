"""A server of the page, run in this process, and a client that asks it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from edge_vss.runtimes.web.server import Place, Server
from edge_vss.runtimes.web.stream import Stream

NEEDS_WEB = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("starlette", "uvicorn", "prometheus_client")),
    reason="the extra web is not installed",
)
LONG = 120.0
"""Seconds that nothing takes which goes well."""
TOKEN = "a-token-for-these-tests"


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Client:
    """Asks a server, one connection per request."""

    server: Server

    @property
    def port(self) -> int:
        return self.server.lock.port

    def ask(self, path: str, method: str = "GET", token: str = TOKEN, **headers: str) -> Answer:
        """What is answered. ``Some_Header`` becomes ``Some-Header``."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LONG)) as connection:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            if token:
                given["Authorization"] = f"Bearer {token}"
            connection.request(method, path, headers=given)
            with connection.getresponse() as answer:
                return Answer(answer.status, answer.headers, answer.read())

    def lines(self, path: str, count: int) -> list[bytes]:
        """The first lines of an answer without end."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LONG)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
            with connection.getresponse() as answer:
                return [answer.readline() for _ in range(count)]

    def json(self, path: str) -> Any:
        return json.loads(self.ask(path).body)

    def frame(self, place: int = 0, after: int = 0) -> tuple[dict[str, Any], list[bytes]]:
        """What the page gets: the facts and the parts."""
        body = self.ask(f"/api/streams/{place}/frame?after={after}").body
        length = int.from_bytes(body[:4], "big")
        facts, rest, parts = json.loads(body[4 : 4 + length]), body[4 + length :], []
        for size in facts["parts"]:
            parts.append(rest[:size])
            rest = rest[size:]
        assert not rest
        return facts, parts


@contextmanager
def answering(streams: Sequence[Stream], place: Place | None = None) -> Iterator[Client]:
    """A server that answers meanwhile."""
    server = Server(place or Place(port=0, token=TOKEN))
    started = threading.Event()
    thread = threading.Thread(target=server.run, args=(streams, started.set), daemon=True)
    thread.start()
    try:
        assert started.wait(LONG)
        yield Client(server)
    finally:
        server.stop()
        thread.join(LONG)
        assert not thread.is_alive()


def until(true: Callable[[], bool], seconds: float = LONG) -> None:
    """Wait for something that comes."""
    done, waiting = threading.Event(), seconds
    while not true():
        assert waiting > 0, "it did not come"
        done.wait(0.02)
        waiting -= 0.02


@contextmanager
def killed_at_last(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block, however the block ends."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def browser() -> str | None:
    """Where Chromium is; None where it is not installed."""
    return next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    more = ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return cert, key
