"""``edge-vss doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_vss.cli.options import Debug, Json
from edge_vss.cli.terminal import emit, say, table

if TYPE_CHECKING:
    from edge_vss.runtimes.tools._codecs import Codec
    from edge_vss.runtimes.tools.doctor import Engine, MachineReport


def doctor(json: Json = None, debug: Debug = False) -> None:
    """Which engines, codecs, accelerators and cameras are here, and what to install."""
    from edge_vss.runtimes.tools.doctor import report

    found = report()
    emit(found, json)
    table(("edge-vss " + (found.edge_vss or ""), "found"), _rows(found))
    codecs = [
        (name, codec.decoder, codec.encoder, _vectors(codec)) for name, codec in found.video.codecs.items()
    ]
    table(("codec", "decoder", "encoder", "motion vectors"), codecs)
    for line in found.missing or ("nothing is missing",):
        say(line)


def _rows(found: MachineReport) -> list[tuple[str, str]]:
    video, cpu, opencv = found.video, found.cpu, found.opencv
    machine = (found.board, cpu.model, f"{cpu.cores} cores", ", ".join(cpu.features))
    rows = [
        ("machine", " · ".join(filter(None, machine))),
        ("system", f"{found.platform} · Python {found.python}"),
        ("video", f"PyAV {video.pyav} · FFmpeg {video.ffmpeg}" if video.pyav else "PyAV does not load"),
        ("OpenCV", f"{opencv.version} ({opencv.package})" if opencv.version else "not installed"),
    ]
    rows += [(f"engine {name}", _engine(engine)) for name, engine in found.engines.items()]
    chosen = [
        f"{target} from {', '.join(names)}" for target, names in found.auto.engines.items() if len(names) > 1
    ]
    if chosen:
        kept = "nothing is remembered"
        if found.auto.folder:
            kept = f"{found.auto.remembered} choices remembered in {found.auto.folder}"
        rows.append(("engine auto", " · ".join((*chosen, kept))))
    rows += [("accelerator", f"{device.name} ({device.device})") for device in found.accelerators]
    rows += [("camera", f"{camera.device} {camera.name}") for camera in found.cameras]
    versions = (f"{name} {number or 'missing'}" for name, number in found.convert.items())
    return [*rows, ("convert", " · ".join(versions))]


def _vectors(codec: Codec) -> str:
    if not codec.vectors:
        return f"no: flow instead ({codec.lacking})" if codec.lacking else "no: flow instead"
    return "yes, by a parser" if codec.provider == "hevc" else "yes"


def _engine(engine: Engine) -> str:
    if not engine.installed:
        return f"not installed: {engine.install}"
    named = " ".join(filter(None, (engine.package, engine.version))) or "installed"
    note = "for reference only" if engine.reference else ""
    return " · ".join(filter(None, (named, f"runs {', '.join(engine.targets)}", *engine.providers, note)))
