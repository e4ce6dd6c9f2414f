"""``edge-vss doctor``."""

from __future__ import annotations

from edge_vss.cli.options import Debug, Json
from edge_vss.cli.terminal import emit, say, table


def doctor(json: Json = None, debug: Debug = False) -> None:
    """Which engines, codecs, accelerators and cameras are here, and what to install."""
    _doctor(json)


def _doctor(json: str | None) -> None:
    from edge_vss.runtimes.tools.doctor import report

    found = report()
    emit(found, json)
    video, cpu, opencv = found["video"], found["cpu"], found["opencv"]
    features = ", ".join(cpu["features"])
    rows = [
        (
            "machine",
            " · ".join(filter(None, (found["board"], cpu["model"], f"{cpu['cores']} cores", features))),
        ),
        ("system", f"{found['platform']} · Python {found['python']}"),
        (
            "video",
            f"PyAV {video['pyav']} · FFmpeg {video['ffmpeg']}" if video["pyav"] else "PyAV does not load",
        ),
        ("OpenCV", f"{opencv['version']} ({opencv['package']})" if opencv["version"] else "not installed"),
    ]
    for name, engine in found["engines"].items():
        installed = " · ".join((f"{engine['package']} {engine['version']}", *engine["providers"]))
        rows.append(
            (f"engine {name}", installed if engine["version"] else f"not installed: {engine['install']}")
        )
    rows += [("accelerator", f"{device['name']} ({device['device']})") for device in found["accelerators"]]
    rows += [("camera", f"{camera['device']} {camera['name']}") for camera in found["cameras"]]
    rows.append(
        ("convert", " · ".join(f"{name} {number or 'missing'}" for name, number in found["convert"].items()))
    )
    table(("edge-vss " + (found["edge_vss"] or ""), "found"), rows)
    codecs = [
        (name, c["decoder"], c["encoder"], "yes" if c["vectors"] else "no: flow instead")
        for name, c in video["codecs"].items()
    ]
    table(("codec", "decoder", "encoder", "motion vectors"), codecs)
    for line in found["missing"]:
        say(line)
    if not found["missing"]:
        say("nothing is missing")
