"""A session's state in a file: found at the start, saved every so often and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType

from edge_vss.errors import EdgeVssError, OptionError, StateFileError
from edge_vss.runtimes import _state_file
from edge_vss.runtimes.state import State


class StateKeeper:
    """Keeps ``state`` in ``path``, and the one saved before in ``path`` with ``.previous`` at its end.

    A file that is damaged stops nothing: it is told of through ``tell``, kept with ``.damaged`` at its end,
    and the session goes on from the previous one, or from nothing. So does a save that fails, apart from the
    last one. A context manager, to be used in the thread that runs the session. Saving works in a thread of
    its own: a slow disk holds up no frame. ``clock`` gives seconds.

    Raises SinkError where nothing can be saved there, or where another process does; OptionError for the
    state of another model, and for ``every_seconds`` below 0.
    """

    def __init__(
        self,
        path: Path,
        state: State,
        every_seconds: float,
        *,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not every_seconds >= 0:
            raise OptionError(f"a state cannot be saved every {every_seconds} seconds: give 0 or more")
        self._path, self._state, self._tell, self._clock = path, state, tell, clock
        self._every_seconds = every_seconds
        self._changed = False
        self._failing = False
        self._saving: Future[None] | None = None
        self._claim = _state_file.claim_place(path)
        try:
            self._keep_as = self._begin()
        except BaseException:
            self._claim.release()
            raise
        self._saved_at = clock()
        self._thread = ThreadPoolExecutor(1, "edge-vss state")

    def __enter__(self) -> StateKeeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        try:
            self._collect()
            if self._changed:
                self._write(self._state.snapshot(self._path))
        except EdgeVssError as failure:
            if error is None:
                raise
            # What went wrong first is what the run ends with.
            self._tell(str(failure))
        finally:
            self._claim.release()

    def after_step(self) -> None:
        """Save the state if it is time, and no earlier save is still under way."""
        if not len(self._state):
            return
        self._changed = True
        if self._clock() - self._saved_at < self._every_seconds:
            return
        if self._saving is not None and not self._saving.done():
            return
        self._collect()
        self._saved_at, self._changed = self._clock(), False
        self._saving = self._thread.submit(self._write, self._state.snapshot(self._path))

    def settle(self) -> None:
        """Wait until no save is under way."""
        if self._saving is not None:
            wait([self._saving])

    def _begin(self) -> Path:
        """Restore what there is. Gives the name under which the first save keeps the file that is there."""
        previous = _named(self._path, "previous")
        if not self._path.exists():
            return previous
        try:
            self._state.restore(self._path)
        except StateFileError as damaged:
            kept = _named(self._path, "damaged")
            instead = self._fall_back(previous)
            self._tell(f"{self._path} is damaged, or is no state file ({damaged.reason}): {instead}")
            self._tell(f"what is in it is kept as {kept} when the next state is saved")
            return kept
        self._tell(f"going on from {self._path}")
        return previous

    def _fall_back(self, previous: Path) -> str:
        try:
            self._state.restore(previous)
        except OptionError:
            return "beginning anew"
        return f"going on from {previous}, which was saved before it"

    def _write(self, snapshot: _state_file.Snapshot) -> None:
        _state_file.write(self._path, snapshot, self._keep_as)
        self._keep_as = _named(self._path, "previous")

    def _collect(self) -> None:
        """What became of the last save."""
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            saving.result()
        except EdgeVssError as error:
            self._changed = True
            if not self._failing:
                self._tell(f"{error} (trying again every {self._every_seconds:g} seconds)")
            self._failing = True
        else:
            self._failing = False


def _named(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}.{kind}")
