import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import pytest

from edge_vss.runtimes.tools import doctor


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return doctor.report()


def test_the_report_is_json_and_names_the_versions_that_are_here(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["video"]["pyav"] == av.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["cpu"]["cores"] >= 1


def test_which_decoders_give_vectors_is_measured_with_real_streams(found: dict[str, Any]) -> None:
    codecs = found["video"]["codecs"]
    if not codecs["h264"]["encoder"]:
        pytest.skip("this FFmpeg has no H.264 encoder")
    assert codecs["h264"]["measured"] and codecs["h264"]["vectors"]
    assert codecs["mpeg4"]["measured"] and codecs["mpeg4"]["vectors"]
    assert codecs["vp9"]["vectors"] is False
    assert codecs["hevc"]["vectors"] is False


def test_no_framework_is_imported() -> None:
    script = (
        "import sys; from edge_vss.runtimes.tools import doctor; doctor.report()\n"
        "print([name for name in ('torch', 'onnx', 'openvino', 'cv2', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def board(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_jetson_is_recognised_by_its_files(tmp_path: Path) -> None:
    root = board(
        tmp_path,
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8\nFeatures\t: fp asimd asimdhp asimddp aes\n",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\n",
            "dev/nvhost-gpu": "",
            "dev/nvhost-nvdec": "",
            "dev/video0": "",
            "dev/video10": "",
            "sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
        },
    )
    found = doctor.report(root)
    assert found["board"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found["cpu"]["model"] == "ARMv8"
    assert found["cpu"]["features"] == ["asimd", "asimdhp", "asimddp"]
    names = [device["name"] for device in found["accelerators"]]
    assert names[0] == "NVIDIA Jetson GPU"
    assert any("exposes no vectors" in name for name in names)
    assert any(name.startswith("Jetson Linux R36") for name in names)
    assert [camera["device"] for camera in found["cameras"]] == ["/dev/video0", "/dev/video10"]
    assert found["cameras"][0]["name"] == "vi-output, imx219 9-0010"


def test_a_bare_machine_gives_empty_lists(tmp_path: Path) -> None:
    found = doctor.report(tmp_path)
    assert found["accelerators"] == [] and found["cameras"] == [] and found["board"] == ""


def healthy() -> dict[str, Any]:
    ready = {"version": "1.0", "problem": "", "install": "pip install x", "package": "x", "providers": []}
    return {
        "video": {"problem": "", "codecs": {}},
        "opencv": {"version": "4.9"},
        "engines": {"onnxruntime": dict(ready)},
        "convert": {"torch": "2.13", "onnx": "1.23", "onnxscript": "0.7"},
        "cameras": [],
    }


def test_nothing_is_missing_on_a_healthy_machine() -> None:
    assert doctor.missing(healthy()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"opencv": {"version": None}}, 'pip install "edge-vss[onnxruntime]"'),
        (
            {"engines": {"onnxruntime": {"version": None, "problem": "", "install": "pip install x"}}},
            "no bundle can run",
        ),
        (
            {"convert": {"torch": None, "onnx": "1", "onnxscript": "1"}},
            "torch not installed (workstation only)",
        ),
        (
            {"cameras": [{"device": "/dev/video3", "readable": False}]},
            "/dev/video3 cannot be opened by this user",
        ),
        ({"video": {"problem": "libx.so: missing", "codecs": {}}}, "PyAV does not load (libx.so: missing)"),
        (
            {"video": {"problem": "", "codecs": {"h264": {"decoder": "h264", "vectors": False}}}},
            "h264 decoder gives no motion vectors",
        ),
    ],
)
def test_each_lack_gives_one_line_with_the_way_out(change: dict[str, Any], expected: str) -> None:
    lines = doctor.missing(healthy() | change)
    assert len(lines) == 1 and expected in lines[0] and "\n" not in lines[0]


def test_tflite_runtime_with_numpy_2_is_named_as_the_trap_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"tflite-runtime": "2.14.0"}.get)
    monkeypatch.setattr("numpy.__version__", "2.1.0")
    found = doctor.engine("tflite")
    assert found["version"] == "2.14.0"
    assert "cannot run with NumPy 2.1.0" in found["problem"] and "ai-edge-litert" in found["problem"]
    monkeypatch.setattr("numpy.__version__", "1.26.4")
    assert doctor.engine("tflite")["problem"] == ""


def test_an_engine_that_does_not_load_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"onnxruntime-gpu": "1.23.0"}.get)

    def broken(name: str) -> Any:
        raise ImportError("libcudart.so.12: cannot open\nshared object")

    monkeypatch.setattr("importlib.import_module", broken)
    problem = doctor.engine("onnxruntime")["problem"]
    assert problem == (
        "onnxruntime-gpu 1.23.0 does not load: ImportError: libcudart.so.12: cannot open shared object"
    )
