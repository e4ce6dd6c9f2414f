"""A recording without end, as a dashcam makes it: short overlay videos, the oldest deleted in time."""

from __future__ import annotations

import errno
import re
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl

from edge_vss.claim import Claim
from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError, SinkError
from edge_vss.plugins import LOG
from edge_vss.runtimes.sinks import SinkContext, SinkDescription, writing
from edge_vss.runtimes.sinks.video import OverlayVideo
from edge_vss.video import Frame

DESCRIPTION = SinkDescription(
    "short overlay videos, the oldest deleted in time (DIR?mb=2000&seconds=60)", place="folder", behind=True
)

MEGABYTES = 2000
"""The most that is kept, in MB (10⁶ bytes), where nothing else is said."""
SECONDS = 60.0
"""The length of a part."""
_PARTS = 8
"""A part ends early where it is this share of all that may be kept."""
_NAMED = re.compile(r"\d{8}-\d{6}-\d{3}\.mp4")
_LOCK = ".edge-vss-ring.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def open(path: str | Path, context: SinkContext) -> Ring:
    """Opens a folder for parts. ``DIR?mb=500&seconds=30`` says how much is kept, and how long a part is.

    Raises OptionError for other settings, SinkError where it cannot be written to.
    """
    folder, _, settings = str(path).partition("?")
    megabytes, seconds = float(MEGABYTES), SECONDS
    for name, value in parse_qsl(settings, keep_blank_values=True):
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if name not in ("mb", "seconds") or not 0 < number < 1e12:
            raise OptionError(f"a ring has no setting {name}={value}: write DIR?mb=2000&seconds=60")
        megabytes, seconds = (number, seconds) if name == "mb" else (megabytes, number)
    return Ring(Path(folder), context, round(megabytes * 1e6), seconds)


class Ring:
    """Parts called by the time (UTC) at which they begin: ``20260131-235959-123.mp4``. Each plays by itself.

    All parts together take up to ``limit_bytes``; where the disk is full before that, the oldest go as well.
    Other files in the folder are left alone.
    """

    def __init__(
        self,
        folder: Path,
        context: SinkContext,
        limit_bytes: int = MEGABYTES * 10**6,
        seconds: float = SECONDS,
    ) -> None:
        self._folder = folder
        self._context = context
        self._limit = limit_bytes
        self._seconds = seconds
        self._part: OverlayVideo | None = None
        self._path = folder
        self._began = 0.0
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._claim = Claim(folder / _LOCK)
            except BlockingIOError:
                raise SinkError(
                    f"{folder} is in use (another process records there): choose another folder"
                ) from None

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Adds one frame. Raises SinkError where there is no room, and nothing left to delete."""
        if self._part is not None and self._is_long():
            self._end()
        while not self._added(frame, prediction):
            LOG.warning("%s: the disk is full, so older parts go", self._folder)

    def close(self) -> None:
        """Makes the last part whole."""
        try:
            self._end()
        finally:
            self._claim.release()

    def _added(self, frame: Frame, prediction: Prediction) -> bool:
        """Whether the frame is written; if not, the disk was full, and there is more room now."""
        try:
            self._add(frame, prediction)
        except SinkError as error:
            if getattr(error.__context__, "errno", None) not in _FULL:
                raise
            # A part that cannot be ended plays all the same, up to the frame before.
            with suppress(SinkError):
                self._end()
            if not self._make_room(self._size() - 1):
                raise
            return False
        return True

    def _add(self, frame: Frame, prediction: Prediction) -> None:
        if self._part is None:
            self._make_room(self._limit - self._limit // _PARTS)
            self._path = self._free_name()
            self._began = time.monotonic()
            self._part = OverlayVideo(self._path, self._context)
        self._part.write(frame, prediction)

    def _is_long(self) -> bool:
        with suppress(OSError):
            if self._path.stat().st_size > self._limit // _PARTS:
                return True
        return time.monotonic() - self._began > self._seconds

    def _free_name(self) -> Path:
        now = time.time()
        while True:
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
            path = self._folder / f"{stamp}-{int(now * 1000) % 1000:03d}.mp4"
            if not path.exists():
                return path
            now += 0.001

    def _end(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.close()

    def _parts(self) -> list[Path]:
        with writing(self._folder):
            return sorted(path for path in self._folder.iterdir() if _NAMED.fullmatch(path.name))

    def _size(self) -> int:
        return sum(_bytes(path) for path in self._parts())

    def _make_room(self, limit: int) -> bool:
        """Delete the oldest parts until the others take ``limit`` bytes at most; whether any was deleted."""
        parts, size, deleted = self._parts(), self._size(), False
        for path in parts:
            if size <= limit:
                break
            size -= _bytes(path)
            with writing(path):
                path.unlink(missing_ok=True)
            deleted = True
        return deleted


def _bytes(path: Path) -> int:
    """How large a part is; 0 where somebody has taken it away."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
