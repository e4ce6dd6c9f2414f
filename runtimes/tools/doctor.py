"""What this machine has and lacks: video decoders, engines, accelerators, cameras, the converter's half.

Versions come from the packages' metadata, so that nothing heavy is imported and a broken package cannot break
the report. Devices are found by the files the kernel shows for them.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Mapping
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

NEEDED = ("torch", "onnx", "onnxscript")
CONVERTERS = (*NEEDED, "nncf", "litert-torch", "transformers")
"""What converts: to ONNX, to int8 for OpenVINO, to TFLite, and TV3S."""

EXPORTS_VECTORS = {
    "h264": True,
    "mpeg4": True,
    "mpeg2video": True,
    "mpeg1video": True,
    "h263": True,
    "hevc": False,
    "vp8": False,
    "vp9": False,
    "av1": False,
}
"""Whether FFmpeg's software decoder hands out motion vectors (FFmpeg 5 to 9); measured anew by ``video``."""

ENGINES = {
    "onnxruntime": (
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        'pip install "edge-vss[onnxruntime]"',
    ),
    "openvino": (("openvino",), 'pip install "edge-vss[openvino]"'),
    "tflite": (("ai-edge-litert", "tflite-runtime"), 'pip install "edge-vss[tflite]"'),
}
"""Engine → the packages that bring it, and how to install the usual one."""

_DEVICES = (
    ("NVIDIA GPU", "dev/nvidia[0-9]*"),
    ("NVIDIA GPU (WSL)", "dev/dxg"),
    ("NVIDIA Jetson GPU", "dev/nvhost-gpu"),
    ("NVIDIA Jetson GPU", "dev/nvhost-as-gpu"),
    ("NVIDIA Jetson video decoder (exposes no vectors before Thor)", "dev/nvhost-nvdec"),
    ("NVIDIA Jetson video decoder (exposes no vectors before Thor)", "dev/v4l2-nvdec"),
    ("NVIDIA deep-learning accelerator", "dev/nvhost-nvdla[0-9]*"),
    ("GPU render node", "dev/dri/renderD[0-9]*"),
    ("NPU (Linux accel class)", "dev/accel/accel[0-9]*"),
    ("Google Coral", "dev/apex_[0-9]*"),
    ("Hailo", "dev/hailo[0-9]*"),
    ("Rockchip NPU", "dev/rknpu*"),
    ("Qualcomm Hexagon", "dev/fastrpc-cdsp*"),
)
_CPU_FEATURES = (
    *("sse4_1", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "neon"),
)


def report(root: Path = Path("/")) -> dict[str, Any]:
    """Everything found, as plain values for JSON; ``missing`` lists one line per thing to install or repair.

    ``root`` is where /dev, /proc, /sys and /etc are looked up.
    """
    found: dict[str, Any] = {
        "edge_vss": _version("edge-vss"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "board": _text(root / "proc/device-tree/model").strip("\0 \n"),
        "cpu": cpu(root),
        "video": video(),
        "opencv": opencv(),
        "engines": {name: engine(name) for name in ENGINES},
        "accelerators": accelerators(root),
        "cameras": cameras(root),
        "convert": {name: _version(name) for name in CONVERTERS},
    }
    found["missing"] = missing(found)
    return found


def cpu(root: Path = Path("/")) -> dict[str, Any]:
    """Model, usable cores, and the instruction sets that matter for inference."""
    info = _text(root / "proc/cpuinfo")
    fields: dict[str, str] = {}
    for line in info.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "model": fields.get("model name") or platform.processor() or platform.machine(),
        "machine": platform.machine(),
        "cores": cores,
        "features": [name for name in _CPU_FEATURES if name in flags],
    }


def video() -> dict[str, Any]:
    """PyAV, FFmpeg, and per codec: its decoder, whether that hands out vectors, and the encoder."""
    try:
        import av
    except ImportError as broken:
        return {"pyav": None, "ffmpeg": None, "codecs": {}, "problem": str(broken)}
    codecs = {}
    for name, exports in EXPORTS_VECTORS.items():
        encoder = _codec(name, "w")
        # AV1's encoder writes pages of its own to stderr, for a decoder that never had vectors.
        measured = _measure_vectors(name) if encoder and _codec(name, "r") and name != "av1" else None
        codecs[name] = {
            "decoder": _codec(name, "r"),
            "encoder": encoder,
            "vectors": exports if measured is None else measured,
            "measured": measured is not None,
        }
    return {"pyav": av.__version__, "ffmpeg": av.ffmpeg_version_info, "codecs": codecs, "problem": ""}


def opencv() -> dict[str, Any]:
    """OpenCV's package and version. JetPack's own build has no package, so the module itself counts too."""
    for package in (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ):
        if found := _version(package):
            return {"package": package, "version": found, "windows": "headless" not in package}
    if find_spec("cv2") is None:
        return {"package": None, "version": None, "windows": False}
    try:
        cv2 = importlib.import_module("cv2")
        return {"package": "system", "version": str(cv2.__version__), "windows": hasattr(cv2, "imshow")}
    except Exception as broken:
        return {"package": "system", "version": None, "windows": False, "problem": _line(broken)}


