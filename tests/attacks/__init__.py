"""Hostile input, one file per attack: what it makes, and the one line that has to come of it.

README.md beside this file says how to write one; tests/test_attacks.py runs them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_vss.errors import EdgeVssError


@dataclass(frozen=True)
class Attack:
    """What has to become of an attack."""

    error: type[EdgeVssError]
    """The documented type, exactly."""
    line: str
    """The whole message. ``{folder}`` is the attack's folder; ``...`` stands for any text."""
    needs: tuple[str, ...] = ()
    """Modules without which the attack cannot be made or met; then its test is skipped."""
    memory_mb: int = 256
    """How much more memory may be asked for than was in use before the attack."""
