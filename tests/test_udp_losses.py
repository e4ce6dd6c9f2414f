"""A bad network for real: datagrams on loopback are dropped, doubled and swapped on their way."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from edge_vss.decisions import Prediction
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame, StartReason
from tests.helpers import toys
from tests.test_live import ENDLESS, LONG, free_port, sender

SECONDS = 600.0 if os.environ.get("EDGE_VSS_SOAK") else 4.0


@dataclass
class Network:
    """Passes datagrams from one port on to another, with faults of given shares."""

    dropped: float = 0.0
    doubled: float = 0.0
    swapped: float = 0.0
    lost: int = 0
    passed: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(3))

    @contextmanager
    def between(self, port: int) -> Iterator[int]:
        """Meanwhile what comes to the port that this gives goes to ``port``."""
        over = threading.Event()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as front,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back,
        ):
            front.bind(("127.0.0.1", 0))
            front.settimeout(0.1)

            def carry() -> None:
                held: bytes | None = None
                while not over.is_set():
                    try:
                        data = front.recv(65536)
                    except TimeoutError:
                        continue
                    chance = self._random.random()
                    if chance < self.dropped:
                        self.lost += 1
                        continue
                    if held is None and chance < self.dropped + self.swapped:
                        held = data
                        continue
                    sent = [data, data] if self._random.random() < self.doubled else [data]
                    for each in [*sent, *([held] if held is not None else [])]:
                        back.sendto(each, ("127.0.0.1", port))
                    held = None
                    self.passed += 1

            carrier = threading.Thread(target=carry, daemon=True)
            carrier.start()
            try:
                yield int(front.getsockname()[1])
            finally:
                over.set()
                carrier.join(LONG)


@pytest.mark.parametrize(
    "network",
    [
        Network(dropped=0.05),
        Network(doubled=0.05),
        Network(swapped=0.05),
        Network(dropped=0.02, doubled=0.02, swapped=0.02),
    ],
    ids=["dropped", "doubled", "swapped", "all"],
)
def test_a_bad_network_is_told_and_no_stale_motion_is_used(network: Network) -> None:
    segmenter = toys.segmenter((96, 128), (24, 32), "interval:10")
    port = free_port(socket.SOCK_DGRAM)
    seen: list[tuple[Frame, Prediction | None]] = []
    faults, ends = [0], time.monotonic() + SECONDS / 4

    class EnoughError(Exception):
        pass

    def on_frame(frame: Frame, prediction: Prediction | None) -> None:
        if frame.start == StartReason.LOST_PACKETS:
            faults[0] += 1
            # The motion of a frame that does not follow on would be from a picture that is not there.
            assert frame.motion is None
            assert prediction is None or prediction.decision.route == "start"
        seen.append((frame, prediction))
        del seen[:-200]
        bad = network.dropped + network.swapped == 0 or faults[0] > 2
        if time.monotonic() > ends and bad and len(seen) > 50:
            raise EnoughError

    with network.between(port) as front, sender(f"udp://127.0.0.1:{front}?pkt_size=1316", ENDLESS):
        url = f"udp://127.0.0.1:{port}"
        with open_source(url, timeout_seconds=LONG) as source, pytest.raises(EnoughError):
            run(source, segmenter.session(), on_frame=on_frame)
    assert network.passed > 20
    if network.dropped:
        assert network.lost
    assert np.all(np.diff([frame.index for frame, _ in seen]) == 1)
    assert {prediction.labels.shape for _, prediction in seen if prediction is not None} == {(96, 128)}
