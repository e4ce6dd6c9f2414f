"""A file of a session's state: an uncompressed ``.npz`` of the tensors and of what model they belong to."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vss.bundle.manifest import Manifest
from edge_vss.errors import OptionError, SinkError
from edge_vss.video import Size

ABOUT = "edge_vss_state"
"""The entry of a state file that says what it belongs to."""
VERSION = 1
SPARE_BYTES = 1 << 16
"""For names and headers: a file with more than that beside its tensors is not one of ours."""


def write(path: Path, manifest: Manifest, tensors: Mapping[str, NDArray[Any]], size: Size) -> None:
    """Write the state of frames of ``size``; the file is whole or as it was before. Raises SinkError."""
    about = json.dumps({"version": VERSION, "model": _model(manifest), "size": size})
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            entries: dict[str, Any] = {ABOUT: np.array(about), **tensors}
            np.savez(file, **entries)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise SinkError(
            f"{path} cannot be written ({error.strerror}): check the place and the space left"
        ) from None


def read(path: Path, manifest: Manifest) -> tuple[dict[str, NDArray[Any]], Size]:
    """The tensors of a file that ``write`` wrote, and the size of its frames.

    Raises OptionError for a file that is none, or that belongs to another model, option or size.
    """
    nbytes = sum(state.nbytes for state in manifest.state)
    tensors, about = _read(path, nbytes)
    _same(path, manifest, about.get("model"))
    for state in manifest.state:
        found = tensors.get(state.name)
        if found is None or found.shape != state.shape or found.dtype != state.dtype:
            have = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise OptionError(
                f"{path}: {state.name} is {have}, and this bundle wants {state.dtype} {state.shape}: "
                "start without the file"
            )
    size = about.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(n, int) for n in size):
        raise OptionError(f"{path} does not say the size of its frames: start without it")
    return {state.name: tensors[state.name] for state in manifest.state}, (size[0], size[1])


def check_place(path: Path) -> None:
    """Raise SinkError where no state could be saved: known before hours of video, not after."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise SinkError(f"{path} cannot be written: give a file in a folder that is there and can be written")


def _model(manifest: Manifest) -> dict[str, Any]:
    """What two bundles have to share for a state to fit both."""
    options = {name: value for name, value in manifest.options.items() if name not in ("model", "logits")}
    return {
        "family": manifest.family,
        "weights": manifest.source.get("sha256") or manifest.source.get("name", ""),
        "frame_size": list(manifest.frame_size),
        **{f"--{name}": value for name, value in options.items()},
    }


def _same(path: str | Path, manifest: Manifest, found: object) -> None:
    if not isinstance(found, dict):
        raise OptionError(f"{path} does not say what model it belongs to: start without it")
    for name, ours in _model(manifest).items():
        theirs = found.get(name)
        if theirs == ours:
            continue
        if name == "frame_size" and isinstance(theirs, list):
            ours, theirs = ("x".join(map(str, size)) for size in (ours, theirs))
        what = name.replace("_", " ")
        raise OptionError(
            f"{path} is the state of {what} {theirs}, and this bundle has {ours}: "
            "use the bundle it was saved with, or start without it"
        )


def _read(path: Path, nbytes: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > nbytes + SPARE_BYTES:
            # Looked at first, but not unpacked: it may be of any size.
            with np.load(path, allow_pickle=False) as file:
                about = _about(file)
            return {}, about
        with np.load(path, allow_pickle=False) as file:
            about = _about(file)
            return {name: file[name] for name in file.files if name != ABOUT}, about
    except FileNotFoundError:
        raise OptionError(f"there is no state file {path}: save one first") from None
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error.strerror or error}): check the file") from None
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise OptionError(
            f"{path} is no state file, or a damaged one ({str(error)[:100]}): start without it"
        ) from None


def _about(file: Any) -> dict[str, Any]:
    if ABOUT not in file.files or file.zip.getinfo(f"{ABOUT}.npy").file_size > SPARE_BYTES:
        raise ValueError("nothing says what it belongs to")
    about = json.loads(str(file[ABOUT]))
    if not isinstance(about, dict) or about.get("version") != VERSION:
        raise ValueError("it is of another version")
    return about
