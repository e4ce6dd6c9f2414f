"""What cannot be used in another process says so, and what to do instead."""

from __future__ import annotations

import os
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

    def _check_process(self, process: int) -> None:
        """Raises OptionError in any process but this one, which loaded the graphs."""
        # An engine's threads do not come along into a process that was forked: it would wait for ever.
        if os.getpid() != process:
            raise OptionError(
                f"this {type(self).__name__} belongs to process {process}, and was forked: {self.INSTEAD}"
            )
