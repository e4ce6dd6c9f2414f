"""Checkpoints as the published systems released them: ``module.`` before every name, aliases, extra heads;
of AR-Seg two files that belong together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_vss.converters.networks.arseg import ArsegVariant, branches
from edge_vss.converters.readers import _untrained_weights as untrained_weights
from edge_vss.converters.readers import _weights as weights
from edge_vss.errors import ModelError, OptionError
from edge_vss.files import sha256

RELEASED = re.compile(r"^PSPNet_resnet18_(0\.\d+|1(?:\.0+)?)_\d+_")
"""Files are called so for both networks; the number is the scale of the low branch."""
FUSION = "fuse_attention."
FIRST = re.compile(r"(^|\.)(conv1|layer0\.0)\.weight$")


def pair(
    low: Path | None,
    high: str | Path | None,
    variant: ArsegVariant,
    name: str,
    classes: int,
    width: float | None,
) -> tuple[Any, Any, dict[str, Any]]:
    """The high and the low network, filled; and notes: ``source``, ``width``, and what else was found.

    Without ``low``, both get weights that nobody trained (readers/_untrained_weights). Raises ModelError for
    files that do not fit the variant or each other, naming the keys.
    """
    notes: dict[str, Any]
    if low is None:
        if high is not None:
            raise OptionError(f"--hr {high} has weights, and --untrained wants none: leave one out")
        width = 1.0 if width is None else _width(width)
        networks = branches(variant, classes, width)
        for network in networks:
            untrained_weights.fill(network)
        notes = {"untrained": True, "source": {"name": f"untrained {name}", "sha256": ""}, "width": width}
    else:
        if high is None:
            raise OptionError(
                f"--hr is missing: {low} is the low branch, and key frames need the high one's file"
            )
        high = Path(high)
        low_weights, high_weights = (tidied(path, variant.aliases, variant.auxiliary) for path in (low, high))
        found = _found_width(low, low_weights)
        if width is not None and _width(width) != found:
            raise OptionError(f"--width {width:g} does not fit {low}, whose width is {found:g}: leave it out")
        networks = branches(variant, classes, found)
        high_weights = {key: value for key, value in high_weights.items() if not key.startswith(FUSION)}
        _fill(networks[0], high, high_weights, f"the high branch of {name}")
        _fill(networks[1], low, low_weights, f"the low branch of {name}")
        _same_classifier(networks, high, low)
        notes = {
            "source": {"name": low.name, "sha256": sha256(low)},
            "high": {"name": high.name, "sha256": sha256(high)},
            "width": found,
        }
        if match := RELEASED.match(low.name):
            notes["named_scale"] = float(match[1])
    for network in networks:
        network.eval().requires_grad_(False)
    return *networks, notes


def filled(
    network: torch.nn.Module, path: Path | None, found: Mapping[str, Tensor], name: str
) -> dict[str, Any]:
    """Give ``network`` the tidied weights of ``path``, or without one weights that nobody trained
    (readers/_untrained_weights). Gives notes: ``source``, and ``untrained`` where it is.

    Raises ModelError for a file that does not fit the variant called ``name``, naming the keys.
    """
    if path is None:
        untrained_weights.fill(network)
        notes = {"untrained": True, "source": {"name": f"untrained {name}", "sha256": ""}}
    else:
        _fill(network, path, found, name)
        notes = {"source": {"name": path.name, "sha256": sha256(path)}}
    network.eval().requires_grad_(False)
    return notes


def tidied(path: Path, aliases: Mapping[str, str], auxiliary: tuple[str, ...]) -> dict[str, Tensor]:
    """A checkpoint's weights under the names used here: without what begins like one of ``auxiliary``, and
    second names, by how they begin, taken for the first."""
    tidy: dict[str, Tensor] = {}
    for key, value in weights.read(path).items():
        if key.startswith(auxiliary) or key.endswith(("num_batches_tracked", "relative_position_index")):
            continue
        alias = next((alias for alias in aliases if key.startswith(alias)), None)
        if alias is None:
            tidy[key] = value.float()
        else:
            tidy.setdefault(aliases[alias] + key.removeprefix(alias), value.float())
    return tidy


def _fill(network: torch.nn.Module, path: Path, found: Mapping[str, Tensor], what: str) -> None:
    weights.fill(network, {"": found}, path, what, "--variant")


def _found_width(path: Path, found: Mapping[str, Tensor]) -> float:
    first = [value for key, value in found.items() if FIRST.search(key) and value.shape[1:] == (3, 7, 7)]
    if not first:
        raise ModelError(
            f"{path} has no ResNet stem (conv1.weight of 7x7): it is not a checkpoint of AR-Seg's networks"
        )
    return float(first[0].shape[0] / 64)


def _width(width: float) -> float:
    if not 1 / 16 <= width <= 4:
        raise OptionError(f"--width {width:g}: 1 is the published network, 0.25 a small one; 0.0625 to 4")
    return float(width)


def _same_classifier(networks: tuple[Any, Any], high: Path, low: Path) -> None:
    # The low branch is trained with the high one's classifier, frozen: another one means another pair.
    ours, theirs = (network.classifier.weight.detach() for network in networks)
    if not torch.allclose(ours, theirs, rtol=0.02, atol=1e-3 * float(theirs.abs().max())):
        raise ModelError(
            f"{low} and {high} have different classifiers, so they were not trained together: "
            "give the high branch that the low one was trained with"
        )
