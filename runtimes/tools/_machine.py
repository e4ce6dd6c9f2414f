"""What the machine is made of: processor, accelerators, cameras. Found in the files that the kernel shows."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edge_vss.report import Report
from edge_vss.runtimes.sources import natural_order

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


@dataclass(frozen=True)
class Cpu(Report):
    """The processor."""

    model: str
    machine: str
    cores: int | None
    """Cores that this process may use."""
    features: tuple[str, ...]
    """The instruction sets it has of those that matter for inference."""


@dataclass(frozen=True)
class Device(Report):
    """What computes besides the CPU."""

    name: str
    device: str
    """The file that shows it."""


@dataclass(frozen=True)
class Camera(Report):
    """A V4L2 device."""

    device: str
    name: str
    """As its driver calls it."""
    readable: bool
    """Whether this user may open it."""


def board(root: Path) -> str:
    """The name of a single-board computer; empty for other machines."""
    return _text(root / "proc/device-tree/model").strip("\0 \n")


def cpu(root: Path) -> Cpu:
    """Model, usable cores and instruction sets."""
    fields: dict[str, str] = {}
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    return Cpu(
        model=fields.get("model name") or platform.processor() or platform.machine(),
        machine=platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        features=tuple(name for name in _CPU_FEATURES if name in flags),
    )


def accelerators(root: Path) -> tuple[Device, ...]:
    """What the kernel shows besides the CPU, and NVIDIA's versions."""
    found = [
        Device(name, f"/{path.relative_to(root)}")
        for name, pattern in _DEVICES
        for path in sorted(root.glob(pattern))
    ]
    tegra = _text(root / "etc/nv_tegra_release").strip()
    if tegra:
        found.append(Device(f"Jetson Linux {tegra.splitlines()[0].lstrip('# ')}", "/etc/nv_tegra_release"))
    driver = _text(root / "proc/driver/nvidia/version")
    if driver:
        found.append(Device(driver.splitlines()[0], "/proc/driver/nvidia/version"))
    return tuple(found)


def cameras(root: Path) -> tuple[Camera, ...]:
    """V4L2 devices, in the order of their numbers."""
    return tuple(
        Camera(
            device=f"/{path.relative_to(root)}",
            name=_text(root / "sys/class/video4linux" / path.name / "name").strip(),
            readable=os.access(path, os.R_OK | os.W_OK),
        )
        for path in sorted(root.glob("dev/video[0-9]*"), key=natural_order)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
