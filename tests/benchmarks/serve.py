"""What the page of ``edge-vss serve`` costs and how late it is, with the sample's network at 480p.

    python -m tests.benchmarks.serve [SECONDS]

Needs Chromium and the extra ``web``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_vss.converters.convert import convert
from edge_vss.demo.scene.encode import write
from edge_vss.demo.show import SEED, sample_model
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.timing import percentiles
from edge_vss.runtimes.web.app import page
from edge_vss.runtimes.web.stream import Stream
from tests.helpers.page import TOKEN, Client, answering, browser, until

SIZE = (480, 848)
CLIENTS = 20


def main(seconds: float) -> None:
    """Measure, and print JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "streets.mp4", frames=150, size=SIZE, seed=SEED)
        convert(sample_model(), folder / "streets.vss")
        stream = Stream(str(folder / "streets.mp4"), load(folder / "streets.vss"))
        with answering([stream]) as client:
            until(lambda: stream.figures.labelled > 50)
            found: dict[str, Any] = {"page_bytes": len(page()[0].encode())}
            found |= _looked_at(client, seconds)
            alone: list[float] = []
            crowded: list[float] = []
            for _ in range(4):
                alone += _late(client, seconds / 4)
                with crowd(client):
                    crowded += _late(client, seconds / 4)
            found["labels_ms_alone"] = percentiles(alone).to_json()
            found["labels_ms_with_20_clients"] = percentiles(crowded).to_json()
    print(json.dumps(found, indent=2))


def _looked_at(client: Client, seconds: float) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        first = []
        last = running.new_page()
        for _ in range(5):
            # One page at a time: others would draw as well.
            last.close()
            last = running.new_page()
            began = time.perf_counter()
            last.goto(f"http://127.0.0.1:{client.port}/?token={TOKEN}")
            last.locator(".badge:not([hidden])").wait_for()
            first.append(time.perf_counter() - began)
        late: list[float] = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(3)
            late += last.evaluate(
                "cards[0].history.splice(0).map(f => f.shown_ms / 1e3 - f.captured_seconds)"
            )
        running.close()
    return {"first_picture_seconds": sorted(first), "packet_to_pixel_ms": percentiles(late).to_json()}


def _late(client: Client, seconds: float) -> list[float]:
    """Seconds from packet to labels, of every frame for some time."""
    found, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        lines = client.lines("/api/streams/0/events", 40)
        found += [json.loads(line[6:])["latency_ms"] / 1e3 for line in lines if line.startswith(b"data: ")]
    return found


@contextmanager
def crowd(client: Client) -> Iterator[None]:
    """Meanwhile twenty clients of another process look on, half of them reading a byte a second."""
    command = [sys.executable, "-c", CROWD, str(client.port), TOKEN, str(CLIENTS)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


CROWD = """
import http.client, os, socket, sys, threading, time
port, token, clients = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.nice(10)
def slow():
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"Host: localhost\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n"
    connection.sendall(f"GET /api/streams/0/frame HTTP/1.1\\r\\n{head}".encode())
    while connection.recv(1):
        time.sleep(1)
def fast():
    connection, number = http.client.HTTPConnection("127.0.0.1", port), 0
    while True:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", f"/api/streams/0/frame?after={number}", headers=headers)
        body = connection.getresponse().read()
        number = int(body[4:60].split(b":")[1].split(b",")[0])
for work in [slow, fast] * (clients // 2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(600)
"""


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
