"""An RTSP camera for real: GStreamer's own server, in a process of the system's Python."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"
"""The system's: it sees the packages that Debian installs."""

SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
port, codec, size, user = sys.argv[1:5]
Gst.init(None)
width, height = size.split("x")
encoder = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bframes=0 ref=1 key-int-max=10 "
            "! rtph264pay name=pay0 pt=96 config-interval=1",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}[codec]
source = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=%s,height=%s,framerate=25/1"
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( " + source % (width, height) + " ! " + encoder + " )")
factory.set_shared(True)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1"); server.set_service(port)
if user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*user.split(":")), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/cam", factory)
assert server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
NEEDED = "apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,ugly}"


@cache
def missing() -> str:
    """Why there is no such camera here; empty where there is."""
    if not Path(PYTHON).exists():
        return f"no {PYTHON}"
    code = SERVER.partition("port, codec")[0] + (
        "Gst.init(None)\nfor name in ('x264enc', 'rtph264pay', 'jpegenc', 'videotestsrc'):\n"
        "    assert Gst.ElementFactory.find(name), name"
    )
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or ["?"])[-1]
    return f"{last}: {NEEDED}" if done.returncode else ""


def needed() -> None:
    """Skip a test where there is no such camera."""
    if why := missing():
        pytest.skip(why)


@contextmanager
def camera(port: int, codec: str = "h264", size: str = "128x96", user: str = "") -> Iterator[None]:
    """A camera that sends meanwhile, at rtsp://127.0.0.1:PORT/cam; ``user`` is NAME:PASSWORD."""
    command = [PYTHON, "-c", SERVER, str(port), codec, size, user]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
