"""Elections in compiled code: equal to NumPy and OpenCV to the last bit, or not used."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.runtimes.motion._election import compiled
from edge_vss.runtimes.motion._election.build import build
from edge_vss.runtimes.motion._election.compiled import CompiledMatch, Rounding, matching
from edge_vss.runtimes.motion._election.match import Match, NumpyMatch
from edge_vss.runtimes.tracing.cells import grid_of
from edge_vss.video import Size
from tests.helpers.logs import listening

Floats = NDArray[np.float32]
# 16 samples a cell and 4; sides that cells do not fill; pictures smaller than a cell's samples.
SIZES = [(96, 128), (360, 480), (722, 1278), (122, 34), (9, 7), (2, 2)]
needs_wasmtime = pytest.mark.skipif(importlib.util.find_spec("wasmtime") is None, reason="wasmtime runs it")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    compiled._code.cache_clear()
    yield
    compiled._code.cache_clear()


def halves(size: Size, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two pictures that resemble each other, at half a frame's size."""
    rng = np.random.default_rng(seed)
    shape = max(size[0] // 2, 1), max(size[1] // 2, 1)
    now = cv2.GaussianBlur(rng.integers(0, 256, shape, np.uint8), (0, 0), 2)
    then = np.roll(now, (1, 3), (0, 1)).astype(int) + rng.integers(-9, 10, shape)
    return np.asarray(now, np.uint8), np.clip(then, 0, 255).astype(np.uint8)


def motions(grid: Size, rng: np.random.Generator) -> Iterator[Floats]:
    """Motions as vectors have them, parts of such, blurred ones, and those that lead far out of the frame."""
    quarters = rng.integers(-80, 81, (2, *grid)).astype(np.float32) / 4
    yield np.asarray(quarters, np.float32)
    yield np.asarray(quarters / np.float32(2), np.float32)
    yield np.asarray(quarters / np.float32(-3), np.float32)
    yield np.asarray(rng.normal(0, 4, (2, *grid)), np.float32)
    yield np.asarray(rng.normal(0, 400, (2, *grid)), np.float32)
    yield np.asarray(rng.integers(-(2**15), 2**15, (2, *grid)) / 4, np.float32)


@needs_wasmtime
@pytest.mark.parametrize("size", SIZES)
def test_elections_are_equal_in_every_bit(size: Size) -> None:
    grid, rng = grid_of(size), np.random.default_rng(1)
    plain = NumpyMatch(*halves(size), grid)
    quick = matching(*halves(size), grid)
    assert isinstance(quick, CompiledMatch), "this OpenCV rounds in a way that election.c does not know"
    for displacement in motions(grid, rng):
        np.testing.assert_array_equal(quick.differences(displacement), plain.differences(displacement))
        known = rng.random(grid) > 0.3
        np.testing.assert_array_equal(quick.offer(displacement, known), plain.offer(displacement, known))
        np.testing.assert_array_equal(quick.best, plain.best)
        quick.offer_neighbours()
        plain.offer_neighbours()
        np.testing.assert_array_equal(quick.best, plain.best)
        np.testing.assert_array_equal(quick.offer(displacement), plain.offer(displacement))
    again = next(motions(grid, rng))
    for match in (quick, plain):
        match.restart(np.where(rng.random(grid) > 2, again, match.best))
        match.restart(again)
        match.offer_neighbours()
    np.testing.assert_array_equal(quick.best, plain.best)


def in_32nds(picture: NDArray[np.uint8], x: Floats, y: Floats) -> NDArray[np.int64]:
    """As OpenCV 4 reads bytes between pixels."""
    column, row = (np.rint(at * np.float32(32)).astype(np.int64) for at in (x, y))
    right, down = column & 31, row & 31
    a, b, c, d = _around(picture, column >> 5, row >> 5)
    upper, lower = a * (32 - right) + b * right, c * (32 - right) + d * right
    return np.asarray((upper * (32 - down) + lower * down + 512) >> 10)


def in_floats(picture: NDArray[np.uint8], x: Floats, y: Floats, *, fused: bool = False) -> NDArray[np.int64]:
    """As OpenCV 5 does."""

    def mixed(share: Floats, first: Floats, second: Floats) -> Floats:
        exact = np.float64 if fused else np.float32
        return np.asarray(
            share.astype(exact) * (second - first).astype(exact) + first.astype(exact), np.float32
        )

    column, row = np.floor(x), np.floor(y)
    a, b, c, d = (
        near.astype(np.float32) for near in _around(picture, column.astype(np.int64), row.astype(np.int64))
    )
    both = mixed(y - row, mixed(x - column, a, b), mixed(x - column, c, d))
    return np.rint(both).astype(np.int64)


def _around(
    picture: NDArray[np.uint8], column: NDArray[np.int64], row: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    h, w = picture.shape
    return [
        picture[np.clip(row + i, 0, h - 1), np.clip(column + j, 0, w - 1)].astype(np.int64)
        for i in (0, 1)
        for j in (0, 1)
    ]


WAYS = {
    Rounding.IN_32NDS: in_32nds,
    Rounding.IN_FLOATS: in_floats,
    Rounding.IN_FUSED_FLOATS: lambda *given: in_floats(*given, fused=True),
}


@needs_wasmtime
@pytest.mark.parametrize("rounding", Rounding)
def test_each_way_to_round_is_known(rounding: Rounding, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {way: WAYS[way](*compiled._hard_places()) for way in Rounding}
    # The places tell the ways apart.
    assert all((found[rounding] != found[other]).any() for other in Rounding if other != rounding)
    monkeypatch.setattr(
        cv2, "remap", lambda picture, x, y, *_, **__: WAYS[rounding](picture, x, y).astype(np.uint8)
    )
    code = compiled._code()
    assert code is not None and code[1] is rounding


@needs_wasmtime
@pytest.mark.parametrize("rounding", Rounding)
def test_cells_are_read_as_single_places_are(rounding: Rounding, monkeypatch: pytest.MonkeyPatch) -> None:
    def remap(
        picture: NDArray[np.uint8], x: Floats, y: Floats, *_: object, dst: NDArray[np.uint8], **__: object
    ) -> None:
        dst[...] = WAYS[rounding](picture, x, y)

    code = compiled._code()
    assert code is not None
    for size in SIZES:
        grid = grid_of(size)
        quick = CompiledMatch(compiled._machine(code[0]), rounding, *halves(size), grid)
        with monkeypatch.context() as patch:
            patch.setattr(cv2, "remap", remap)
            plain = NumpyMatch(*halves(size), grid)
            expected = [plain.differences(motion) for motion in motions(grid, np.random.default_rng(2))]
        for motion, differences in zip(motions(grid, np.random.default_rng(2)), expected, strict=True):
            np.testing.assert_array_equal(quick.differences(motion), differences)


def kind_of_match() -> type[Match]:
    return type(matching(*halves((96, 128)), (12, 16)))


def test_without_wasmtime_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    assert kind_of_match() is NumpyMatch


@needs_wasmtime
def test_where_opencv_rounds_in_a_way_of_its_own_numpy_does_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch, listening() as told:
        patch.setattr(cv2, "remap", lambda picture, x, y, *_, **__: in_32nds(picture, x, y) ^ 1)
        assert compiled._code() is None
    assert "left to NumPy" in told[0]
    assert kind_of_match() is NumpyMatch


@needs_wasmtime
def test_a_file_that_does_not_compile_costs_speed_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.wasm").write_bytes(compiled.WASM.read_bytes()[:-100])
    monkeypatch.setattr(compiled, "WASM", tmp_path / "broken.wasm")
    with listening() as told:
        assert kind_of_match() is NumpyMatch
    assert "left to NumPy" in told[0]


@needs_wasmtime
def test_frames_that_are_too_large_are_left_to_numpy() -> None:
    assert kind_of_match() is CompiledMatch
    half = np.zeros((16, 20000), np.uint8)
    assert isinstance(matching(half, half, (4, 5000)), NumpyMatch)
    assert kind_of_match() is CompiledMatch


@needs_wasmtime
def test_a_match_is_good_until_the_next_one() -> None:
    first = matching(*halves((96, 128)), (12, 16))
    matching(*halves((96, 128)), (12, 16))
    with pytest.raises(AssertionError, match="a later election"):
        first.offer_neighbours()


@needs_wasmtime
def test_threads_do_not_disturb_each_other() -> None:
    size, grid = (96, 128), (12, 16)
    motion = next(motions(grid, np.random.default_rng(3)))
    expected = [NumpyMatch(*halves(size, seed), grid).differences(motion) for seed in range(4)]
    wrong: list[int] = []

    def work(seed: int) -> None:
        found = (matching(*halves(size, seed), grid).differences(motion) for _ in range(50))
        wrong.extend(seed for differences in found if (differences != expected[seed]).any())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_committed_file_is_what_the_source_compiles_to(tmp_path: Path) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: it compiles the code")
    build(tmp_path / "election.wasm")
    assert (tmp_path / "election.wasm").read_bytes() == compiled.WASM.read_bytes(), (
        "run the build again and commit it"
    )
