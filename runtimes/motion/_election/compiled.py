"""Judging motions by brightness in compiled code, where wasmtime is installed (the extra ``hevc``).

It gives what NumPy and OpenCV give, to the last bit. How OpenCV rounds depends on its version and on the
processor. So that is found out once, and where nothing fits, NumPy and OpenCV do it.
"""

from __future__ import annotations

import functools
import threading
from enum import IntEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import MissingExtra
from edge_vss.plugins import LOG
from edge_vss.runtimes.motion._election.match import Half, Match, NumpyMatch
from edge_vss.runtimes.motion._wasm import Machine, Module, Number, compiled
from edge_vss.runtimes.tracing.cells import CELL_PX, Displacement, Known, samples_per_side
from edge_vss.video import Size

WASM = Path(__file__).with_name("election.wasm")


class Rounding(IntEnum):
    """How OpenCV reads brightness between pixels, as election.c numbers it."""

    IN_32NDS = 0
    IN_FLOATS = 1
    IN_FUSED_FLOATS = 2


def matching(now: Half, then: Half, grid: Size) -> Match:
    """The quickest `Match` that there is here: this frame against the one shown before.

    One that is compiled is good until the same thread asks for the next.
    """
    if (code := _code()) is not None:
        try:
            return CompiledMatch(_machine(code[0]), code[1], now, then, grid)
        except _TooLarge:
            pass
    return NumpyMatch(now, then, grid)


class _TooLarge(Exception):
    """The frames do not fit into a machine's memory."""


class CompiledMatch:
    """A `Match` in a machine's memory."""

    def __init__(self, machine: _Elections, rounding: Rounding, now: Half, then: Half, grid: Size) -> None:
        """As `NumpyMatch`. Raises _TooLarge."""
        self._machine = machine
        machine.prepare(grid, now.shape, rounding)
        self._arrays = machine.arrays
        np.copyto(self._arrays.now, now)
        np.copyto(self._arrays.then, then)
        machine.owner = self
        self._call("election_begin")

    @property
    def best(self) -> Displacement:
        """As a `Match`."""
        return self._arrays.best.copy()

    def offer(self, displacement: Displacement, known: Known | None = None) -> Known:
        """As a `Match`."""
        np.copyto(self._arrays.offered, displacement)
        if known is not None:
            np.copyto(self._arrays.offered_known, known)
        self._call("election_offer", int(known is not None))
        return self._arrays.taken.astype(np.bool_)

    def restart(self, displacement: Displacement) -> None:
        """As a `Match`."""
        np.copyto(self._arrays.offered, displacement)
        self._call("election_restart")

    def offer_neighbours(self) -> None:
        """As a `Match`."""
        self._call("election_neighbours")

    def differences(self, displacement: Displacement) -> NDArray[np.float32]:
        """As a `Match`."""
        np.copyto(self._arrays.offered, displacement)
        self._call("election_differences")
        return self._arrays.differences.copy()

    def _call(self, name: str, *values: int) -> None:
        assert self._machine.owner is self, "a later election on this thread has taken the memory"
        self._machine.machine.call(name, *values)


class _Arrays:
    """What the code reads and writes, as views of its memory. In the order of election.c."""

    def __init__(self, machine: Machine, grid: Size, picture: Size) -> None:
        def view(number: int, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
            return machine.array(machine.call("election_array", number), shape, dtype)

        self.now = view(0, picture, np.uint8)
        self.then = view(1, picture, np.uint8)
        self.offered = view(2, (2, *grid), np.float32)
        self.offered_known = view(3, grid, np.bool_)
        self.best = view(4, (2, *grid), np.float32)
        self.taken = view(5, grid, np.bool_)
        self.differences = view(6, grid, np.float32)


class _Elections:
    """A machine, and the frames that its memory is laid out for."""

    def __init__(self, module: Module) -> None:
        self.machine = Machine(module)
        self.owner: CompiledMatch | None = None
        self._layout: tuple[Size, tuple[int, ...], Rounding] | None = None
        self.arrays: _Arrays

    def prepare(self, grid: Size, picture: tuple[int, ...], rounding: Rounding) -> None:
        """Lay out the memory. Raises _TooLarge."""
        layout = (grid, picture, rounding)
        if layout == self._layout:
            return
        self._layout = None
        step = CELL_PX // 2
        if not self.machine.call("election_create", *grid, samples_per_side(grid), step, *picture, rounding):
            raise _TooLarge
        self.arrays = _Arrays(self.machine, grid, (picture[0], picture[1]))
        self._layout = layout


_of_thread = threading.local()


def _machine(module: Module) -> _Elections:
    """This thread's own."""
    if getattr(_of_thread, "module", None) is not module:
        _of_thread.module, _of_thread.machine = module, _Elections(module)
    machine: _Elections = _of_thread.machine
    return machine


@functools.cache
def _code() -> tuple[Module, Rounding] | None:
    """The compiled code, and how OpenCV rounds here; None where elections are left to NumPy."""
    try:
        module = compiled(WASM, "quick elections", counts_steps=False)
        rounding = _rounding(_Elections(module))
    except MissingExtra:
        return None
    except Exception as broken:  # whatever a strange machine says: it is a matter of speed alone
        LOG.info("elections are left to NumPy: %s", broken)
        return None
    if rounding is None:
        LOG.info("this OpenCV rounds in another way, so elections are left to NumPy")
        return None
    return module, rounding


def _rounding(elections: _Elections) -> Rounding | None:
    """The way that gives what OpenCV gives at places where the ways differ."""
    picture, x, y = _hard_places()
    expected = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    for rounding in Rounding:
        elections.prepare(x.shape, picture.shape, rounding)
        np.copyto(elections.arrays.then, picture)
        np.copyto(elections.arrays.offered, (x, y))
        elections.machine.call("election_look")
        if (elections.arrays.differences == expected).all():
            return rounding
    return None


def _hard_places() -> tuple[Half, NDArray[np.float32], NDArray[np.float32]]:
    """A picture, and places in and around it (x and y, float32) where brightness is all but a half."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (8, 8), np.uint8)
    x = rng.uniform(0, 7, (64, 64)).astype(np.float32)
    column, row = x.astype(np.intp), rng.integers(0, 7, x.shape)
    fraction = x - column
    upper, lower = (
        (1 - fraction) * picture[at, column] + fraction * picture[at, column + 1] for at in (row, row + 1)
    )
    middle = np.floor((upper + lower) / 2) + 0.5
    apart = np.where(np.abs(lower - upper) < 2, 2, lower - upper)
    y = (row + np.clip((middle - upper) / apart, 0, 1)).astype(np.float32)
    outside = rng.uniform(-20, 28, (2, 8, 64)).astype(np.float32)
    x[:8], y[:8] = outside
    return picture, x, y
