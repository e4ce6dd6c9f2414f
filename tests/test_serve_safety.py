"""What strangers may not do to the page: ask without the token, from elsewhere, for files, for everything."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_vss.cli import app
from edge_vss.errors import OptionError
from edge_vss.runtimes.web.guard import Lock
from edge_vss.runtimes.web.protocol import Limits
from edge_vss.runtimes.web.server import Place, Server, checked_token, given_token
from edge_vss.runtimes.web.stream import Stream
from tests.helpers import toys
from tests.helpers.cli import CliRunner
from tests.helpers.logs import listening
from tests.helpers.page import LONG, NEEDS_WEB, TOKEN, Client, answering, certificate, until

pytestmark = NEEDS_WEB
PATHS = ("/", "/api/about", "/api/streams", "/api/streams/0/frame", "/metrics", "/health", "/nothing")


def stream(path: Path) -> Stream:
    return Stream(str(path), toys.segmenter((96, 128), (24, 32)))


@pytest.fixture(scope="module")
def client(p_only: Path) -> Iterator[Client]:
    with answering([stream(p_only)]) as found:
        until(lambda: found.json("/api/streams")["streams"][0]["labelled"] > 0)
        yield found


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_the_token(client: Client, path: str) -> None:
    for token in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é", client.server.lock.pass_):
        answer = client.ask(path, token=token.encode("latin-1").decode("latin-1"))
        assert answer.status == 401 and b"token" in answer.body and TOKEN.encode() not in answer.body
    for cookie in ("", "x", client.server.lock.cookie, f"{client.server.lock.cookie}={TOKEN}", "=;=,\x7f"):
        assert client.ask(path, token="", Cookie=cookie).status == 401
    assert client.ask(f"{path}?token=wrong", token="").status == 401
    assert client.ask(path).status == (404 if path == "/nothing" else 200)


def test_the_token_goes_from_the_address_into_a_cookie(client: Client) -> None:
    answer = client.ask(f"/?token={TOKEN}", token="")
    assert answer.status == 303 and answer.headers["Location"] == "/"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and TOKEN not in cookie
    kept = cookie.partition(";")[0]
    assert client.ask("/", token="", Cookie=f"other=1; {kept}").status == 200
    assert client.ask("/api/streams", token="", Cookie=kept[:-1] + "_").status == 401
    # Only the page itself takes it: other addresses are for programs, which have headers.
    assert client.ask(f"/api/streams?token={TOKEN}", token="").status == 401


def test_the_token_is_in_no_log(p_only: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with listening() as told, answering([stream(p_only)]) as found:
        for path in PATHS:
            found.ask(f"{path}?token={TOKEN}", token="")
            found.ask(path)
    out = capfd.readouterr()
    assert TOKEN not in out.out + out.err + "".join(told) + repr(Place(token=TOKEN))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://{host}"}, 403),
        ({"Origin": "http://{host}"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost"}, 200),
        ({"Host": "192.168.1.20:8088"}, 200),
    ],
)
def test_other_origins_and_names_are_refused(client: Client, headers: dict[str, str], status: int) -> None:
    given = {name: value.format(host=f"127.0.0.1:{client.port}") for name, value in headers.items()}
    assert client.ask("/api/streams", **given).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "NONSENSE"])
def test_the_server_only_shows(client: Client, method: str) -> None:
    assert client.ask("/api/streams", method).status == 405


@pytest.mark.parametrize("path", [*PATHS, "/?token=wrong"])
def test_every_answer_carries_the_headers_that_browsers_obey(client: Client, path: str) -> None:
    for token in ("", TOKEN):
        headers = client.ask(path, token=token).headers
        policy = headers["Content-Security-Policy"]
        assert (
            "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/api/streams/../../../etc/passwd",
        "/api/streams/0/frame/../../../../../etc/passwd",
        "/page.html",
        "/static/page.html",
        "/api/streams/-1/frame",
        "/api/streams/1/frame",
        "/api/streams/99999999999999999999999/frame",
        "/api/streams/x/frame",
        "/api/streams/0/snapshot/x",
        "/%00",
        "/\\..\\..\\etc\\passwd",
    ],
)
def test_no_file_of_the_disk_is_reached(client: Client, path: str) -> None:
    answer = client.ask(path)
    assert answer.status in (404, 400) and b"root:" not in answer.body


@pytest.mark.parametrize("after", ["-1", "x", "1e9", "9" * 400, "²", "%00", ""])
def test_a_number_that_is_none_counts_as_the_first(client: Client, after: str) -> None:
    from urllib.parse import quote

    assert client.ask(f"/api/streams/0/frame?after={quote(after)}").status == 200


def raw(client: Client, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=LONG)
    connection.sendall(sent)
    return connection


HEAD = f"GET /api/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0" * 1000,
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ],
)
def test_what_is_no_request_ends_the_connection_alone(client: Client, sent: bytes) -> None:
    with raw(client, sent) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert b"root:" not in connection.recv(1 << 16)
    assert client.ask("/api/streams").status == 200


def test_slow_heads_and_browsers_that_never_read_are_cut_off(p_only: Path) -> None:
    limits = Limits(connections=30, idle_seconds=1.0, stalled_seconds=1.0)
    with answering([stream(p_only)], Place(port=0, token=TOKEN, limits=limits)) as found:
        until(lambda: found.json("/api/streams")["streams"][0]["labelled"] > 0)
        slow = [raw(found, HEAD) for _ in range(10)]
        mute = [raw(found, b"") for _ in range(5)]
        deaf = []
        for _ in range(5):
            connection = socket.socket()
            # Little room on this side, so that what is not read lies with the server.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", found.port))
            connection.sendall(400 * (HEAD.replace(b"/api/streams", b"/metrics") + b"\r\n"))
            deaf.append(connection)
        assert found.ask("/health").status == 200
        for connection in (*slow, *mute):
            connection.settimeout(LONG)
            try:
                # A byte of a head now and then does not keep it open.
                while True:
                    connection.send(b"X")
                    connection.settimeout(0.2)
                    if connection.recv(100) == b"":
                        break
            except TimeoutError:
                connection.settimeout(LONG)
                assert connection.recv(100) == b""
            except ConnectionError:
                pass
            connection.close()
        # There is room again for as many as may come.
        until(lambda: found.ask("/health").status == 200)
        for connection in deaf:
            connection.close()
        assert found.json("/api/streams")["streams"][0]["restarts"] == 0


def test_more_connections_than_allowed_are_refused_and_the_service_goes_on(p_only: Path) -> None:
    many = 10_000 if os.environ.get("EDGE_VSS_SOAK") else 2000
    limits = Limits(connections=16, idle_seconds=2.0)
    with answering([stream(p_only)], Place(port=0, token=TOKEN, limits=limits)) as found:
        until(lambda: found.json("/api/streams")["streams"][0]["labelled"] > 0)
        before = found.json("/api/streams")["streams"][0]["labelled"]
        held = []
        for number in range(many):
            try:
                connection = socket.create_connection(("127.0.0.1", found.port), timeout=LONG)
            except ConnectionError:
                continue
            held.append(connection)
            if number % 100 == 99:
                for old in held[:-20]:
                    old.close()
                del held[:-20]
        for connection in held:
            connection.close()

        def answered() -> bool:
            try:
                return found.ask("/health").status == 200
            except ConnectionError:
                return False

        until(answered)
        after = found.json("/api/streams")["streams"][0]
        assert after["labelled"] > before and after["restarts"] == 0


def test_encrypted_with_a_certificate_of_ones_own(p_only: Path, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with answering([stream(p_only)], Place(port=0, token=TOKEN, certificate=cert, key=key)) as found:
        trusting = ssl.create_default_context(cafile=str(cert))
        trusting.check_hostname = False
        request = urllib.request.Request(
            f"https://127.0.0.1:{found.port}/api/about", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=LONG, context=trusting) as answer:
            assert answer.status == 200
        assert found.server.address.startswith("https://")
        assert not found.server.in_the_clear
        with raw(found, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") as plain:
            assert b"200" not in plain.recv(1000)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, strange = certificate(tmp_path / "other")
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-in", str(key), "-aes128", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    for pair, said in (
        ((cert, None), "a certificate alone makes no encryption: give --key too"),
        ((None, key), "a key alone makes no encryption: give --cert too"),
        ((cert, strange), "are no certificate with its key"),
        ((key, cert), "are no certificate with its key"),
        ((cert, tmp_path / "absent.pem"), "cannot read"),
        ((cert, tmp_path), "cannot read"),
        ((cert, locked), "is locked with a password: unlock it first"),
    ):
        with pytest.raises(OptionError, match=said):
            Server(Place(port=0, certificate=pair[0], key=pair[1]))


def test_a_place_that_cannot_be_had_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=f"port {port} of 127.0.0.1 is in use"):
            Server(Place(port=port))
        done = CliRunner().invoke(app, ["serve", "absent.vss", "absent.mp4", "--port", str(port)])
        assert (
            done.exit_code == 1 and "is in use by another program: choose another with --port" in done.stderr
        )
    with pytest.raises(OptionError, match="a port is 0 to 65535, got 70000"):
        Server(Place(port=70000))
    with pytest.raises(OptionError, match="is no address of this machine"):
        Server(Place(host="no.such.host.invalid"))
    with pytest.raises(OptionError, match="choose an address of this machine"):
        Server(Place(host="203.0.113.7", port=0))
    done = CliRunner().invoke(app, ["serve", "absent.vss", "absent.mp4", "--port", "0"])
    assert done.exit_code == 1 and "absent.vss" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_token_of_ones_own_must_be_hard_to_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for weak in ("short", "with spaces in the token", "ümlaut-ümlaut-ümlaut", "line\nline-line-line-line"):
        with pytest.raises(OptionError, match="16 or more"):
            checked_token(weak)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert given_token(file) == TOKEN
    monkeypatch.setenv("EDGE_VSS_TOKEN", "from-the-environment")
    assert given_token(None) == "from-the-environment"
    file.write_text("")
    with pytest.raises(OptionError, match="is empty"):
        given_token(file)
    with pytest.raises(OptionError, match="cannot read a token"):
        given_token(tmp_path / "absent")
    tokens = set()
    for _ in range(3):
        with closing(Server(Place(port=0))) as server:
            tokens.add(server.lock.token)
    assert len(tokens) == 3 and all(len(token) == 32 for token in tokens)


def test_comparing_a_token_takes_the_same_time_wherever_it_differs() -> None:
    lock = Lock("x" * 10_000, 1)
    early, late = "y" + "x" * 9_999, "x" * 9_999 + "y"

    def spent(token: str) -> float:
        began = time.perf_counter()
        for _ in range(200):
            lock.is_token(token)
        return time.perf_counter() - began

    # A comparison that ends at the first difference is some hundred times faster for the first.
    assert min(spent(early) for _ in range(5)) > min(spent(late) for _ in range(5)) / 10


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from edge_vss.__main__ import main\n"
        "sys.argv = ['edge-vss', 'serve', 'a.vss', 'b.mp4', '--port', '0']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == 'error: the page needs uvicorn, which is not installed: pip install "edge-vss[web]"\n'
    )


def test_other_machines_are_let_in_only_where_that_is_asked_for() -> None:
    assert Place().host == "127.0.0.1"
    with closing(Server(Place(port=0))) as alone:
        assert not alone.in_the_clear
    with closing(Server(Place(host="0.0.0.0", port=0))) as wide:
        assert wide.in_the_clear and "0.0.0.0" not in wide.address