def engine(name: str) -> dict[str, Any]:
    """An engine's installed package, version and execution providers, or the line that installs it."""
    packages, install = ENGINES[name]
    found: dict[str, Any] = {
        "package": None,
        "version": None,
        "providers": [],
        "install": install,
        "problem": "",
    }
    for package in packages:
        if number := _version(package):
            found |= {"package": package, "version": number, "install": ""}
            break
    if name == "onnxruntime" and found["package"]:
        try:
            found["providers"] = list(importlib.import_module("onnxruntime").get_available_providers())
        except Exception as broken:
            found["problem"] = f"{found['package']} {found['version']} does not load: {_line(broken)}"
    if name == "tflite" and (old := _version("tflite-runtime")) and int(np.__version__.split(".")[0]) >= 2:
        found["problem"] = (
            f"tflite-runtime {old} ended in 2023 and cannot run with NumPy {np.__version__}: "
            "pip uninstall tflite-runtime; pip install ai-edge-litert"
        )
    return found


def accelerators(root: Path = Path("/")) -> list[dict[str, str]]:
    """What the kernel shows besides the CPU, with the file that shows it."""
    found = [
        {"name": name, "device": f"/{path.relative_to(root)}"}
        for name, pattern in _DEVICES
        for path in sorted(root.glob(pattern))
    ]
    tegra = _text(root / "etc/nv_tegra_release").strip()
    if tegra:
        found.append(
            {"name": f"Jetson Linux {tegra.splitlines()[0].lstrip('# ')}", "device": "/etc/nv_tegra_release"}
        )
    driver = _text(root / "proc/driver/nvidia/version")
    if driver:
        found.append({"name": driver.splitlines()[0], "device": "/proc/driver/nvidia/version"})
    return found


def cameras(root: Path = Path("/")) -> list[dict[str, Any]]:
    """V4L2 devices with the names their drivers give them."""
    return [
        {
            "device": f"/{path.relative_to(root)}",
            "name": _text(root / "sys/class/video4linux" / path.name / "name").strip(),
            "readable": os.access(path, os.R_OK | os.W_OK),
        }
        for path in sorted(root.glob("dev/video[0-9]*"), key=lambda path: int(path.name[5:]))
    ]


def missing(found: Mapping[str, Any]) -> list[str]:
    """What to do about it, one line each, most important first."""
    lines = []
    if found["video"]["problem"]:
        lines.append(
            f"video: PyAV does not load ({found['video']['problem']}): pip install --force-reinstall av"
        )
    for name, codec in found["video"]["codecs"].items():
        if codec["decoder"] and codec["vectors"] != EXPORTS_VECTORS[name]:
            given = "gives" if codec["vectors"] else "gives no"
            lines.append(
                f"video: this FFmpeg's {name} decoder {given} motion vectors, unlike the releases known"
            )
    if not found["opencv"]["version"]:
        lines.append('opencv: not installed, needed by flow and drawing: pip install "edge-vss[onnxruntime]"')
    if not any(engine["version"] for engine in found["engines"].values()):
        lines.append(
            "engine: none installed, no bundle can run: " + found["engines"]["onnxruntime"]["install"]
        )
    lines += [engine["problem"] for engine in found["engines"].values() if engine["problem"]]
    lacking = [name for name in NEEDED if not found["convert"][name]]
    if lacking:
        names = ", ".join(lacking)
        lines.append(f'convert: {names} not installed (workstation only): pip install "edge-vss[convert]"')
    lines += [
        f"camera: {camera['device']} cannot be opened by this user: sudo usermod -aG video $USER, log in anew"
        for camera in found["cameras"]
        if not camera["readable"]
    ]
    return lines


def _measure_vectors(codec: str) -> bool | None:
    """Whether the decoder gives vectors for a moving texture that this machine's encoder made.

    None where that could not be found out.
    """
    import av
    from av.codec.context import Flags2

    texture = np.random.default_rng(0).integers(0, 256, (18, 30), np.uint8).repeat(8, 0).repeat(8, 1)
    try:
        encoder: Any = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.pix_fmt = 176, 144, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        encoder.options = {"preset": "ultrafast", "x265-params": "log-level=none", "deadline": "realtime"}
        packets = []
        for index in range(4):
            picture = np.ascontiguousarray(texture[:, index * 4 : index * 4 + 176])
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts = index
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        decoder: Any = av.CodecContext.create(codec, "r")
        decoder.flags2 |= Flags2.export_mvs
        if encoder.extradata:
            decoder.extradata = encoder.extradata
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    except (av.FFmpegError, ValueError, OSError):
        return None
    return any(frame.side_data.get("MOTION_VECTORS") is not None for frame in frames) if frames else None


def _codec(name: str, mode: str) -> str | None:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        return str(Codec(name, "w" if mode == "w" else "r").name)
    except UnknownCodecError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
