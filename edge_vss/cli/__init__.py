"""The command line: one file per verb.

Nothing is imported before it is needed: ``edge-vss --help`` opens neither a decoder nor a framework.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from edge_vss import __version__
from edge_vss.cli import (
    compare,
    convert,
    demo,
    doctor,
    evaluate,
    inspect,
    label,
    motion,
    profile,
    run,
    serve,
    verify,
)
from edge_vss.cli._family import BundleFamilyCommand, FamilyCommand
from edge_vss.cli.terminal import READER_LEFT, guarded

VERBS = (
    convert.convert,
    inspect.inspect,
    verify.verify,
    run.run,
    serve.serve,
    profile.profile,
    evaluate.evaluate,
    label.label,
    compare.compare,
    motion.motion,
    doctor.doctor,
    demo.demo,
)
"""In the order of a user's first day; each one's first line is its help."""

CLASSES = {
    convert.convert: FamilyCommand,
    compare.compare: FamilyCommand,
    verify.verify: BundleFamilyCommand,
}
"""Of the verbs that take a family's own options."""

# Typer's rich help doubles the time of --help, and draws a box around what should be one line.
app = typer.Typer(
    name="edge-vss",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The ``edge-vss`` program, once all of it is imported."""
    # A service manager stops a program with SIGTERM; a recording must be closed then as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except SystemExit as done:
        if done.code == READER_LEFT:
            # Python writes out what is left when it ends, and would complain that nobody reads it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"edge-vss {__version__}")
        raise typer.Exit


@app.callback(help="Video semantic segmentation on edge devices, led by the decoder's motion vectors.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for _verb in VERBS:
    app.command(cls=CLASSES.get(_verb))(guarded(_verb))
