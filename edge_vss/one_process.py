"""What cannot be sent to another process says so, and what to do instead."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from edge_vss.errors import OptionError


class OneProcess:
    """The base of objects that hold what belongs to one process: a compiled graph, an open file.

    Pickle refuses them, which is what multiprocessing sends things with.
    """

    __slots__ = ()

    INSTEAD: ClassVar[str]
    """What to do in place of sending one."""

    def __reduce__(self) -> NoReturn:
        raise OptionError(
            f"a {type(self).__name__} belongs to one process and cannot be pickled: {self.INSTEAD}"
        )
