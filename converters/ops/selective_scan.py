"""The selective scan of Mamba (arXiv 2312.00752, Eq. 2a and 2b, discretised), with its state in and out.

``h[t] = exp(delta[t] · decay) ⊙ h[t−1] + drive[t] ⊗ into[t]``, ``y[t] = out[t] · h[t]``: a state of N values
for each of D channels, at every one of L tokens. That is 59 million exponentials for one layer of TV3S at
480×864, so what counts is how often these values go through memory.

Everywhere but in TFLite it is a loop over tokens, in which all sequences step together with the channels
innermost (ONNX ``Scan``; ``edge_vss.converters.onnx_passes.expand_scans``). TFLite has no such loop that
torch can write; ``in_chunks`` is the same sum in a few dozen large operations. exp(−Σ delta · decay) never
appears: it overflows.
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

    def by_step(x: Tensor) -> list[Tensor]:
        # (L, K, ·) → for every step (chunks · K, ·)
        turned = x.reshape(chunks, steps, sequences, -1).transpose(0, 1)
        return list(turned.reshape(steps, chunks * sequences, -1).unbind(0))

    deltas, drives, intos, outs = (by_step(x) for x in (delta, drive, into, out))
    passed, h = deltas[0], intos[0].unsqueeze(2) * drives[0].unsqueeze(1)
    all_passed, ys = [passed], [torch.matmul(outs[0].unsqueeze(1), h)]
    for d, v, b, c in zip(deltas[1:], drives[1:], intos[1:], outs[1:], strict=True):
        h = torch.exp(d.unsqueeze(1) * decay) * h + b.unsqueeze(2) * v.unsqueeze(1)
        ys.append(torch.matmul(c.unsqueeze(1), h))
        passed = passed + d
        all_passed.append(passed)
    shape = (chunks, sequences, -1, channels)
    kept, ends = torch.exp(passed.unsqueeze(1) * decay).reshape(shape), h.reshape(shape)
    begins = [state]
    for chunk in range(chunks):
        begins.append(kept[chunk] * begins[-1] + ends[chunk])
    inherited = torch.cat(begins[:-1])
    ys = [
        y + torch.matmul(c.unsqueeze(1), torch.exp(p.unsqueeze(1) * decay) * inherited)
        for y, c, p in zip(ys, outs, all_passed, strict=True)
    ]
    y = torch.stack(ys).reshape(steps, chunks, sequences, channels).transpose(0, 1)
    return y.reshape(length, sequences, channels), begins[-1]


def macs(tokens: int, channels: int, states: int) -> int:
    """Multiply-accumulates: decay, drive and output, once per state and token."""
    return 3 * tokens * channels * states
