"""The selective scan of Mamba (arXiv 2312.00752, Eq. 2a and 2b, discretised), with its state in and out.

``h[t] = exp(delta[t] · decay) ⊙ h[t−1] + drive[t] ⊗ into[t]``, ``y[t] = out[t] · h[t]``: a state of N values
for each of D channels, at every one of L tokens. That is 59 million exponentials for one layer of TV3S at
480×864, so what counts is how often these values go through memory.

Everywhere but in TFLite it is a loop over tokens, in which all sequences step together with the channels
innermost (ONNX ``Scan``, written by edge_vss.converters.targets._onnx_scan). TFLite has no such
loop that torch can write; ``in_chunks`` is the same sum in a few dozen large operations.
exp(−Σ delta · decay) never appears: it overflows.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAME = "edge_vss::selective_scan"
STEPS = 20
"""Tokens of a chunk that ``in_chunks`` goes through one by one, all chunks together."""


@torch.library.custom_op(NAME, mutates_args=())
def selective_scan(
    delta: Tensor, decay: Tensor, drive: Tensor, into: Tensor, out: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """K sequences of L tokens, side by side.

    delta and drive float32 (L, K, D), decay (N, D) below 0, into and out (L, K, N), state (K, N, D), all
    float32 → y (L, K, D) and the state after the last token (K, N, D).
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
    """The same as ``selective_scan`` without a loop of L turns.

    All chunks of ``STEPS`` tokens are scanned together as if each began at 0; then the chunks' last states
    are chained, and what a chunk inherits is added to its outputs.
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
