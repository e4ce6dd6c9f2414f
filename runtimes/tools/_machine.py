"""What the machine is made of: processor, accelerators, cameras. Found in the files that the kernel shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edge_vss.processor import Cpu as Cpu
from edge_vss.processor import cpu as cpu
from edge_vss.processor import text_of
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
    return text_of(root / "proc/device-tree/model").strip("\0 \n")


def accelerators(root: Path) -> tuple[Device, ...]:
    """What the kernel shows besides the CPU, and NVIDIA's versions."""
    found = [
        Device(name, f"/{path.relative_to(root)}")
        for name, pattern in _DEVICES
        for path in sorted(root.glob(pattern))
    ]
    tegra = text_of(root / "etc/nv_tegra_release").strip()
    if tegra:
        found.append(Device(f"Jetson Linux {tegra.splitlines()[0].lstrip('# ')}", "/etc/nv_tegra_release"))
    driver = text_of(root / "proc/driver/nvidia/version")
    if driver:
        found.append(Device(driver.splitlines()[0], "/proc/driver/nvidia/version"))
    return tuple(found)


def cameras(root: Path) -> tuple[Camera, ...]:
    """V4L2 devices, in the order of their numbers."""
    return tuple(
        Camera(
            device=f"/{path.relative_to(root)}",
            name=text_of(root / "sys/class/video4linux" / path.name / "name").strip(),
            readable=os.access(path, os.R_OK | os.W_OK),
        )
        for path in sorted(root.glob("dev/video[0-9]*"), key=natural_order)
    )
