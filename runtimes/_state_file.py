"""A file of a session's state: a small header, then the tensors as they are in memory.

| bytes | what |
|---|---|
| 16 | ``edge-vss state 2`` |
| 4 | N, the length of the header, an unsigned little-endian integer of at most 65536 |
| 32 | the SHA-256 of the header |
| N | the header: a JSON object in UTF-8 |
| rest | the tensors, one after the other without holes, little-endian, rows first |

The header has ``model`` (what two bundles have to share for a state to fit both), ``size`` ([height, width]
of the video's frames), ``tensors`` (a list of ``name``, ``dtype`` and ``shape``, in the order of their bytes)
and ``sha256`` (of all bytes after the header). So a file that was cut short or changed is known as such, and
how much memory it takes is known from the bundle before anything is read. Version 1, an ``.npz``, is refused.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle.json_fields import Reader
from edge_vss.bundle.manifest import Manifest, TensorSpec
from edge_vss.claim import Claim
from edge_vss.errors import BundleError, OptionError, SinkError, StateFileError
from edge_vss.files import open_plain
from edge_vss.runtimes._state_match import check_model, check_tensors, model_of
from edge_vss.runtimes.sinks import writing
from edge_vss.video import Size

MAGIC = b"edge-vss state 2"
MAX_HEADER_BYTES = 1 << 16
_SHA256_BYTES = 32
_PREAMBLE_BYTES = len(MAGIC) + 4 + _SHA256_BYTES


@dataclass(frozen=True)
class Snapshot:
    """A state at one moment, apart from the session that goes on with it."""

    manifest: Manifest
    tensors: Mapping[str, NDArray[Any]]
    size: Size
    """Height and width of the video's frames."""


@dataclass(frozen=True)
class _Header:
    model: Mapping[str, object]
    size: Size
    tensors: tuple[TensorSpec, ...]
    sha256: str


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Nobody else saves to ``path`` meanwhile. Raises SinkError where somebody does, or where the folder
    cannot be written."""
    claim = claim_place(path)
    try:
        yield
    finally:
        claim.release()


def claim_place(path: Path) -> Claim:
    """The claim that saving to ``path`` needs. Raises SinkError like `claimed`."""
    real = _real(path)
    if real.is_dir():
        raise SinkError(f"cannot write {path} (it is a folder): give the name of a file")
    with writing(path):
        try:
            return Claim(_beside(real, "lock"))
        except BlockingIOError:
            raise SinkError(
                f"{path} is in use (another process or session saves its state there): give this one a file "
                "of its own"
            ) from None


def write(path: Path, snapshot: Snapshot, keep_as: Path | None = None) -> None:
    """Write a state, inside of `claimed`; the file is whole or as it was before, also after a power cut.

    What was there stays as ``keep_as``, where that is asked for. A process killed in here leaves a hidden
    file, which the next ``write`` takes away. Raises SinkError.
    """
    real = _real(path)
    beside = _beside(real, "saving")
    arrays = [_stored(snapshot.tensors[spec.name]) for spec in snapshot.manifest.state]
    header = _packed(snapshot, arrays)
    with writing(path):
        try:
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + len(header).to_bytes(4, "little") + hashlib.sha256(header).digest())
                file.write(header)
                for array in arrays:
                    file.write(array.data)
                file.flush()
                os.fsync(descriptor)
            if keep_as is not None:
                _keep(real, keep_as)
            beside.replace(real)
            _sync_folder(real.parent)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def read(path: Path, manifest: Manifest) -> tuple[dict[str, NDArray[Any]], Size]:
    """The tensors of a file that ``write`` wrote, and the size of its frames.

    Takes no more memory than the state of ``manifest`` and a header, whatever the file says. Raises
    StateFileError for a file that is none or is damaged, OptionError for one that is not there, cannot be
    read, or belongs to another model, option or size.
    """
    try:
        with open_plain(path) as file:
            header = _header(path, file)
            check_model(path, manifest, header.model)
            check_tensors(path, manifest, header.tensors)
            nbytes = sum(state.nbytes for state in manifest.state)
            size = os.fstat(file.fileno()).st_size
            if size != file.tell() + nbytes:
                _refuse(path, f"it has {size} bytes where {file.tell() + nbytes} belong")
            return _tensors(path, file, header), header.size
    except FileNotFoundError:
        raise OptionError(f"there is no state file {path}: save one first") from None
    except OSError as error:
        if error.errno == errno.EIO:
            _refuse(path, "the disk does not give it back")
        raise OptionError(
            f"{path} cannot be read ({error.strerror or error}): give the file that was saved"
        ) from None


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise StateFileError(path, reason) from None


def _real(path: Path) -> Path:
    # A rename would put a file in the place of a link.
    return Path(os.path.realpath(path))


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}")


def _keep(path: Path, other: Path) -> None:
    """Let what is at ``path`` be found at ``other`` too; ``path`` itself is there at every moment."""
    other.unlink(missing_ok=True)
    if not path.exists():
        return
    try:
        os.link(path, other)
    except OSError:  # the file system has no hard links (FAT)
        shutil.copyfile(path, other)


def _sync_folder(folder: Path) -> None:
    # The new name reaches the disk with the folder. Windows opens no folders, some file systems sync none.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        with _closing(descriptor):
            os.fsync(descriptor)


def _stored(array: NDArray[Any]) -> NDArray[np.uint8]:
    """An array's bytes as the file has them."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8)


