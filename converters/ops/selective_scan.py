"""The selective scan of Mamba (arXiv 2312.00752, Eq. 2a and 2b, discretised), with its state in and out.

    h[t] = exp(delta[t] · decay) ⊙ h[t−1] + drive[t] ⊗ into[t]
    y[t] = out[t] · h[t]

The state ``h`` has N values for each of D channels, and there are L tokens. One layer of TV3S at 480×864
takes 59 million exponentials, so memory traffic decides the speed.

ONNX and OpenVINO run a loop over the tokens (``Scan``, see targets/_onnx_scan.py). All sequences take a step
together, and the channels are the innermost axis. torch cannot write such a loop for TFLite. There,
``in_chunks`` computes the same sums in a few dozen large operations.

Neither divides by a product of decays, as faster forms of the scan do: exp(−Σ delta · decay) overflows.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAME = "edge_vss::selective_scan"
STEPS = 20
"""Tokens in a chunk. ``in_chunks`` takes them one by one, for all chunks at once."""


@torch.library.custom_op(NAME, mutates_args=())
def selective_scan(
    delta: Tensor, decay: Tensor, drive: Tensor, into: Tensor, out: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Scan K sequences of L tokens side by side.

    Everything is float32: delta and drive (L, K, D), decay (N, D) and below 0, into and out (L, K, N), state
    (K, N, D). Gives y (L, K, D), and the state after the last token (K, N, D).
    """
    y, h = torch.empty_like(delta), state.clone()
    kept = torch.empty_like(h)
    for t in range(delta.shape[0]):
        torch.mul(delta[t].unsqueeze(1), decay, out=kept).exp_()
        h.mul_(kept).addcmul_(into[t].unsqueeze(2), drive[t].unsqueeze(1))
        torch.bmm(out[t].unsqueeze(1), h, out=y[t].unsqueeze(1))
    return y, h


@selective_scan.register_fake
def _(
    delta: Tensor, decay: Tensor, drive: Tensor, into: Tensor, out: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(delta), torch.empty_like(state)


def in_chunks(
    delta: Tensor, decay: Tensor, drive: Tensor, into: Tensor, out: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The same as ``selective_scan``, without a loop of L turns.

    The tokens are cut into chunks of up to ``STEPS``. First all chunks are scanned at once, each as if its
    state began at 0. Then the state at the end of each chunk is passed on to the next. Last, each chunk's
    outputs get the part that comes from the state it begins with.
    """
    length, sequences, channels = (int(extent) for extent in delta.shape)
    steps = next(steps for steps in range(min(STEPS, length), 0, -1) if length % steps == 0)
    chunks = length // steps

    def by_step(x: Tensor, rows: int, columns: int) -> Tensor:
        # (L, K, ·) → (steps, chunks · K, rows, columns)
        turned = x.reshape(chunks, steps, sequences, -1).transpose(0, 1)
        return turned.reshape(steps, chunks * sequences, rows, columns)

    states = int(decay.shape[0])
    deltas, drives = by_step(delta, 1, channels), by_step(drive, 1, channels).unbind(0)
    intos, outs = by_step(into, states, 1).unbind(0), by_step(out, 1, states).unbind(0)
    h, ys = intos[0] * drives[0], []
    for step, d in enumerate(deltas.unbind(0)):
        if step:
            h = torch.exp(d * decay) * h + intos[step] * drives[step]
        ys.append(torch.matmul(outs[step], h))
    passed = torch.cumsum(deltas, 0).unbind(0)
    shape = (chunks, sequences, states, channels)
    kept, ends = torch.exp(passed[-1] * decay).reshape(shape).unbind(0), h.reshape(shape).unbind(0)
    begins = [state]
    for share, end in zip(kept, ends, strict=True):
        begins.append(share * begins[-1] + end)
    inherited = torch.cat(begins[:-1])
    ys = [
        y + torch.matmul(c, torch.exp(d * decay) * inherited)
        for y, c, d in zip(ys, outs, passed, strict=True)
    ]
    y = torch.stack(ys).reshape(steps, chunks, sequences, channels).transpose(0, 1)
    return y.reshape(length, sequences, channels), begins[-1]


def macs(tokens: int, channels: int, states: int) -> int:
    """Multiply-accumulates: decay, drive and output, once per state and token."""
    return 3 * tokens * channels * states
