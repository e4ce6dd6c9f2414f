"""Every error that edge-vss raises on purpose.

EdgeVssError
├── BundleError      a bundle is missing, altered, newer than this version, or breaks its contract
├── ModelError       a trained model cannot be read, traced or split
├── SourceError      a video, stream, camera or folder cannot be opened or decoded
├── SinkError        a result cannot be written
├── EngineError      an inference engine refuses a graph, or a graph gives NaN
├── OptionError      an option has a value that makes no sense
│   └── StateFileError   a state file is damaged, or is none
└── MissingExtra     an optional dependency is not installed

A message is one line: what went wrong, the value, and what to do. As text it holds nothing that acts on a
terminal, whoever made up the names in it (`edge_vss.text.printable`).
"""

from edge_vss.text import printable


class EdgeVssError(Exception):
    """The root: catch this to catch all of them. The command line prints it after ``error:`` and exits 1."""

    def __str__(self) -> str:
        return printable(super().__str__())


class BundleError(EdgeVssError):
    """A bundle is missing, altered, newer than this version, or breaks its contract."""


class ModelError(EdgeVssError):
    """A trained model cannot be read, traced or split."""


class SourceError(EdgeVssError):
    """A video, stream, camera or folder cannot be opened or decoded."""


class SinkError(EdgeVssError):
    """A result cannot be written."""


class EngineError(EdgeVssError):
    """An inference engine refuses a graph, or a graph gives NaN."""


class OptionError(EdgeVssError):
    """An option has a value that makes no sense."""


class StateFileError(OptionError):
    """A file that a session's state should come from is damaged, or is no state file."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path} is no state file, or a damaged one ({reason}): start without it")
        self.reason = reason
        """What is wrong with it, in a few words."""


class MissingExtra(EdgeVssError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str, problem: str = "") -> None:
        """``problem``: why a package that is installed does not load."""
        lacks = (
            f"which does not load ({problem}): reinstall it with" if problem else "which is not installed:"
        )
        super().__init__(f'{purpose} needs {package}, {lacks} pip install "edge-vss[{extra}]"')
        self.package = package
        self.extra = extra


def one_line(error: BaseException, named: bool = False) -> str:
    """What a library says of an error, short enough for one line of at most 300 characters.

    ``named`` puts the error's type in front: for errors of the user's own code. Characters that would move a
    terminal's cursor or change its colours are shown escaped.
    """
    text = printable(" ".join(str(error).split()))
    kind = type(error).__name__
    text = f"{kind}: {text}" if named and text else text or kind
    return text if len(text) <= 300 else f"{text[:140]} ... {text[-150:]}"