def _packed(snapshot: Snapshot, arrays: list[NDArray[np.uint8]]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    header = {
        "model": model_of(snapshot.manifest),
        "size": list(snapshot.size),
        "tensors": [
            {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
            for spec in snapshot.manifest.state
        ],
        "sha256": digest.hexdigest(),
    }
    packed = json.dumps(header, allow_nan=False).encode()
    if len(packed) > MAX_HEADER_BYTES:
        raise OptionError(
            f"this bundle's options and state names take {len(packed)} bytes, and a state file has room for "
            f"{MAX_HEADER_BYTES}: convert the model with fewer"
        )
    return packed


def _header(path: Path, file: BufferedReader) -> _Header:
    preamble = file.read(_PREAMBLE_BYTES)
    if preamble[: len(MAGIC)] != MAGIC:
        known = preamble.startswith((MAGIC[:-1], b"PK"))
        _refuse(path, "it is of another version" if known else "it does not begin like one")
    length = int.from_bytes(preamble[len(MAGIC) : len(MAGIC) + 4], "little")
    if len(preamble) < _PREAMBLE_BYTES or length > MAX_HEADER_BYTES:
        _refuse(path, "its header is damaged")
    text = file.read(length)
    if hashlib.sha256(text).digest() != preamble[-_SHA256_BYTES:]:
        _refuse(path, "its header is damaged")
    try:
        fields = Reader(json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant), "")
        tensors = tuple(
            TensorSpec(entry.get("name", str), entry.shape(), entry.dtype())
            for entry in fields.readers("tensors")
        )
        return _Header(fields.get("model", dict), fields.size("size"), tensors, fields.get("sha256", str))
    except (ValueError, RecursionError, BundleError):
        _refuse(path, "its header is damaged")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _tensors(path: Path, file: BufferedReader, header: _Header) -> dict[str, NDArray[Any]]:
    """The tensors, of which the caller has checked that they are what the bundle has, and all there."""
    tensors: dict[str, NDArray[Any]] = {}
    digest = hashlib.sha256()
    for spec in header.tensors:
        stored = np.empty(spec.shape, np.dtype(spec.dtype).newbyteorder("<"))
        content = stored.reshape(-1).view(np.uint8).data
        rest = content
        while rest:
            # The file may be cut while it is read.
            count = file.readinto(rest)
            if not count:
                _refuse(path, "it ends too early")
            rest = rest[count:]
        digest.update(content)
        tensors[spec.name] = stored.astype(spec.dtype, copy=False)
    if digest.hexdigest() != header.sha256:
        _refuse(path, "its content is damaged")
    for name, array in tensors.items():
        if array.dtype.kind == "f" and array.size and np.isnan(array.min()):
            _refuse(path, f"{name} holds NaN")
        if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
            _refuse(path, f"{name} holds what is neither true nor false")
    return tensors
