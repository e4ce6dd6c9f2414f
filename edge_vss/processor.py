"""The processor, as the kernel describes it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edge_vss.report import Report

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


def cpu(root: Path) -> Cpu:
    """Model, usable cores and instruction sets."""
    fields: dict[str, str] = {}
    for line in text_of(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    return Cpu(
        model=fields.get("model name") or platform.processor() or platform.machine(),
        machine=platform.machine(),
        cores=usable_cores(),
        features=tuple(name for name in _CPU_FEATURES if name in flags),
    )


def usable_cores() -> int | None:
    """How many cores this process may use; None where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def text_of(path: Path) -> str:
    """What a file holds; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
