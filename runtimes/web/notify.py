"""Telling systemd how the service is doing (sd_notify): a datagram to the socket that it names."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(**told: str) -> None:
    """Tell a service manager, where there is one: ``READY="1"``, ``STATUS=...``, ``WATCHDOG="1"``."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return
    text = "\n".join(f"{name}={value}" for name, value in told.items())
    # It must not take the service down where the manager has gone.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)
        sender.sendto(text.encode(), "\0" + place[1:] if place[0] == "@" else place)


def watchdog_seconds() -> float | None:
    """Half of the time within which a service manager wants to hear of this process, or None."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
