"""Syntax that no encoder at hand writes: streams made at random, judged by the pixels that FFmpeg decodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.runtimes.motion._hevc.parser import MODE_INTER, MODE_SKIP, Parser
from tests.helpers.hevc import pixel_proof
from tests.helpers.hevc_blocks import Choices
from tests.helpers.hevc_writer import Writer

pytest.importorskip("wasmtime", reason="the extra hevc is not installed")

STREAMS = {
    "pcm": Choices(),
    "tiles": Choices(columns=3, rows=2),
    "tiles of odd sizes, a slice for one or several": Choices(
        columns=2, rows=3, uniform=False, breaks="tiles", dependent=True
    ),
    "tiles and slices within": Choices(columns=2, rows=2, breaks="within", dependent=True),
    "slices": Choices(breaks="within"),
    "dependent slices": Choices(breaks="within", dependent=True),
    "wavefronts": Choices(wavefronts=True),
    "wavefronts and dependent slices": Choices(wavefronts=True, dependent=True, breaks="within"),
    "wavefronts, two tree blocks wide": Choices(width=24, height=72, wavefronts=True),
    "long-term references": Choices(long_term=True),
    "long-term references far back": Choices(long_term=True, count_bits=4, pictures=40, width=48, height=48),
    "modified lists": Choices(long_term=True, modify_lists=True),
    "parallel merge level 4": Choices(merge_level=4),
    "parallel merge level 3": Choices(merge_level=3, merge_candidates=3),
    "one merge candidate": Choices(merge_candidates=1),
    "no temporal prediction": Choices(temporal=False),
    "scaling lists and header extensions": Choices(
        scaling_lists=True, header_extension=True, breaks="within", dependent=True
    ),
    "cabac_init_flag and reserved bits": Choices(cabac_init=True, extra_bits=2, breaks="within"),
}


@pytest.fixture(scope="module")
def tables(data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data / "hevc_reference" / "cabac_tables.json").read_text())
    return content


def shown(packets: list[tuple[int, bytes]]) -> dict[int, NDArray[np.int64]]:
    """The brightness of every picture, by picture order count."""
    decoder: Any = av.CodecContext.create("hevc", "r")
    decoder.thread_count = 1
    found: dict[int, NDArray[np.int64]] = {}
    for poc, content in [*packets, (0, b"")]:
        packet = av.Packet(content) if content else None
        if packet is not None:
            packet.pts = packet.dts = poc
        for frame in decoder.decode(packet):
            plane = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)
            found[int(frame.pts)] = plane[:, : frame.width].astype(np.int64)
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", STREAMS)
def test_every_inter_block_has_the_pixels_that_its_motion_predicts(
    tables: dict[str, Any], name: str, seed: int
) -> None:
    packets = list(Writer(STREAMS[name], seed, tables=tables).stream())
    parser = Parser(blocks=True)
    pictures = [(poc, picture) for poc, packet in packets for picture in parser.read(packet)]
    assert parser.new_reasons() == []
    assert [picture.poc for _, picture in pictures] == [poc for poc, _ in packets]
    assert all(picture.complete and not picture.missing_references for _, picture in pictures)
    equal, total = pixel_proof(pictures, shown(packets), mode=(MODE_INTER, MODE_SKIP))
    assert equal == total > 5000
