"""A live stream that comes back as another camera: everything that depends on the stream begins anew."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from edge_vss.runtimes.sources import Source, open_source
from edge_vss.video import Packet
from tests.helpers.cameras import coming_back
from tests.helpers.hevc import encode_hevc, scene
from tests.helpers.videos import encode, pan

LONG = 120.0
"""Seconds that nothing takes which goes well."""


@pytest.fixture(autouse=True)
def extra() -> None:
    pytest.importorskip("wasmtime", reason="the extra hevc is not installed")


def watch(url: str, motion: str = "auto", pictures: str = "all") -> Source:
    return open_source(url, motion=motion, pictures=pictures, timeout_seconds=LONG, reconnect_seconds=LONG)


def packets_in_memory() -> int:
    gc.collect()
    return sum(isinstance(each, Packet) for each in gc.get_objects())


def test_no_packet_is_kept_for_a_parser_of_the_codec_before(tmp_path: Path) -> None:
    before = encode_hevc(tmp_path / "before.ts", scene(6), "bframes=0:ref=1")
    after = encode(tmp_path / "after.ts", pan(80))
    others = packets_in_memory()
    with coming_back(before, after) as url, watch(url) as source:
        frames = [next(source) for _ in range(80)]
        assert source.info.codec == "h264"
        assert packets_in_memory() <= others
    assert [frame.index for frame in frames if frame.start] == [0, 6]
    assert all(frame.motion is not None for frame in frames if not frame.start)
