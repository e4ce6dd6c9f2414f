"""Who may ask, and what every answer carries: a token, known hosts and origins, headers for browsers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge_vss.errors import one_line
from edge_vss.plugins import LOG

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SHORTEST_TOKEN = 16
"""Characters. Shorter ones could be guessed."""


@dataclass(frozen=True)
class Lock:
    """The token that opens the page, and the names that this server goes by."""

    token: str
    port: int
    names: frozenset[str] = frozenset()
    """Names of this host that a browser may use, besides ``localhost``, the machine's own, and addresses."""
    tls: bool = False

    @property
    def cookie(self) -> str:
        """The cookie's name. Browsers share cookies between the ports of a host."""
        return f"edge_vss_{self.port}"

    @property
    def pass_(self) -> str:
        """What the cookie holds: proves that the token was known, without being it."""
        return hmac.new(self.token.encode(), b"edge-vss page", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether this is the token; takes the same time for all that are not."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())

    def opens(self, headers: dict[str, str]) -> bool:
        """Whether a request's headers carry the token (``Authorization: Bearer``) or the cookie."""
        kind, _, said = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(said.strip()):
            return True
        try:
            jar = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        found = jar.get(self.cookie)
        return found is not None and hmac.compare_digest(
            found.value.encode("utf-8", "replace"), self.pass_.encode()
        )

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server. A stranger's page could have its own name point here; it
        cannot do that with an address."""
        name = urlsplit(f"//{host}").hostname or ""
        own = socket.gethostname().lower()
        if name in {"localhost", own, f"{own}.local", *self.names}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is refused whoever sends it, as a status and a line; None where it is not."""
        if method not in ("GET", "HEAD"):
            return 405, "this server only shows: send GET"
        try:
            known = self.knows(headers.get("host", ""))
        except ValueError:
            known = False
        if not known:
            return 421, "this server does not go by that name: use its address, or start it with --name"
        origin = headers.get("origin")
        scheme = "https" if self.tls else "http"
        if origin is not None and origin.lower() != f"{scheme}://{headers['host']}".lower():
            return 403, "another page may not ask this server"
        elsewhere = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        if elsewhere and headers.get("sec-fetch-mode") != "navigate":
            return 403, "another page may not ask this server"
        return None


def hash_source(text: str) -> str:
    """A script or style as a Content-Security-Policy allows it: by its hash."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def headers_for(script: str, style: str) -> list[tuple[bytes, bytes]]:
    """What every answer carries. Only the page's own ``script`` and ``style`` may run in a browser."""
    policy = (
        f"default-src 'none'; script-src {hash_source(script)}; style-src {hash_source(style)}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    told = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-store",
    }
    return [(name.lower().encode(), value.encode()) for name, value in told.items()]


class Guarded:
    """An ASGI application behind the lock."""

    def __init__(self, app: App, lock: Lock, headers: list[tuple[bytes, bytes]]) -> None:
        self._app = app
        self._lock = lock
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def dressed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._headers]
            await send(message)

        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._lock.refusal(scope["method"], given):
            await answer(dressed, *refusal)
            return
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        token = asked.get("token", [""])[0]
        if scope["path"] == "/" and token:
            if self._lock.is_token(token):
                await self._let_in(dressed)
            else:
                await answer(dressed, 401, TOKEN)
            return
        if not self._lock.opens(given):
            await answer(dressed, 401, TOKEN)
            return
        try:
            await self._app(scope, receive, dressed)
        except Exception as error:
            LOG.error("the page's %s failed: %s", scope["path"], one_line(error, named=True))
            raise

    async def _let_in(self, send: Send) -> None:
        # The token goes from the address into a cookie: it then stands neither in the history nor on screen.
        secure = "; Secure" if self._lock.tls else ""
        cookie = f"{self._lock.cookie}={self._lock.pass_}; Path=/; HttpOnly; SameSite=Lax{secure}"
        await answer(send, 303, "", [(b"location", b"/"), (b"set-cookie", cookie.encode())])


TOKEN = (
    "open the address that edge-vss serve printed, with its token; programs send Authorization: Bearer TOKEN"
)


async def answer(send: Send, status: int, line: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    """A line of text."""
    body = f"{line}\n".encode() if line else b""
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *(more or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
