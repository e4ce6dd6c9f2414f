"""The listening half of ``serve``: sockets, certificates, signals, and the end of it all."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from edge_vss.errors import MissingExtra, OptionError
from edge_vss.files import open_plain, read_plain
from edge_vss.runtimes.web.app import Hub, application
from edge_vss.runtimes.web.guard import SHORTEST_TOKEN, Lock
from edge_vss.runtimes.web.notify import notify, watchdog_seconds
from edge_vss.runtimes.web.protocol import HEAD_BYTES, Limits, bounded
from edge_vss.runtimes.web.stream import Stream

TOKEN_VARIABLE = "EDGE_VSS_TOKEN"
"""Environment variable that holds the page's token. A command line could be seen by others."""
_HANDSHAKE_SECONDS = 5.0
_BACKLOG = 128
_GRACE_SECONDS = 2
_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Place:
    """Where the page is, and who may see it."""

    host: str = "127.0.0.1"
    port: int = 8088
    """0 takes any that is free."""
    names: tuple[str, ...] = ()
    """Names of this host that browsers may use, besides ``localhost`` and its own."""
    certificate: Path | None = None
    key: Path | None = None
    token: str = field(default="", repr=False)
    """Empty makes one."""
    limits: Limits = Limits()


class Server:
    """A listening server; `run` answers until it is told to stop. The socket is bound at once, so that a port
    that is taken is told of before anything is loaded."""

    def __init__(self, place: Place) -> None:
        """Raises OptionError for a place that cannot be had, MissingExtra without the extra ``web``."""
        for module in ("starlette", "uvicorn", "prometheus_client"):
            if find_spec(module) is None:
                raise MissingExtra(module.replace("_", "-"), "web", "the page")
        self._tls = tls(place.certificate, place.key)
        self._socket = bound(place.host, place.port)
        self._limits = place.limits
        self._stopping = threading.Event()
        self._ends = inf
        port = int(self._socket.getsockname()[1])
        token = checked_token(place.token) if place.token else secrets.token_urlsafe(24)
        names = frozenset(name.lower() for name in (place.host, *place.names))
        self.lock = Lock(token, port, names, self._tls is not None)
        host = place.host if place.host not in ("0.0.0.0", "::", "") else socket.gethostname()
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{'https' if self._tls else 'http'}://{shown}:{port}/"
        """Where the page is, without the token."""

    @property
    def in_the_clear(self) -> bool:
        """Whether the token and the pictures cross a network unprotected."""
        host = self._socket.getsockname()[0]
        return self._tls is None and not ip_address(host.partition("%")[0]).is_loopback

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._stopping.set()

    def stop_after(self, seconds: float) -> None:
        """End `run` after some time."""
        self._ends = monotonic() + seconds

    def close(self) -> None:
        """Give the port back, where `run` was never called."""
        self._socket.close()

    def run(self, streams: Sequence[Stream], started: Callable[[], None] = lambda: None) -> None:
        """Start the streams, answer until SIGINT or SIGTERM, and end the streams.

        ``started`` is called once, when requests are answered.
        """
        try:
            asyncio.run(self._run(streams, started))
        finally:
            self._socket.close()
            notify(STOPPING="1")
            for stream in streams:
                stream.leave()
            for stream in streams:
                stream.stop()

    async def _run(self, streams: Sequence[Stream], started: Callable[[], None]) -> None:
        import uvicorn

        # It would print a traceback for every client that is cut off. `Guarded` tells of what fails here.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        hub = Hub(streams)
        config: Any = uvicorn.Config(
            application(hub, self.lock),
            http=bounded(self._limits),
            ws="none",
            lifespan="off",
            # An access log would hold tokens.
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=int(self._limits.idle_seconds),
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=_BACKLOG,
        )
        config.load()
        config.ssl = self._tls

        class Quiet(uvicorn.Server):  # type: ignore[misc]
            @contextmanager
            def capture_signals(self) -> Iterator[None]:
                # uvicorn would raise the signal again, after everything is closed.
                yield

        server = Quiet(config)
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            loop.create_server = partial(loop.create_server, ssl_handshake_timeout=_HANDSHAKE_SECONDS)  # type: ignore[method-assign]

        with _signals(self.stop):
            hub.open()
            for stream in streams:
                stream.start()
            watching = asyncio.create_task(self._tell(hub, server, started))
            try:
                await server.serve(sockets=[self._socket])
            finally:
                watching.cancel()
                hub.close()

    async def _tell(self, hub: Hub, server: Any, started: Callable[[], None]) -> None:
        """Tell the service manager that the page is there, and then that it still answers. End in time."""
        while not server.started:
            await asyncio.sleep(_TICK_SECONDS)
        started()
        notify(READY="1", STATUS=f"{len(hub.streams)} streams")
        every, told = min(5.0, watchdog_seconds() or 5.0), monotonic()
        while not self._stopping.is_set() and monotonic() < self._ends:
            await asyncio.sleep(_TICK_SECONDS)
            if monotonic() - told > every:
                told = monotonic()
                _tell_status(hub)
        hub.let_go()
        server.should_exit = True


