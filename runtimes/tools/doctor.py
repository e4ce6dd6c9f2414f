"""What this machine has and lacks: video decoders, engines, accelerators, cameras, what conversion needs.

Versions come from the packages' metadata. An engine's library is imported only to ask it for accelerators,
and one that does not load is reported and does no other harm.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edge_vss.errors import one_line
from edge_vss.extras import extras
from edge_vss.report import Report
from edge_vss.runtimes.engines import ENGINES, EngineDescription, cache_folder, usual_engine
from edge_vss.runtimes.engines._auto import candidates
from edge_vss.runtimes.engines._remembered import FOLDER, count
from edge_vss.runtimes.tools._codecs import Video, video
from edge_vss.runtimes.tools._machine import Camera, Cpu, Device, accelerators, board, cameras, cpu
from edge_vss.text import whole

CONVERT = "convert"
"""The extra that every conversion needs; others whose names begin with it add a target or a family."""

_OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True)
class OpenCv(Report):
    """OpenCV's package."""

    package: str | None
    """``system`` for a build that no package brought, such as JetPack's."""
    version: str | None
    windows: bool
    """Whether it can open windows."""
    problem: str = ""


@dataclass(frozen=True)
class Engine(Report):
    """An inference engine."""

    package: str | None
    """The distribution that brings it here."""
    version: str | None
    installed: bool
    targets: tuple[str, ...]
    """The artifact formats that it runs."""
    providers: tuple[str, ...]
    """What it can compute on besides the CPU: values of ``--provider``."""
    install: str
    """The line that installs it; empty where it is installed."""
    problem: str
    """Why it cannot run here, in one line; empty where it can."""
    reference: bool
    """True for an engine that is right and slow."""


@dataclass(frozen=True)
class Auto(Report):
    """What ``--engine auto`` has to choose from, and what it has measured."""

    engines: dict[str, tuple[str, ...]]
    """Target → the engines here that run it, the usual one first."""
    remembered: int
    """Bundles, as they run with one set of options, for which the choice is kept."""
    folder: str | None
    """Where it is kept; None where nothing can be."""


@dataclass(frozen=True)
class MachineReport(Report):
    """Everything found on a machine."""

    edge_vss: str | None
    python: str
    platform: str
    board: str
    cpu: Cpu
    video: Video
    opencv: OpenCv
    engines: dict[str, Engine]
    auto: Auto
    accelerators: tuple[Device, ...]
    cameras: tuple[Camera, ...]
    convert: dict[str, str | None]
    """Version of every package that conversion takes; None for one that is not installed."""
    missing: tuple[str, ...]
    """What to install or repair, one line each, most important first."""


def report(root: Path = Path("/")) -> MachineReport:
    """Look at everything. ``root`` is where /dev, /proc, /sys and /etc are looked up."""
    codecs, windows, seen = video(), opencv(), cameras(root)
    engines = {plugin.name: engine(plugin.description) for plugin in ENGINES.all()}
    convert = {
        package: _version(package)
        for extra, packages in extras().items()
        if extra.partition("-")[0] == CONVERT
        for package in packages
    }
    return MachineReport(
        edge_vss=_version("edge-vss"),
        python=platform.python_version(),
        platform=platform.platform(),
        board=board(root),
        cpu=cpu(root),
        video=codecs,
        opencv=windows,
        engines=engines,
        auto=auto(),
        accelerators=accelerators(root),
        cameras=seen,
        convert=convert,
        missing=missing(codecs, windows, engines, seen, convert),
    )


def auto() -> Auto:
    """What ``--engine auto`` would choose from."""
    targets = dict.fromkeys(target for plugin in ENGINES.all() for target in plugin.description.targets)
    found = {target: tuple(plugin.name for plugin in candidates(target)) for target in targets}
    folder = cache_folder(FOLDER)
    return Auto(found, count(), None if folder is None else whole(str(folder)))


def opencv() -> OpenCv:
    """OpenCV's package and version. JetPack's own build has no package, so the module itself counts too."""
    for package in _OPENCV:
        if found := _version(package):
            return OpenCv(package, found, windows="headless" not in package)
    if find_spec("cv2") is None:
        return OpenCv(None, None, windows=False)
    try:
        import cv2
    except Exception as broken:  # a build for other libraries fails in its own ways
        return OpenCv("system", None, windows=False, problem=one_line(broken, named=True))
    return OpenCv("system", str(cv2.__version__), windows=hasattr(cv2, "imshow"))


def engine(description: EngineDescription) -> Engine:
    """What is here of an engine."""
    package = next((name for name in description.packages if _version(name)), None)
    number = None if package is None else _version(package)
    providers: tuple[str, ...] = ()
    problem = ""
    if description.installed:
        try:
            problem = description.problem()
            providers = () if problem else tuple(description.accelerators())
        except Exception as broken:  # a vendor's library, which may fail in any way
            named = " ".join(filter(None, (package or description.modules[0], number)))
            problem = f"{named} does not load: {one_line(broken, named=True)}"
    return Engine(
        package=package,
        version=number,
        installed=description.installed,
        targets=description.targets,
        providers=providers,
        install="" if description.installed else description.install,
        problem=problem,
        reference=description.reference,
    )


def missing(
    video: Video,
    opencv: OpenCv,
    engines: dict[str, Engine],
    cameras: tuple[Camera, ...],
    convert: dict[str, str | None],
) -> tuple[str, ...]:
    """What to do about what is not there, one line each, most important first."""
    lines = []
    if video.problem:
        lines.append(f"video: PyAV does not load ({video.problem}): pip install --force-reinstall av")
    for name, codec in video.codecs.items():
        if codec.decoder and codec.vectors != codec.expected:
            gives = "gives" if codec.vectors else "gives no"
            lines.append(
                f"video: this FFmpeg's {name} decoder {gives} motion vectors, unlike the releases known"
            )
        if codec.lacking:
            lines.append(f"video: {codec.lacking}")
    if not opencv.version:
        lines.append('opencv: not installed, needed by flow and drawing: pip install "edge-vss[onnxruntime]"')
    if not any(engine.installed for engine in engines.values() if not engine.reference):
        usual = usual_engine("onnx").description
        lines.append(f"engine: none installed, no bundle can run: {usual.install}")
    lines += [engine.problem for engine in engines.values() if engine.problem]
    lacking = [name for name in extras().get(CONVERT, ()) if not convert.get(name)]
    if lacking:
        names = ", ".join(lacking)
        lines.append(f'convert: {names} not installed (workstation only): pip install "edge-vss[{CONVERT}]"')
    lines += [
        f"camera: {camera.device} cannot be opened by this user: sudo usermod -aG video $USER, log in anew"
        for camera in cameras
        if not camera.readable
    ]
    return tuple(lines)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
