"""A claim on a place that only one process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Claim:
    """A place that one process at a time uses, by a lock on the hidden file ``lock``.

    The kernel lets go of the lock with the process. What a killed process leaves of it is the file alone,
    which the next claim takes over and then removes. Where the file system or Python has no such locks
    (Windows), this claims nothing and leaves no file. Raises BlockingIOError where another one has the claim,
    OSError where the file cannot be made.
    """

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._descriptor: int | None = None
        self._descriptor = _locked(lock)

    def release(self) -> None:
        """Let others have the place. It may come twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Before the lock goes: afterwards the file may be another one's.
            with suppress(OSError):
                self._lock.unlink()
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()


def lock(descriptor: int, path: Path, wait: bool = False) -> bool:
    """Lock the open file or folder ``path`` for as long as the descriptor is open.

    False where ``path`` is gone, or is another one by now. Raises BlockingIOError where another one holds the
    lock, unless this is to ``wait``; OSError where the file system has no locks, ImportError where Python has
    none (Windows).
    """
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    try:
        # Its last owner may have removed it after it was opened here.
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _locked(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if lock(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise
        except (OSError, ImportError):
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        os.close(descriptor)
