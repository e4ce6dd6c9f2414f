"""How the command line talks: errors in one line, tables and progress on standard error, JSON on request."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import typer

from edge_vss.errors import EdgeVssError, SinkError, one_line
from edge_vss.files import check_writable
from edge_vss.plugins import missing_extra
from edge_vss.report import Report
from edge_vss.text import printable

P = ParamSpec("P")

_ANY_WIDTH = 10_000
"""More characters than any row has."""

READER_LEFT = 141
"""The exit status where nobody reads standard output any more, as in ``| head``: 128 and SIGPIPE's number."""


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a command raises into one line and an exit status; ``debug=True`` lets it through."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        except (typer.Exit, typer.BadParameter):
            raise
        except Exception as error:
            if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
                raise typer.Exit(READER_LEFT) from None
            if kwargs.get("debug"):
                raise
            say(f"error: {explain(error)}")
            raise typer.Exit(1) from None

    return call


def explain(error: Exception) -> str:
    """One line: what went wrong, the value, what to do."""
    if isinstance(error, ImportError):
        error = missing_extra(error, "this command") or error
    if isinstance(error, EdgeVssError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = printable(str(error.filename or "a file"))
        return f"{error.strerror}: {place}; check the place and its free space"
    return f"unexpected {one_line(error, named=True)}; run again with --debug to see where"


def say(line: str) -> None:
    """Print a line for people, on standard error. Standard output is for programs.

    Names in it may be a stranger's: what would act on the terminal is shown escaped, a line end too.
    """
    typer.echo(printable(line), err=True)


def writable(place: str | None, made: Path | None = None) -> None:
    """Raise SinkError where `emit` could not write its JSON. Called first, it saves the work in vain.

    ``made`` is a folder that the command will make: a file inside it cannot be tried before.
    """
    if place is None or place == "-":
        return
    path = Path(os.path.realpath(place))
    if made is not None and not path.parent.is_dir() and path.is_relative_to(os.path.realpath(made)):
        return
    with _writing_json(place):
        check_writable(path)


def places(json: str | None, **places: str | Path | None) -> dict[str, str | Path]:
    """All that a command writes, name → place; ``json`` is where ``--json`` goes."""
    return {name: place for name, place in {**places, "json": json}.items() if place is not None}


def emit(result: Report, place: str | None) -> None:
    """Write a report as JSON to a file, to standard output for ``-``, or not at all for None.

    Raises SinkError where the file cannot be written.
    """
    if place is None:
        return
    text = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
    if place == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with _writing_json(place):
        _write_whole(Path(os.path.realpath(place)), text)


def save_page(text: str, place: Path) -> None:
    """Write a page of HTML to a file. Raises SinkError where it cannot be written."""
    try:
        _write_whole(Path(os.path.realpath(place)), text)
    except OSError as error:
        raise SinkError(f"cannot write {place} ({error.strerror}): choose another file") from error
    say(f"the report is in {place}")


def _write_whole(path: Path, text: str) -> None:
    if path.exists() and not path.is_file():  # a pipe or a device, which must stay what it is
        path.write_text(text, encoding="utf-8")
        return
    fresh = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _writing_json(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"cannot write JSON to {place}: {error.strerror}; choose another file") from error


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on standard error, columns of numbers to the right. Without rows, print nothing.

    As in `say`, what would act on the terminal is shown escaped.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    taken = list(rows)
    if not taken:
        return
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for place, name in enumerate(columns):
        numeric = all(isinstance(row[place], (int, float, type(None))) for row in taken)
        drawn.add_column(
            Text(printable(name)),
            justify="right" if numeric else "left",
            no_wrap=not place,
            overflow="fold",
        )
    for row in taken:
        drawn.add_row(*(Text(printable(cell(value))) for value in row))
    # A file is as wide as its lines. Folding would cut a digest in two.
    console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _ANY_WIDTH)
    console.print(drawn)
    console.print()


def cell(value: Any) -> str:
    """A value for people: numbers with three or four digits, a dash for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    return str(value)


def flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """The values in nested mappings, each with its path: ``{"a": {"b": 1}}`` gives ``("a.b", 1)``."""
    if isinstance(value, dict):
        return [
            row for key, item in value.items() for row in flat(item, f"{name}.{key}" if name else str(key))
        ]
    return [(name, value)]


@contextmanager
def progress(
    total: int | None, what: str = "frames", note: Callable[[], object] = lambda: ""
) -> Iterator[Callable[[], None]]:
    """Show a bar with frames per second and the time left, where standard error is a terminal. What ``note``
    gives is shown behind it.

    Gives a function to call after every frame.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} fps" if task.speed else "- fps")

    class Note(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(printable(str(note())))

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(compact=True), Note())
    with Progress(what, *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
