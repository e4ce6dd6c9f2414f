"""C code compiled to WebAssembly, as wasmtime runs it: whatever goes wrong inside ends in an exception here,
never in a corrupted process."""

from __future__ import annotations

import atexit
import math
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_vss.errors import MissingExtra, one_line

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Module:
    """A compiled file. Any number of machines may run it."""

    engine: Any
    code: Any
    counts_steps: bool


def compiled(path: Path, purpose: str, *, counts_steps: bool) -> Module:
    """Compile a ``.wasm`` file. ``purpose`` says what for, such as "reading the motion of HEVC". With
    ``counts_steps`` its machines stop after as many steps as `Machine.allow` gives them.

    Raises MissingExtra without wasmtime, or where it does not load.
    """
    try:
        import wasmtime
    except ModuleNotFoundError:
        raise MissingExtra("wasmtime", "hevc", purpose) from None
    except Exception as broken:  # on a machine that it was not built for it fails in ways of its own
        raise MissingExtra("wasmtime", "hevc", purpose, one_line(broken, named=True)) from None
    settings = wasmtime.Config()
    settings.consume_fuel = counts_steps
    engine = wasmtime.Engine(settings)
    code = wasmtime.Module.from_file(engine, str(path))
    atexit.register(engine.close)
    atexit.register(code.close)
    return Module(engine, code, counts_steps)


class Machine:
    """An instance of a module: a memory of its own, and functions. Not for several threads at once."""

    def __init__(self, module: Module, steps: int = 0) -> None:
        """``steps``: as `allow`, for a module that counts them."""
        import wasmtime

        self.errors = (wasmtime.Trap, wasmtime.WasmtimeError)
        self._store = wasmtime.Store(module.engine)
        # Also at the end of the process, while wasmtime can still do it.
        weakref.finalize(self, self._store.close)
        if module.counts_steps:
            self.allow(steps)
        exports = wasmtime.Instance(self._store, module.code, []).exports(self._store)
        self._exports = {name: exports[name] for name in exports}
        self._memory = self._exports["memory"]

    @property
    def heap_base(self) -> int:
        """Where the memory is free."""
        return int(self._exports["__heap_base"].value(self._store))

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return int(self._memory.data_len(self._store))

    def allow(self, steps: int) -> None:
        """So many steps from here on."""
        self._store.set_fuel(steps)

    def call(self, name: str, *values: int) -> int:
        """One of the functions; pointers are numbers."""
        result = self._exports[name](self._store, *values)
        return 0 if result is None else int(result)

    def write(self, data: bytes, at: int) -> None:
        """Copy into the machine."""
        self._memory.write(self._store, data, at)

    def read(self, at: int, size: int) -> bytearray:
        """Copy out of the machine."""
        copy: bytearray = self._memory.read(self._store, at, at + size)
        return copy

    def array(self, at: int, shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
        """A part of the memory as an array, as long as this lives. Only where the memory never grows."""
        memory = np.frombuffer(self._memory.get_buffer_ptr(self._store), np.uint8)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return memory[at : at + size].view(dtype).reshape(shape)
