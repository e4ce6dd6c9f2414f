"""An OpenVINO graph with another file's hash as its weights: OpenVINO would load `key.bin`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_vss.errors import BundleError
from tests.attacks import Attack
from tests.attacks._bundle import holding

ATTACK = Attack(
    BundleError,
    "{folder}/street.vss: \"data\" of key is 'other.bin', and has to be 'key.bin' beside its file: convert the model again",
)


def make(folder: Path) -> Callable[[], object]:
    return holding(folder, b'<?xml version="1.0"?><net/>', "openvino", data="other.bin")
