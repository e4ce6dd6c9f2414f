"""The motion of an HEVC stream, packet by packet, without decoding a single pixel.

The parser itself is C (hevc.h says which file holds which clause of ITU-T H.265), compiled to WebAssembly and
run by wasmtime: streams come from strangers, and what goes wrong inside ends in an exception here, never in a
corrupted process.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.runtimes.motion._wasm import Machine, Module, compiled

WASM = Path(__file__).with_name("hevc.wasm")

CELL_PX = 8
"""Side of a cell in pixels."""

MODE_INTER, MODE_INTRA, MODE_SKIP, MODE_HOLE = 0, 1, 2, 3
"""``mode`` of a cell: predicted from other pictures; from its own; from others without anything added; never
decoded, because its slice was lost or damaged."""

LONG_TERM, MISSING_REFERENCE, INEXACT, SPLIT = 1, 2, 4, 8
"""``flags`` of a cell: a reference is a long-term one; a reference was lost; the vector was predicted from a
lost picture's and may be wrong; another vector holds in a part of the cell."""

CELL = np.dtype(
    [
        ("mv_quarter_px", "<i2", (2, 2)),
        ("poc_difference", "<i2", (2,)),
        ("mode", "u1"),
        ("lists", "u1"),
        ("flags", "u1"),
        ("unused", "u1"),
    ]
)
"""One cell: for list 0 and list 1 the vector (x, y) in quarters of a pixel, current → reference, and the
reference's picture order count minus the picture's; ``lists`` has bit 0 and bit 1 set where list 0 and list 1
are used. What is not used is zero."""

REASONS = (
    "a unit ends too early",
    "a value that the standard does not allow",
    "no parameter set came before the picture",
    "a parameter set changed in the middle of a sequence",
    "a slice of a picture was lost",
    "range extensions (more than 4:2:0, 8 to 16 bits)",
    "screen content coding",
    "a chroma format other than 4:2:0 and 4:0:0",
    "pictures are fields",
    "pictures too large for the parser's memory",
)
"""What the parser could not read, in the order of ``Reason`` in hevc.h, from its second on."""

_STOPPED = "a packet took more steps than any picture needs"
_TOO_LONG = "a packet too large for the parser's memory"

_STEPS_PER_PACKET = 10**10
"""WebAssembly instructions: a second or two. A picture of 1080p at 5 Mb/s takes 0.007 · 10¹⁰."""

_INFO = (
    *("poc", "nal_unit_type", "temporal_id", "picture_type", "width", "height"),
    *("crop_left", "crop_right", "crop_top", "crop_bottom", "cells_across", "cells_down"),
    *("missing_references", "ctus_missing", "starts", "dropped", "slices", "ctus", "largest_poc_span"),
    "reordered",
)
"""The fields of PictureInfo in hevc.h."""


@dataclass(frozen=True)
class Picture:
    """What one coded picture says of motion."""

    poc: int
    """Picture order count: the order of showing within a sequence. Its spacing is the encoder's choice."""
    picture_type: str
    """I, P or B: what its slices are at most."""
    starts: bool
    """True where a sequence starts anew: picture order counts before it mean nothing to what follows."""
    shown: bool
    """False for a picture that decoders do not show: a leading one whose references stand before the point
    where reading began, or one that the stream itself hides."""
    reordered: int
    """How many pictures of the sequence may come before one that is shown before them."""
    missing_references: int
    """How many of its reference pictures were lost."""
    complete: bool
    """True where every block was read."""
    coded_size: tuple[int, int]
    """Height and width in pixels that the cells cover, before cropping."""
    crop_px: tuple[int, int, int, int]
    """How many of them are cut off at the left, right, top and bottom of the picture that is shown."""
    cells: NDArray[Any]
    """(h, w) of CELL: each 8×8 pixels of the coded picture. Of two vectors in a cell, the one whose reference
    is nearer in time is told."""
    blocks: NDArray[Any] | None
    """(2h, 2w) of CELL: each 4×4 pixels, where the parser was asked for them."""


