from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError

import pytest

from edge_vss import extras as module
from edge_vss.extras import extra_with, extras

LINES = [
    "numpy>=1.26",
    "av>=17",
    'onnxruntime>=1.20; extra == "onnxruntime"',
    "numpy<2; extra == 'old'",
    'edge-vss[onnxruntime]; extra == "convert"',
    'torch<2.14,>=2.6; extra == "convert"',
    'litert-torch[all]>=0.10; python_version >= "3.10" and extra == "convert-tflite"',
]


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    extras.cache_clear()
    yield
    extras.cache_clear()


def test_what_each_extra_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "requires", lambda name: LINES)
    assert extras() == {
        "onnxruntime": ("onnxruntime",),
        "convert": ("torch",),
        "convert-tflite": ("litert-torch",),
    }
    assert extra_with("litert_torch.interpreter") == ("litert-torch", "convert-tflite")
    assert extra_with("numpy") is None and extra_with("steam") is None and extra_with("") is None


def test_a_folder_that_was_never_installed_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "requires", absent)
    assert extras() == {} and extra_with("torch") is None


def test_the_package_s_own_metadata_says_what_conversion_takes() -> None:
    assert extra_with("torch") == ("torch", "convert")
    assert {"torch", "onnx", "onnxscript"} <= set(extras()["convert"])
