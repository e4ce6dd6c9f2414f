"""The ``edge-vss`` program, and ``python -m edge_vss``."""

from __future__ import annotations


def main() -> None:
    """The command line; Ctrl-C before a command has begun ends it with status 130 and without a word."""
    try:
        # Imported here, because this is what most of the time before a command begins goes into.
        from edge_vss.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
