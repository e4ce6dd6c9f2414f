"""Weights of state dicts and checkpoints: reading them, and giving them to a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from edge_vss.converters.readers._saved import opened, weights_of
from edge_vss.errors import ModelError


def read(path: Path) -> dict[str, Tensor]:
    """The weights in a ``torch.save`` file by name, without the prefixes of training. Raises ModelError."""
    return weights_of(path, opened(path))


def fill(network: torch.nn.Module, weights: Mapping[str, Tensor], path: Path, what: str, check: str) -> None:
    """Give ``network``, which the user knows as ``what``, the weights read from ``path``, every one of them.

    Raises ModelError that names the keys missing, unexpected or of another shape, and what to ``check``.
    """
    own = network.state_dict()
    # Counts of batches play no part in inference, and checkpoints from before PyTorch 0.4.1 have none.
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in weights if key not in own]
    wrong = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if wrong:
        key = wrong[0]
        raise ModelError(
            f"{path} has {key} {tuple(weights[key].shape)}, {what} wants {tuple(own[key].shape)}"
            f"{f' and {len(wrong) - 1} more like it' if len(wrong) > 1 else ''}: check {check}"
        )
    if missing or unexpected:
        parts = [
            f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for kind, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ModelError(f"{path} is not made for {what}: {' and '.join(parts)}; check {check}")
    network.load_state_dict(dict(weights), strict=False)
