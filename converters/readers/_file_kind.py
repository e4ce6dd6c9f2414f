"""What a model file is, by its content and never by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edge_vss.errors import ModelError


def sniff(path: Path) -> str:
    """What a file is by its content: ``exported program``, ``TorchScript``, ``torch.save``, ``ONNX``,
    ``OpenVINO`` or ``TFLite``.

    Raises ModelError for everything else, saying what it is where that can be told.
    """
    if path.is_dir():
        raise ModelError(f"{path} is a folder: give the model's file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}): check the name and its permissions"
        ) from None
    if not head:
        raise ModelError(f"{path} is empty: copy or download it again")
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(path)
    if (
        head.startswith(b"\x80") and b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." in head[:32]
    ):  # torch's legacy magic number
        return "torch.save"
    if head[:1] == b"\x08" and b"\x00" in head[2:] + b"\x00" and _is_onnx(path):
        return "ONNX"
    if head[4:8] == b"TFL3":
        return "TFLite"
    if head.lstrip().startswith((b"<?xml", b"<net")) and b"<net" in head:
        return "OpenVINO"
    for found, what in _OTHERS.items():
        if found in head[:64].lower():
            raise ModelError(f"{path} is {what}")
    if head[8:9] == b"{":
        raise ModelError(
            f"{path} is a safetensors file: load it into the network and save model.state_dict()"
        )
    if head.startswith(b"\x80"):
        raise ModelError(
            f"{path} is a Python pickle, not of torch.save: save model.state_dict() with torch.save"
        )
    raise ModelError(
        f"{path} is {'text' if _is_text(head) else 'no model that is known here'}: "
        "give an exported program (.pt2), TorchScript, a state dict with --model, ONNX, OpenVINO or TFLite"
    )


_OTHERS = {
    b"<?xml": "XML, but no OpenVINO model: give the .xml that OpenVINO wrote",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run git lfs pull",
    b"<!doctype": "a web page, not a model: download the file itself",
    b"<html": "a web page, not a model: download the file itself",
    b"\x89hdf": "an HDF5 file (Keras?): export the model to ONNX",
    b"\x93numpy": "a numpy array: save model.state_dict() with torch.save",
}


def _sniff_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(f"{path} is a damaged PyTorch file ({error}): copy or download it again") from None
    inside = {name.partition("/")[2] for name in names} | set(names)
    if "models/model.json" in inside or "serialized_exported_program.json" in inside:
        return "exported program"
    if any(name.startswith("data/aotinductor/") for name in inside):
        raise ModelError(
            f"{path} is compiled for one machine (AOTInductor): give the exported program it was made from"
        )
    if any(name.startswith("code/") for name in inside) and "constants.pkl" in inside:
        return "TorchScript"
    if "data.pkl" in inside:
        return "torch.save"
    raise ModelError(f"{path} is a ZIP archive, but not one of PyTorch: unpack it and give the model inside")


def _is_onnx(path: Path) -> bool:
    try:
        import onnx
    except ImportError:
        return True  # it may be one; reading it says what is missing
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # protobuf's own error: then it is something else
        return False
    return model.ir_version > 0 and bool(model.graph.node or model.opset_import)


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and all(byte >= 32 or byte in b"\t\r\n" for byte in head)
