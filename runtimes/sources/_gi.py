"""Finding PyGObject, which the system brings and pip does not."""

from __future__ import annotations

import sys
import warnings
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any

from edge_vss.errors import SourceError

_SYSTEM = ("/usr/lib/python3/dist-packages", f"/usr/lib64/python3.{sys.version_info[1]}/site-packages")
"""Where Debian, Ubuntu (JetPack, too) and Fedora put it: out of sight of a virtual environment."""

INSTALL = "apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good"


def gstreamer() -> tuple[Any, Any, Any]:
    """GStreamer's modules Gst, GstApp and GstVideo, ready to use. Raises SourceError that says what to
    install."""
    try:
        with warnings.catch_warnings():
            # Older ones are imported in a way that newer Pythons warn of.
            warnings.simplefilter("ignore")
            gi = _imported()
            for name in ("Gst", "GstApp", "GstVideo"):
                gi.require_version(name, "1.0")
            from gi.repository import Gst, GstApp, GstVideo
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"gst: needs GStreamer and PyGObject from the system ({error}): install them ({INSTALL}) for the "
            f"system's own Python {sys.version_info[0]}.{sys.version_info[1]}"
        ) from None
    if not Gst.is_initialized():
        Gst.init(None)
    return Gst, GstApp, GstVideo


def _imported() -> Any:
    try:
        import gi

        return gi
    except ImportError:
        # A virtual environment does not see the system's packages. Only this one is taken from there.
        spec = PathFinder.find_spec("gi", list(_SYSTEM))
        if spec is None or spec.loader is None:
            raise
    module = sys.modules["gi"] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        # Of another version of Python, it fails half-way.
        for name in [name for name in sys.modules if name == "gi" or name.startswith("gi.")]:
            del sys.modules[name]
        raise
    return module
