"""A file read as `convert` reads it, and what its network computes."""

from pathlib import Path
from typing import Any

import torch

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers import _load as models
from edge_vss.converters.values import Network
from tests.helpers.conversion import CLASSES, SIZE


def load(path: Path, **options: Any) -> Network:
    return models.load_network(Conversion(path, **{"classes": CLASSES, "size": SIZE, **options}))


def scores_of(network: Network, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = network.after(network.model(network.before(image)))
    return result
