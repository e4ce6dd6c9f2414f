"""Models, weights and files that cannot be read are refused in one line."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.errors import ModelError, OptionError
from tests.helpers.conversion import (
    CLASSES,
    SIZE,
    Net,
    Remembers,
    factory_file,
    save_exported,
    save_onnx,
    save_script,
    save_state_dict,
    trained,
)
from tests.helpers.networks import load

# --- models that a graph cannot stand for


def test_a_mutated_buffer_is_refused_in_every_form(tmp_path: Path) -> None:
    torch.save(trained(Remembers()), tmp_path / "module.pt")
    for path in (
        save_exported(tmp_path, trained(Remembers())),
        save_script(tmp_path, trained(Remembers())),
        tmp_path / "module.pt",
    ):
        with pytest.raises(ModelError, match=r"changes its buffers as it runs \(memory\)"):
            load(path, trust_pickle=True)


def test_batch_norm_exported_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"norm\.running_mean.*model\.eval\(\)"):
        load(save_exported(tmp_path, trained().train()))


class Hidden(Net):
    """Keeps what it saw in a plain attribute, where no list of buffers shows it."""

    last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = super().forward(x)
        result = scores if self.last is None else scores + self.last
        self.last = scores
        return result


@pytest.mark.parametrize("module", [Hidden(), nn.Sequential(Net(), nn.Dropout())])
def test_random_and_secretly_stateful_models_are_refused(tmp_path: Path, module: nn.Module) -> None:
    if isinstance(module, nn.Sequential):
        trained(module)
        module[1].train()
        path = save_exported(tmp_path, module)
    else:
        path = tmp_path / "module.pt"
        torch.save(trained(module), path)
    with pytest.raises(ModelError, match="another 0 for the same picture"):
        load(path, trust_pickle=True)


def test_nan_is_refused(tmp_path: Path) -> None:
    network = trained()
    network.state_dict()["second.bias"][1] = float("nan")
    with pytest.raises(ModelError, match="gives NaN in its output 0"):
        load(save_exported(tmp_path, network))


# --- sizes


def test_a_size_that_does_not_fit(tmp_path: Path) -> None:
    for path in (save_exported(tmp_path), save_onnx(tmp_path)):
        with pytest.raises(ModelError, match="exported for 48x64 and does not take 90x120: use --size 48x64"):
            load(path, size=(90, 120))

    class Fixed(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).reshape(1, 3, 12, 16)

    with pytest.raises(ModelError, match="does not run on a picture of 90x120") as caught:
        load(save_script(tmp_path, trained(Fixed()), trace=True), size=(90, 120))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_are_refused(tmp_path: Path, channels: int) -> None:
    network = nn.Conv2d(channels, CLASSES, 1)
    picture = torch.rand(1, channels, *SIZE)
    torch.export.save(torch.export.export(network, (picture,)), tmp_path / "m.pt2")
    with pytest.raises(ModelError, match=r"export it with a picture \(1, 3, H, W\)"):
        load(tmp_path / "m.pt2")


# --- weights and factories that do not fit


@pytest.mark.parametrize(
    ("content", "factory", "message"),
    [
        ({}, ":build", "a dict without weights"),
        ([torch.zeros(3)], ":build", "holds a list"),
        (
            {"second.bias": torch.zeros(3)},
            ":build",
            r"7 missing \(first\.weight, first\.bias, norm\.weight, \.\.\.\)",
        ),
        ({"extra": torch.zeros(3)}, ":build", r"1 unexpected \(extra\)"),
        ({"second.bias": torch.zeros(19)}, ":build", r"second\.bias \(19,\), .* wants \(3,\)"),
        (None, "", "write it as file.py:function"),
        (None, ":gone", "has no function 'gone'"),
        (None, ":nonsense", "gives a int"),
        (None, ":broken", "ValueError: no such backbone"),
        (None, "/none.py:build", "cannot be imported"),
        (None, "no.such.package:build", "cannot be imported"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, content: Any, factory: str, message: str) -> None:
    base = factory_file(tmp_path).removesuffix(":build")
    path = save_state_dict(tmp_path, **({} if content is None else {"content": content}))
    given = base + factory if factory.startswith(":") else factory or base
    with pytest.raises((ModelError, OptionError), match=message) as caught:
        load(path, factory=given)
    assert "\n" not in str(caught.value)


def test_a_state_dict_needs_a_factory_and_others_refuse_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds 9 weights and no network: .*--model file\.py:function"):
        load(save_state_dict(tmp_path))
    with pytest.raises(OptionError, match="is a whole model"):
        load(save_exported(tmp_path), factory=factory_file(tmp_path))


def test_a_factory_without_arguments(tmp_path: Path) -> None:
    factory = factory_file(tmp_path).replace(":build", ":fixed")
    assert load(save_state_dict(tmp_path), factory=factory).output.shape == (1, 3, 12, 16)


# --- files that are no model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello there\n", "is text"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x1c\0\0\0TFL3" + bytes(99), "a damaged TFLite file"),
        (b"<?xml version='1.0'?><net>", "cannot be read as an OpenVINO model"),
        (b"<?xml version='1.0'?><svg>", "XML, but no OpenVINO model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        ((8).to_bytes(8, "little") + b'{"a": 1}', "safetensors"),
        (b"\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94.", "a Python pickle"),
        (b"\x08\x07" + bytes(range(200)), "no model that is known"),
        (b"PK\x03\x04 broken", "a damaged PyTorch file"),
        (bytes(range(256)), "no model that is known"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_folders_missing_files_and_other_archives(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ModelError, match="No such file"):
        load(tmp_path / "none.pt")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ModelError, match="ZIP archive, but not one of PyTorch"):
        load(tmp_path / "arrays.npz")


@pytest.mark.parametrize("kind", ["state dict", "exported program", "TorchScript", "ONNX", "legacy"])
def test_truncated_files_are_one_line(tmp_path: Path, kind: str) -> None:
    if kind == "legacy":
        path = tmp_path / "old.pth"
        torch.save(trained().state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        save: dict[str, Any] = {
            "state dict": save_state_dict,
            "exported program": save_exported,
            "TorchScript": save_script,
        }
        path = save.get(kind, save_onnx)(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ModelError) as caught:
        load(path, factory=factory_file(tmp_path) if kind in ("state dict", "legacy") else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [save_state_dict, save_exported, save_script])
def test_damaged_archives_are_one_line(tmp_path: Path, save: Any) -> None:
    path = save(tmp_path)
    damaged = tmp_path / "damaged.pt"
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(damaged, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, good.read(name)[:3])
    with pytest.raises(ModelError) as caught:
        load(damaged, factory=factory_file(tmp_path) if save is save_state_dict else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["nn.LazyConv2d(5, 3)", "nn.Conv2d(3, 5, 3, device='meta')"])
def test_networks_without_weights_are_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(f"from torch import nn\ndef build():\n    return {kind}\n")
    torch.save({"weight": torch.rand(5, 3, 3, 3), "bias": torch.rand(5)}, tmp_path / "w.pth")
    conversion = Conversion(tmp_path / "w.pth", factory=f"{tmp_path / 'net.py'}:build", size=SIZE, classes=3)
    with pytest.raises(OptionError, match="weights have no shape or no memory yet"):
        convert(conversion, tmp_path / "a.vss")


def test_what_tensorflow_saves_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    for given, name in (("saved", "SavedModel of TensorFlow"), ("m.keras", "model of Keras")):
        with pytest.raises(ModelError, match=f"a {name}: convert it to TFLite"):
            convert(Conversion(tmp_path / given, classes=3, size=SIZE), tmp_path / "a.vss")