def _tell_status(hub: Hub) -> None:
    bad = [stream.name for stream in hub.streams if not stream.report().ok]
    status = f"silent: {', '.join(bad)}" if bad else f"{len(hub.streams)} streams, all seen"
    notify(WATCHDOG="1", STATUS=status)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM stop meanwhile; a service manager sends the second."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    main = threading.current_thread() is threading.main_thread()
    if main:
        for kind in before:
            signal.signal(kind, lambda number, frame: stop())
    try:
        yield
    finally:
        for kind, handler in before.items() if main else ():
            signal.signal(kind, handler)


def bound(host: str, port: int) -> socket.socket:
    """A socket bound there. Raises OptionError that says why not."""
    if not 0 <= port <= 65535:
        raise OptionError(f"a port is 0 to 65535, got {port}: 8088 is the usual one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise OptionError(f"{host!r} is no address of this machine ({error}): leave --host out") from None
    found = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.setblocking(False)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise OptionError(
                f"port {port} of {host} is in use by another program: choose another with --port"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise OptionError(f"port {port} is for the system alone: choose one from 1024 on") from None
        raise OptionError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose an address of this machine"
        ) from None
    return found


def tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The context of a certificate and its key; None where neither is given.

    Raises OptionError where one is missing, or they do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        has, lacks = ("certificate", "--key") if key is None else ("key", "--cert")
        raise OptionError(f"a {has} alone makes no encryption: give {lacks} too")
    _readable(certificate)
    _readable(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def ask() -> str:
        raise OptionError(
            f"{key} is locked with a password: unlock it first (openssl pkey -in KEY -out PLAIN)"
        )

    try:
        context.load_cert_chain(certificate, key, password=ask)
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "reason", None) or error
        raise OptionError(
            f"{certificate} and {key} are no certificate with its key ({why}): give both as PEM files"
        ) from None
    return context


def _readable(path: Path) -> None:
    try:
        read_plain(open_plain(path), 1 << 20)
    except OSError as error:
        raise OptionError(f"cannot read {path} ({error.strerror or error}): check the path") from None


def checked_token(token: str) -> str:
    """A token that a person chose. Raises OptionError for one that could be guessed or does not fit."""
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise OptionError(
            f"a token has {SHORTEST_TOKEN} or more letters, digits and signs, without spaces: make one with "
            'python -c "import secrets; print(secrets.token_urlsafe(24))"'
        )
    return token


def given_token(file: Path | None) -> str:
    """The token of a file, or of the environment; empty where neither is there. Raises OptionError."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        text = read_plain(open_plain(file), 4096).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read a token from {file} ({error}): write one line of text") from None
    if not text:
        raise OptionError(f"{file} is empty: write the token into it")
    return text
