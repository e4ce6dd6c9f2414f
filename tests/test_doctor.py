import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import pytest

from edge_vss.errors import MissingExtra
from edge_vss.extras import extras
from edge_vss.runtimes.engines import EngineDescription, tflite
from edge_vss.runtimes.motion._hevc import parser
from edge_vss.runtimes.tools import doctor
from edge_vss.runtimes.tools._codecs import Codec, Video
from edge_vss.runtimes.tools._machine import Camera
from edge_vss.runtimes.tools.doctor import Engine, MachineReport, OpenCv


@pytest.fixture(scope="module")
def found() -> MachineReport:
    return doctor.report()


def test_the_report_is_json_and_names_the_versions_that_are_here(found: MachineReport) -> None:
    written = found.to_json()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert found.video.pyav == av.__version__
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert (found.cpu.cores or 0) >= 1


def test_which_decoders_give_vectors_is_measured_with_real_streams(found: MachineReport) -> None:
    codecs = found.video.codecs
    if not codecs["h264"].encoder:
        pytest.skip("this FFmpeg has no H.264 encoder")
    assert codecs["h264"].measured and codecs["h264"].vectors
    assert codecs["mpeg4"].measured and codecs["mpeg4"].vectors
    assert codecs["vp9"].vectors is False and codecs["vp9"].provider == ""
    assert codecs["h264"].provider == "codec"


def test_the_vectors_of_hevc_are_there_with_its_extra(found: MachineReport) -> None:
    pytest.importorskip("wasmtime", reason="the extra hevc is not installed")
    hevc = found.video.codecs["hevc"]
    assert hevc.vectors and hevc.expected and hevc.provider == "hevc" and hevc.lacking == ""
    assert not [line for line in found.missing if "hevc" in line.lower()]


def test_without_its_extra_the_vectors_of_hevc_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    parser._module.cache_clear()
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    found = doctor.report()
    hevc = found.video.codecs["hevc"]
    assert not hevc.vectors and hevc.provider == ""
    (line,) = [line for line in found.missing if "HEVC" in line]
    assert line.endswith('pip install "edge-vss[hevc]"')


def test_a_runtime_that_does_not_load_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wasmtime.py").write_text("raise RuntimeError('unsupported architecture: armv7l')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wasmtime", raising=False)
    parser._module.cache_clear()
    with pytest.raises(
        MissingExtra, match=r"does not load \(RuntimeError: unsupported architecture: armv7l\)"
    ):
        parser.check()


def test_no_framework_is_imported_and_engines_only_to_ask_for_accelerators() -> None:
    script = (
        "import sys; from edge_vss.runtimes.tools import doctor; doctor.report()\n"
        "print([name for name in ('torch', 'onnx', 'cv2', 'typer') if name in sys.modules])"
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
            "dev/video2-front": "",
            "sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
        },
    )
    found = doctor.report(root)
    assert found.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found.cpu.model == "ARMv8"
    assert found.cpu.features == ("asimd", "asimdhp", "asimddp")
    names = [device.name for device in found.accelerators]
    assert names[0] == "NVIDIA Jetson GPU"
    assert any("exposes no vectors" in name for name in names)
    assert any(name.startswith("Jetson Linux R36") for name in names)
    assert [camera.device for camera in found.cameras] == [
        *("/dev/video0", "/dev/video2-front", "/dev/video10"),
    ]
    assert found.cameras[0].name == "vi-output, imx219 9-0010"


def test_a_bare_machine_gives_empty_lists(tmp_path: Path) -> None:
    found = doctor.report(tmp_path)
    assert found.accelerators == () and found.cameras == () and found.board == ""


CONVERT: dict[str, str | None] = dict.fromkeys(extras().get("convert", ()), "1")
HEALTHY: dict[str, Any] = {
    "video": Video("18", "8", {}, ""),
    "opencv": OpenCv("opencv-python-headless", "4.9", windows=False),
    "engines": {"onnxruntime": Engine("onnxruntime", "1.0", True, ("onnx",), (), "", "", False)},
    "cameras": (),
    "convert": CONVERT,
}
NONE = Engine(None, None, False, ("onnx",), (), "pip install x", "", False)
REFERENCE = Engine("onnx", "1.0", True, ("onnx",), (), "", "", True)


def test_nothing_is_missing_on_a_healthy_machine() -> None:
    assert doctor.missing(**HEALTHY) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"opencv": OpenCv(None, None, windows=False)}, 'pip install "edge-vss[onnxruntime]"'),
        ({"engines": {"onnxruntime": NONE, "numpy": REFERENCE}}, "no bundle can run: pip install"),
        ({"engines": {}}, 'pip install "edge-vss[onnxruntime]"'),
        (
            {"convert": CONVERT | {"torch": None}},
            "torch not installed (workstation only)",
        ),
        (
            {"cameras": (Camera("/dev/video3", "", readable=False),)},
            "/dev/video3 cannot be opened by this user",
        ),
        ({"video": Video(None, None, {}, "libx.so: missing")}, "PyAV does not load (libx.so: missing)"),
        (
            {"video": Video("18", "8", {"h264": Codec("h264", None, False, True, True)}, "")},
            "h264 decoder gives no motion vectors",
        ),
        (
            {"video": Video("18", "8", {"hevc": Codec("hevc", None, True, False, True)}, "")},
            "hevc decoder gives motion vectors",
        ),
    ],
)
def test_each_lack_gives_one_line_with_the_way_out(change: dict[str, Any], expected: str) -> None:
    lines = doctor.missing(**(HEALTHY | change))
    assert len(lines) == 1 and expected in lines[0] and "\n" not in lines[0]


def test_tflite_runtime_with_numpy_2_is_named_as_the_trap_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"tflite-runtime": "2.14.0"}.get)
    here = {"tflite_runtime": object()}
    monkeypatch.setattr("edge_vss.runtimes.engines.find_spec", here.get)
    monkeypatch.setattr("edge_vss.runtimes.engines.tflite.find_spec", here.get)
    monkeypatch.setattr("numpy.__version__", "2.1.0")
    found = doctor.engine(tflite.DESCRIPTION)
    assert found.version == "2.14.0" and found.installed
    assert "does not work with NumPy 2.1.0" in found.problem and "ai-edge-litert" in found.problem
    monkeypatch.setattr("numpy.__version__", "1.26.4")
    assert doctor.engine(tflite.DESCRIPTION).problem == ""


def test_an_engine_that_does_not_load_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ImportError("libcudart.so.12: cannot open\nshared object")

    monkeypatch.setattr(doctor, "_version", {"steam-gpu": "1.23.0"}.get)
    packages = ("steam", "steam-gpu")
    description = EngineDescription(("onnx",), ("json",), packages, "", accelerators=broken)
    found = doctor.engine(description)
    assert found.package == "steam-gpu" and found.providers == ()
    assert found.problem == (
        "steam-gpu 1.23.0 does not load: ImportError: libcudart.so.12: cannot open shared object"
    )
    lines = doctor.missing(**(HEALTHY | {"engines": {"steam": found}}))
    assert lines == (found.problem,)
