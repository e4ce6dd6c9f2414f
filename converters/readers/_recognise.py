"""Which reader a model is for, by its content and never by its name."""

from __future__ import annotations

from pathlib import Path

from edge_vss.converters.readers import READERS, Head, Read, ReaderDescription
from edge_vss.converters.readers._archive import entries
from edge_vss.errors import ModelError
from edge_vss.plugins import Plugin

HEAD_BYTES = 512
MOST_NAMES = 10_000
ZIP = b"PK\x03\x04"


def reader_of(path: Path) -> Plugin[Read, ReaderDescription]:
    """The reader for a file or folder. Raises ModelError for what no reader knows, saying what it is where
    that can be told."""
    head = head_of(path)
    for plugin in sorted(READERS.all(), key=lambda plugin: not plugin.built_in):
        if plugin.description.recognises(head):
            return plugin
    raise ModelError(f"{path} is {_what(head)}")


def head_of(path: Path) -> Head:
    """What can be seen of a file or folder. Raises ModelError where it cannot be read."""
    try:
        if path.is_dir():
            inside = (entry.name for entry in path.iterdir())
            return Head(
                path,
                names=frozenset(name for name, _ in zip(inside, range(MOST_NAMES), strict=False)),
                is_folder=True,
            )
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is a device or a pipe, no file: give the model's file")
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
            names = frozenset[str]()
            if start.startswith(ZIP):
                found = entries(file, path)
                names = frozenset({name.partition("/")[2] for name in found} | found.keys())
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}): check the name and its permissions"
        ) from None
    if not start:
        raise ModelError(f"{path} is empty: copy or download it again")
    return Head(path, start, names)


TENSORFLOW = "convert it to TFLite (tf.lite.TFLiteConverter) or to ONNX (tf2onnx), and give that"

_OTHERS = {
    b"<?xml": "XML, but no OpenVINO model: give the .xml that OpenVINO wrote",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run git lfs pull",
    b"<!doctype": "a web page, not a model: download the file itself",
    b"<html": "a web page, not a model: download the file itself",
    b"\x89hdf": f"an HDF5 file (Keras?): {TENSORFLOW}",
    b"\x93numpy": "a numpy array: save model.state_dict() with torch.save",
}


def _what(head: Head) -> str:
    start = head.start
    if head.is_folder and {"saved_model.pb", "keras_metadata.pb"} & head.names:
        return f"a SavedModel of TensorFlow: {TENSORFLOW}"
    if head.is_folder:
        return "a folder that no reader knows: give the model's file"
    if start.startswith(ZIP):
        if any("aotinductor/" in name for name in head.names):
            return "compiled for one machine (AOTInductor): give the exported program it was made from"
        if {"config.json", "model.weights.h5"} <= head.names:
            return f"a model of Keras: {TENSORFLOW}"
        return "a ZIP archive, but not one of PyTorch: unpack it and give the model inside"
    for found, what in _OTHERS.items():
        if found in start[:64].lower():
            return what
    if start.startswith(b"\x80"):
        return "a Python pickle, not of torch.save: save model.state_dict() with torch.save"
    known = ", ".join(
        f"{plugin.description.title} ({', '.join(plugin.description.ends)})" for plugin in READERS.all()
    )
    return f"{'text' if _is_text(start) else 'no model that is known here'}: give one of {known}"


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and all(byte >= 32 or byte in b"\t\r\n" for byte in head)
