"""The selective scan: the same in a loop, in chunks, and on every engine, and never out of bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_vss.bundle import GraphSpec
from edge_vss.converters.cost import gmac
from edge_vss.converters.ops.selective_scan import in_chunks, selective_scan
from edge_vss.converters.targets.onnx import export
from edge_vss.converters.values import Part, spec
from edge_vss.runtimes.engines import ENGINES, giving_arrays

NAMES = ("delta", "decay", "drive", "into", "out", "state")


def inputs(length: int, sequences: int, channels: int, states: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    delta = torch.nn.functional.softplus(noise(length, sequences, channels) - 1)
    decay = -16 * torch.rand(states, channels, generator=generator)
    drive, state = noise(length, sequences, channels), noise(sequences, states, channels)
    return [delta, decay, drive, noise(length, sequences, states), noise(length, sequences, states), state]


def token_by_token(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    delta, decay, drive, into, out, h = (x.double() for x in tensors)
    ys = []
    for t in range(len(delta)):
        h = torch.exp(delta[t, :, None] * decay) * h + into[t, :, :, None] * drive[t, :, None]
        ys.append((out[t, :, :, None] * h).sum(1))
    return torch.stack(ys), h


def close(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have.double(), want.double(), rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    length=st.integers(1, 60),
    sequences=st.integers(1, 4),
    channels=st.integers(1, 9),
    states=st.integers(1, 5),
)
def test_all_forms_agree(length: int, sequences: int, channels: int, states: int) -> None:
    given_ = inputs(length, sequences, channels, states, seed=length)
    expected = token_by_token(given_)
    close(selective_scan(*given_), expected)
    close(in_chunks(*given_), expected)


@pytest.mark.parametrize("form", [selective_scan, in_chunks])
def test_a_clip_at_once_is_its_frames_one_by_one(form: type) -> None:
    given_ = inputs(120, 3, 8, 4)
    delta, decay, drive, into, out, state = given_
    whole, last = form(*given_)
    parts = []
    for first in range(0, 120, 40):
        step = [x[first : first + 40] for x in (delta, drive, into, out)]
        y, state = form(step[0], decay, *step[1:], state)
        parts.append(y)
    close((torch.cat(parts), state), (whole, last))


def test_strong_decay_over_many_tokens_stays_finite() -> None:
    given_ = inputs(400, 2, 4, 3)
    given_[0] = given_[0] + 5
    for form in (selective_scan, in_chunks):
        y, state = form(*given_)
        assert torch.isfinite(y).all() and torch.isfinite(state).all()
    close(in_chunks(*given_), token_by_token(given_))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "numpy"])
def test_the_exported_loop_gives_the_same(tmp_path: Path, engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")

    class Scan(torch.nn.Module):
        def __init__(self, decay: Tensor) -> None:
            super().__init__()
            self.log = torch.nn.Parameter(torch.log(-decay))

        def forward(self, *x: Tensor) -> tuple[Tensor, Tensor]:
            y, state = selective_scan(x[0], -torch.exp(self.log), *x[1:])
            return y + 1, state

    given_ = inputs(40, 3, 8, 4)
    decay, rest = given_[1], [given_[0], *given_[2:]]
    expected = token_by_token(given_)
    names = [name for name in NAMES if name != "decay"]
    ins = tuple(spec(name, x) for name, x in zip(names, rest, strict=True))
    outs = (spec("y", given_[0]), spec("state_next", given_[5]))
    (made,) = export([Part("state", Scan(decay).eval(), ins, outs)], tmp_path, {})
    call = ENGINES.find(engine).call(tmp_path / made.file, GraphSpec("state", made.file, "", ins, outs, 0.0))
    found = giving_arrays(call)({name: x.numpy() for name, x in zip(names, rest, strict=True)})
    np.testing.assert_allclose(found["y"], expected[0].numpy() + 1, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["state_next"], expected[1].numpy(), rtol=1e-5, atol=1e-5)
    # A product of 4 for each of 8 channels, at every token of every sequence.
    assert gmac(tmp_path / made.file) == pytest.approx(40 * 3 * 8 * 4 / 1e9)