class Parser:
    """Reads one stream. Not for several threads at once; any thread may use it."""

    def __init__(self, extradata: bytes = b"", *, blocks: bool = False) -> None:
        """``extradata`` is what the container says of the stream: an hvcC record (ISO/IEC 14496-15),
        parameter sets behind start codes, or nothing. ``blocks`` also keeps every 4×4 block, for tests.

        Raises MissingExtra without wasmtime.
        """
        self._blocks = blocks
        self._known: set[str] = set()
        self._fresh: list[str] = []
        self._length_size, self._parameter_sets = _configuration(bytes(extradata))
        self._begin()

    def read(self, packet: bytes) -> list[Picture]:
        """The pictures of one packet, an access unit, in decoding order: one as a rule, none where it cannot
        be read."""
        return self._packet(packet, self._length_size)

    def restart(self) -> None:
        """After a seek or where packets were lost: pictures before mean nothing to what follows."""
        self._call("hevc_restart", self._decoder)

    def new_reasons(self) -> list[str]:
        """Why something could not be read, each told once in the parser's life."""
        told, self._fresh = self._fresh, []
        return told

    def _begin(self) -> None:
        self._machine = Machine(_module(), _STEPS_PER_PACKET)
        start = self._machine.heap_base
        self._decoder = self._call("hevc_create", start, self._machine.size - start, int(self._blocks))
        for unit in self._parameter_sets:
            self._packet(unit, 0)

    def _call(self, name: str, *values: int) -> int:
        return self._machine.call(name, *values)

    def _packet(self, packet: bytes, length_size: int) -> list[Picture]:
        if not packet:
            return []
        at = self._call("hevc_input", self._decoder, len(packet))
        if not at:
            self._tell(_TOO_LONG)
            return []
        self._machine.write(packet, at)
        pictures = []
        try:
            self._machine.allow(_STEPS_PER_PACKET)
            self._call("hevc_start_packet", self._decoder, len(packet), length_size)
            while self._call("hevc_next_picture", self._decoder):
                pictures.append(self._picture())
            found = self._call("hevc_reasons", self._decoder)
        except self._machine.errors:
            self._tell(_STOPPED)
            self._begin()
            return []
        for bit, reason in enumerate(REASONS, 1):
            if found >> bit & 1:
                self._tell(reason)
        return pictures

    def _tell(self, reason: str) -> None:
        if reason not in self._known:
            self._known.add(reason)
            self._fresh.append(reason)

    def _picture(self) -> Picture:
        at = self._call("hevc_picture", self._decoder)
        numbers = np.frombuffer(self._machine.read(at, 4 * len(_INFO)), "<i4").tolist()
        info: dict[str, int] = dict(zip(_INFO, numbers, strict=True))
        grid = info["cells_down"], info["cells_across"]
        fine = info["height"] // 4, info["width"] // 4
        return Picture(
            poc=info["poc"],
            picture_type=chr(info["picture_type"]),
            starts=bool(info["starts"]),
            shown=not info["dropped"],
            reordered=info["reordered"],
            missing_references=info["missing_references"],
            complete=not info["ctus_missing"],
            coded_size=(info["height"], info["width"]),
            crop_px=(info["crop_left"], info["crop_right"], info["crop_top"], info["crop_bottom"]),
            cells=self._array("hevc_cells", grid),
            blocks=self._array("hevc_blocks", fine) if self._blocks else None,
        )

    def _array(self, name: str, shape: tuple[int, int]) -> NDArray[Any]:
        at = self._call(name, self._decoder)
        data = self._machine.read(at, shape[0] * shape[1] * CELL.itemsize)
        return np.frombuffer(data, CELL).reshape(shape)


def check() -> None:
    """Raises MissingExtra where the parser cannot run: wasmtime is not installed, or does not load."""
    _module()


@functools.cache
def _module() -> Module:
    # Compiling takes a third of a second: once a process.
    return compiled(WASM, "reading the motion of HEVC", counts_steps=True)


def _configuration(extradata: bytes) -> tuple[int, list[bytes]]:
    """How many bytes a unit's length has in the packets (0: start codes), and the units that come before
    them, each behind a start code."""
    if len(extradata) < 23 or extradata[0] != 1:
        return 0, [extradata] if extradata else []
    units, at = [], 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            unit = extradata[at + 2 : at + 2 + size]
            at += 2 + size
            if at > len(extradata):
                break  # a wrong length: what follows cannot be told apart
            units.append(b"\x00\x00\x01" + unit)
    return (extradata[21] & 3) + 1, units
