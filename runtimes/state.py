"""What a session carries from step to step: tensors by name, which can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_vss.bundle.manifest import Manifest
from edge_vss.errors import OptionError
from edge_vss.files import path_of
from edge_vss.runtimes import _state_file
from edge_vss.runtimes.engines import Tensor, as_array
from edge_vss.video import FrameStamp, Size


class State(Mapping[str, NDArray[Any]]):
    """The state of one session, as read-only arrays by name; empty before its first step.

    An array stays as it is, however many steps follow: what belongs to one step may be kept. A file of it
    holds the tensors and what model they belong to. It fits every bundle with the same model, options and
    frame size, whatever the target.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.tensors: dict[str, Tensor] = {}
        """The same as the engine keeps it, which the next step reads without a copy."""
        self.frame: FrameStamp | None = None
        """The frame of the last step; None before the first one and after ``restore``."""
        self.anchor: FrameStamp | None = None
        """The key frame that the motion of that step leads back to. What the state carries from a key frame
        belongs to this one."""
        self.size: Size | None = None
        """Height and width of the video's frames that it was made from; None where that is open."""
        self.restored = False
        """True from ``restore`` to the next step, which is then no start, whatever the source says."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        shown = as_array(self.tensors[name]).view()
        shown.flags.writeable = False
        return shown

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return sum(state.nbytes for state in self._manifest.state)

    def reset(self) -> None:
        """Go back to the beginning."""
        self.tensors = dict(self._manifest.initial_state())
        self.frame = self.anchor = None
        self.restored = False

    def advance(self, tensors: Mapping[str, Tensor], frame: FrameStamp, anchor: FrameStamp) -> None:
        """Take over from all tensors of a step what the next one needs."""
        self.tensors = self._manifest.next_state(tensors)
        self.frame, self.anchor = frame, anchor
        self.restored = False

    def snapshot(self, path: str | Path) -> _state_file.Snapshot:
        """What is to be saved to ``path``. Raises OptionError before the first step."""
        if not self.tensors or self.size is None:
            raise OptionError(f"there is no state to save to {path} yet: segment a frame first")
        return _state_file.Snapshot(self._manifest, dict(self), self.size)

    def save(self, path: str | Path) -> None:
        """Write it to a file, which is whole or as it was before, also after a power cut.

        Raises OptionError before the first step, SinkError where nothing can be written, or where another
        process saves to the same file.
        """
        snapshot, place = self.snapshot(path), path_of(path, "the state file")
        with _state_file.claimed(place):
            _state_file.write(place, snapshot)

    def restore(self, path: str | Path) -> None:
        """Go on from a file that ``save`` wrote. The next step is a full frame that remembers.

        Raises StateFileError for a file that is damaged or is none; OptionError for one that is not there,
        or that belongs to another model, option or size. What was there before then stays.
        """
        tensors, size = _state_file.read(path_of(path, "the state file"), self._manifest)
        self.tensors = dict(tensors)
        self.frame = self.anchor = None
        self.size, self.restored = size, True
