"""Video semantic segmentation on edge devices, led by the motion vectors the video decoder already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_vss.errors import (
    BundleError,
    EdgeVssError,
    EngineError,
    MissingExtra,
    ModelError,
    OptionError,
    SinkError,
    SourceError,
    StateFileError,
)

if TYPE_CHECKING:
    from edge_vss.runtimes.policy import Adaptive, Gop, Interval
    from edge_vss.runtimes.segmenter import Segmenter, load
    from edge_vss.runtimes.session import Session
    from edge_vss.runtimes.sources import Source, open_source
    from edge_vss.video import Decision, Frame, MotionField, Prediction, Track

__version__ = "0.1.0"

__all__ = [
    "Adaptive",
    "BundleError",
    "Decision",
    "EdgeVssError",
    "EngineError",
    "Frame",
    "Gop",
    "Interval",
    "MissingExtra",
    "ModelError",
    "MotionField",
    "OptionError",
    "Prediction",
    "Segmenter",
    "Session",
    "SinkError",
    "Source",
    "SourceError",
    "StateFileError",
    "Track",
    "load",
    "open_source",
]

_HOMES = {
    "Adaptive": "runtimes.policy",
    "Decision": "video",
    "Frame": "video",
    "Gop": "runtimes.policy",
    "Interval": "runtimes.policy",
    "MotionField": "video",
    "Prediction": "video",
    "Segmenter": "runtimes.segmenter",
    "Session": "runtimes.session",
    "Source": "runtimes.sources",
    "Track": "video",
    "load": "runtimes.segmenter",
    "open_source": "runtimes.sources",
}


def __getattr__(name: str) -> Any:
    # The runtime opens PyAV and OpenCV: half a second that `import edge_vss` should not cost a program that
    # reads a bundle. Without numpy, the program can take care of Ctrl-C from the start.
    if name in _HOMES:
        from edge_vss.plugins import import_module

        return getattr(import_module(f"edge_vss.{_HOMES[name]}", f"edge_vss.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
