"""What a session carries from step to step: plain arrays by name, which can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle.manifest import Manifest
from edge_vss.errors import OptionError
from edge_vss.runtimes import _state_file
from edge_vss.video import Size


class State(Mapping[str, NDArray[Any]]):
    """The state of one session, by name; empty before its first step.

    A file of it holds the tensors and what model they belong to. It fits every bundle of that model with the
    same options and frame size, whatever the target.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._tensors: dict[str, NDArray[Any]] = {}
        self.size: Size | None = None
        """Height and width of the video's frames that it was made from; None where that is open."""
        self.restored = False
        """True from ``restore`` to the next step, which is then no start, whatever the source says."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return sum(state.nbytes for state in self._manifest.state)

    def reset(self) -> None:
        """Go back to the beginning."""
        self._tensors = self._manifest.initial_state()
        self.restored = False

    def advance(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take over from all tensors of a step what the next one needs."""
        self._tensors = self._manifest.next_state(tensors)
        self.restored = False

    def snapshot(self, path: str | Path) -> _state_file.Snapshot:
        """A copy of it, to be saved to ``path``. Raises OptionError before the first step."""
        if not self or self.size is None:
            raise OptionError(f"there is no state to save to {path} yet: segment a frame first")
        return _state_file.Snapshot(
            self._manifest, {name: np.array(tensor) for name, tensor in self.items()}, self.size
        )

    def save(self, path: str | Path) -> None:
        """Write it to a file, which is whole or as it was before, also after a power cut.

        Raises OptionError before the first step, SinkError where nothing can be written, or where another
        process saves to the same file.
        """
        snapshot, place = self.snapshot(path), Path(path)
        with _state_file.claimed(place):
            _state_file.write(place, snapshot)

    def restore(self, path: str | Path) -> None:
        """Go on from a file that ``save`` wrote. The next step is a full frame that remembers.

        Raises StateFileError for a file that is damaged or is none; OptionError for one that is not there,
        or that belongs to another model, option or size. What was there before then stays.
        """
        tensors, size = _state_file.read(Path(path), self._manifest)
        self._tensors = tensors
        self.size, self.restored = size, True
