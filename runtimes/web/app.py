"""What the server answers: the page, frames, figures, events, snapshots."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

from edge_vss import __version__
from edge_vss.report import Json, Report, plain
from edge_vss.runtimes.timing import rss_mb
from edge_vss.runtimes.web.board import Shown
from edge_vss.runtimes.web.figures import StreamReport, temperatures
from edge_vss.runtimes.web.guard import App, Guarded, Lock, headers_for
from edge_vss.runtimes.web.metrics import exposition
from edge_vss.runtimes.web.stream import Stream

FRAMES_PER_SECOND = 60.0
"""Pictures that go out in all, over all clients. So twenty who look on cost no more than two."""
WAIT_SECONDS = 15.0
"""How long a request for a newer frame waits before it is answered with none."""
_ENCODER_NICENESS = 5


@dataclass(frozen=True)
class ServerReport(Report):
    """All that ``/api/streams`` tells."""

    edge_vss: str
    ok: bool
    """Whether every stream is."""
    memory_mb: float
    """What the process holds, in MB (10⁶ bytes)."""
    temperatures: dict[str, float]
    """Degrees Celsius by place, where the system tells."""
    streams: tuple[StreamReport, ...]


class Hub:
    """Between the cameras' threads and the one that answers: waits for frames, and has them encoded.

    All methods belong to the answering thread, but `wake`.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = tuple(streams)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = [asyncio.Event() for _ in self.streams]
        self._slot = 0.0
        self.over = False
        # One thread, and of lower priority: encoding for the page must not slow the labels down.
        self._encoder = ThreadPoolExecutor(1, "edge-vss encode", _yield_to_others)

    def open(self) -> None:
        """Begin, in the loop that answers."""
        self._loop = asyncio.get_running_loop()
        for place, stream in enumerate(self.streams):
            stream.board.told = partial(self.wake, place)

    def let_go(self) -> None:
        """Answer all who wait: no frame comes any more."""
        self.over = True
        for changed in self._changed:
            changed.set()

    def close(self) -> None:
        """Let the encoder go."""
        for stream in self.streams:
            stream.board.told = lambda: None
        self._encoder.shutdown(wait=False, cancel_futures=True)

    def wake(self, place: int) -> None:
        """Tell who waits that a stream has a newer frame; from any thread."""
        loop = self._loop
        if loop is not None and not self._changed[place].is_set():
            with suppress(RuntimeError):  # of a loop that has ended meanwhile
                loop.call_soon_threadsafe(self._changed[place].set)

    async def newer(self, place: int, after: int, seconds: float = WAIT_SECONDS) -> Shown | None:
        """A frame with another number than ``after``, as soon as there is one; None after some seconds."""
        board, loop = self.streams[place].board, asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (newest := board.newest) is None or newest.number == after:
            changed = self._changed[place]
            changed.clear()
            if (newest := board.newest) is not None and newest.number != after:
                break
            left = deadline - loop.time()
            if left <= 0 or self.over:
                return None
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), left)
        return newest

    async def turn(self) -> None:
        """Wait until this client may have a picture: all of them share what goes out."""
        now = asyncio.get_running_loop().time()
        self._slot = max(now, self._slot + 1 / FRAMES_PER_SECOND)
        if self._slot > now:
            await asyncio.sleep(self._slot - now)

    async def encoded(self, shown: Shown) -> bytes:
        """Its body; encoded once, whoever asks."""
        return await asyncio.get_running_loop().run_in_executor(self._encoder, lambda: shown.body)

    async def archive(self, shown: Shown, name: str) -> bytes:
        """Its snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._encoder, shown.archive, name)

    def report(self) -> ServerReport:
        """How everything is doing now."""
        found = tuple(stream.report() for stream in self.streams)
        return ServerReport(
            edge_vss=__version__,
            ok=all(report.ok for report in found),
            memory_mb=round(rss_mb(), 1),
            temperatures=temperatures(),
            streams=found,
        )


def _yield_to_others() -> None:
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _ENCODER_NICENESS)


def page() -> tuple[str, str, str]:
    """The page, and its script and its style as they stand in it."""
    text = files("edge_vss.runtimes.web").joinpath("page.html").read_text(encoding="utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    return text, script, style


def application(hub: Hub, lock: Lock) -> App:
    """The ASGI application. Raises MissingExtra's ModuleNotFoundError where Starlette is not installed."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    text, script, style = page()
    whole = text.encode()

    def place_of(request: Request) -> int | None:
        place = request.path_params["place"]
        return place if 0 <= place < len(hub.streams) else None

    def missing() -> Response:
        return Response("there is no such stream\n", 404, media_type="text/plain")

    async def show(request: Request) -> Response:
        return Response(whole, media_type="text/html; charset=utf-8")

    async def about(request: Request) -> Response:
        return JSONResponse(about_streams(hub))

    async def streams(request: Request) -> Response:
        return JSONResponse(hub.report().to_json())

    async def frame(request: Request) -> Response:
        place = place_of(request)
        if place is None:
            return missing()
        after = number(request.query_params.get("after", ""))
        shown = await hub.newer(place, after)
        if shown is None:
            return Response(status_code=204)
        await hub.turn()
        shown = hub.streams[place].board.newest or shown
        return Response(await hub.encoded(shown), media_type="application/octet-stream")

    async def snapshot(request: Request) -> Response:
        place = place_of(request)
        shown = None if place is None else hub.streams[place].board.newest
        if shown is None:
            return missing()
        name = f"camera{place}-{shown.frame.index:06d}"
        headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
        return Response(await hub.archive(shown, name), headers=headers, media_type="application/zip")

    async def events(request: Request) -> Response:
        place = place_of(request)
        if place is None:
            return missing()
        return StreamingResponse(_events(hub, place), media_type="text/event-stream")

    async def metrics(request: Request) -> Response:
        reports = [stream.report() for stream in hub.streams]
        return Response(exposition(reports), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def health(request: Request) -> Response:
        found = hub.report()
        told = {
            report.name: {
                "ok": report.ok,
                "silent_seconds": report.silent_seconds,
                "problem": report.problem,
            }
            for report in found.streams
        }
        return JSONResponse({"ok": found.ok, "streams": told}, 200 if found.ok else 503)

    routes = {
        "/": show,
        "/api/about": about,
        "/api/streams": streams,
        "/api/streams/{place:int}/frame": frame,
        "/api/streams/{place:int}/snapshot": snapshot,
        "/api/streams/{place:int}/events": events,
        "/metrics": metrics,
        "/health": health,
    }
    inner: Any = Starlette(routes=[Route(path, answer) for path, answer in routes.items()])
    return Guarded(inner, lock, headers_for(script, style))


def about_streams(hub: Hub) -> dict[str, Json]:
    """What the page needs to know once: the streams' names, and their maps with classes and colours."""
    told: list[dict[str, Any]] = []
    for stream in hub.streams:
        manifest = stream.segmenter.manifest
        maps = [
            {
                "name": head.name,
                "matte": head.is_matte,
                "classes": list(head.classes),
                "palette": [list(colour) for colour in head.palette],
            }
            for head in manifest.maps
        ]
        told.append({"name": stream.name, "maps": maps})
    return {"edge_vss": __version__, "streams": plain(told)}


def number(text: str) -> int:
    """A frame's number that a client sent; 0 where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


async def _events(hub: Hub, place: int) -> AsyncIterator[bytes]:
    """A line of JSON per frame. Who reads slowly gets the newest; the numbers tell what is missing."""
    seen = 0
    while not hub.over:
        shown = await hub.newer(place, seen)
        if shown is None:
            yield b": nothing new\n\n"
            continue
        seen = shown.number
        yield b"data: " + shown.line + b"\n\n"
