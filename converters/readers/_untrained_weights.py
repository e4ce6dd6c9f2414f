"""Weights for a network that nobody has trained yet: enough to learn how fast it is, and to compare numbers.

They are the same on every machine, and neither vanish nor blow up through a deep network.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def fill(network: torch.nn.Module) -> None:
    """Give every parameter and buffer values that follow from its name and shape."""
    state = network.state_dict()
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        noise = pseudo_random(tensor.numel(), (zlib.crc32(name.encode()) % 1000) / 1000)
        if name.endswith("running_var"):
            values = 1 + 0.5 * np.abs(noise)
        elif name.endswith("A_log"):  # decays from 1 to the number of states, as they are before training
            values = np.log(np.tile(np.arange(1, tensor.shape[1] + 1), tensor.shape[0])) + 0.1 * noise
        elif tensor.dim() >= 2:
            values = noise * np.sqrt(3 / (tensor.numel() / tensor.shape[0]))
        elif name.endswith(("weight", ".D")):
            values = 1 + 0.1 * noise
        else:
            values = 0.1 * noise
        state[name] = torch.tensor(values.reshape(tensor.shape), dtype=tensor.dtype)
    network.load_state_dict(state)


def pseudo_random(count: int, seed: float) -> np.ndarray:
    """``count`` float64 values between −1 and 1, from the sine that shaders use as noise."""
    waves = np.sin(np.arange(1, count + 1) * 12.9898 + seed * 78.233) * 43758.5453
    return np.asarray(2 * (waves - np.floor(waves)) - 1)
