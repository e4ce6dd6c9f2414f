"""Video semantic segmentation on edge devices, led by the motion vectors the video decoder already has.

An app needs the names that are listed here, and nothing else:

    import edge_vss as vss

    session = vss.load("street.vss").session()
    with vss.open_source("drive.mp4") as source:
        for frame in source:
            labels = session.step(frame).labels
"""

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
    from edge_vss.bundle import HeadSpec, Manifest
    from edge_vss.bundle import read as read_manifest
    from edge_vss.classes import ClassSet
    from edge_vss.classes import find as find_classes
    from edge_vss.confidence import Confidence
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert
    from edge_vss.decisions import (
        Cause,
        Decision,
        Measured,
        Policy,
        PolicyDescription,
        Prediction,
        Staleness,
        Track,
    )
    from edge_vss.metrics import ScoreReport, Scores
    from edge_vss.motion_field import MotionField, MotionVectors
    from edge_vss.runtimes._stream import StreamReport
    from edge_vss.runtimes.archive.driver import label
    from edge_vss.runtimes.archive.report import LabelReport
    from edge_vss.runtimes.drawing.overlays import overlay
    from edge_vss.runtimes.fleet import Fleet
    from edge_vss.runtimes.labelling import both_ways
    from edge_vss.runtimes.motion import Feed
    from edge_vss.runtimes.opening import Opening
    from edge_vss.runtimes.pipeline import RunReport, run
    from edge_vss.runtimes.policy import Adaptive, Continuous, Gop, Interval
    from edge_vss.runtimes.segmenter import Segmenter, load
    from edge_vss.runtimes.session import Session
    from edge_vss.runtimes.sinks import Sink, SinkContext, open_sink
    from edge_vss.runtimes.sources import Source, open_source
    from edge_vss.runtimes.state import State
    from edge_vss.runtimes.timeliness import Timeliness
    from edge_vss.runtimes.tools.benchmark import ProfileReport, SpeedReport, profile
    from edge_vss.runtimes.tools.evaluate import EvaluationReport, evaluate
    from edge_vss.runtimes.tools.ground_truth import GroundTruth, open_labels
    from edge_vss.runtimes.tools.vector_file import VectorFile, load_vectors
    from edge_vss.runtimes.tools.vectors import (
        ComposedMotion,
        FrameVectors,
        VectorStream,
        compose_motion,
        save_vectors,
        vectors,
    )
    from edge_vss.video import Colour, Frame, FrameStamp, Packet, Picture, StartReason, StreamInfo

__version__ = "0.1.0"

__all__ = [
    "Adaptive",
    "BundleError",
    "Cause",
    "ClassSet",
    "Colour",
    "ComposedMotion",
    "Confidence",
    "Continuous",
    "Conversion",
    "Decision",
    "EdgeVssError",
    "EngineError",
    "EvaluationReport",
    "Feed",
    "Fleet",
    "Frame",
    "FrameStamp",
    "FrameVectors",
    "Gop",
    "GroundTruth",
    "HeadSpec",
    "Interval",
    "LabelReport",
    "Manifest",
    "Measured",
    "MissingExtra",
    "ModelError",
    "MotionField",
    "MotionVectors",
    "Opening",
    "OptionError",
    "Packet",
    "Picture",
    "Policy",
    "PolicyDescription",
    "Prediction",
    "ProfileReport",
    "RunReport",
    "ScoreReport",
    "Scores",
    "Segmenter",
    "Session",
    "Sink",
    "SinkContext",
    "SinkError",
    "Source",
    "SourceError",
    "SpeedReport",
    "Staleness",
    "StartReason",
    "State",
    "StateFileError",
    "StreamInfo",
    "StreamReport",
    "Timeliness",
    "Track",
    "VectorFile",
    "VectorStream",
    "__version__",
    "both_ways",
    "compose_motion",
    "convert",
    "evaluate",
    "find_classes",
    "label",
    "load",
    "load_vectors",
    "open_labels",
    "open_sink",
    "open_source",
    "overlay",
    "profile",
    "read_manifest",
    "run",
    "save_vectors",
    "vectors",
]

# Where each name is found when it is asked for. A test holds this and the imports above together.
_HOMES = {
    "Adaptive": ("runtimes.policy", "Adaptive"),
    "Cause": ("decisions", "Cause"),
    "ClassSet": ("classes", "ClassSet"),
    "Colour": ("video", "Colour"),
    "ComposedMotion": ("runtimes.tools.vectors", "ComposedMotion"),
    "Confidence": ("confidence", "Confidence"),
    "Continuous": ("runtimes.policy", "Continuous"),
    "Conversion": ("converters.conversion", "Conversion"),
    "Decision": ("decisions", "Decision"),
    "EvaluationReport": ("runtimes.tools.evaluate", "EvaluationReport"),
    "Fleet": ("runtimes.fleet", "Fleet"),
    "StreamReport": ("runtimes._stream", "StreamReport"),
    "Timeliness": ("runtimes.timeliness", "Timeliness"),
    "Feed": ("runtimes.motion", "Feed"),
    "Frame": ("video", "Frame"),
    "FrameStamp": ("video", "FrameStamp"),
    "FrameVectors": ("runtimes.tools.vectors", "FrameVectors"),
    "Gop": ("runtimes.policy", "Gop"),
    "GroundTruth": ("runtimes.tools.ground_truth", "GroundTruth"),
    "HeadSpec": ("bundle", "HeadSpec"),
    "Interval": ("runtimes.policy", "Interval"),
    "LabelReport": ("runtimes.archive.report", "LabelReport"),
    "Manifest": ("bundle", "Manifest"),
    "Measured": ("decisions", "Measured"),
    "MotionField": ("motion_field", "MotionField"),
    "MotionVectors": ("motion_field", "MotionVectors"),
    "Opening": ("runtimes.opening", "Opening"),
    "Packet": ("video", "Packet"),
    "Picture": ("video", "Picture"),
    "Policy": ("decisions", "Policy"),
    "PolicyDescription": ("decisions", "PolicyDescription"),
    "Prediction": ("decisions", "Prediction"),
    "ProfileReport": ("runtimes.tools.benchmark", "ProfileReport"),
    "RunReport": ("runtimes.pipeline", "RunReport"),
    "ScoreReport": ("metrics", "ScoreReport"),
    "Scores": ("metrics", "Scores"),
    "Segmenter": ("runtimes.segmenter", "Segmenter"),
    "Session": ("runtimes.session", "Session"),
    "Sink": ("runtimes.sinks", "Sink"),
    "SinkContext": ("runtimes.sinks", "SinkContext"),
    "Source": ("runtimes.sources", "Source"),
    "SpeedReport": ("runtimes.tools.benchmark", "SpeedReport"),
    "Staleness": ("decisions", "Staleness"),
    "StartReason": ("video", "StartReason"),
    "State": ("runtimes.state", "State"),
    "StreamInfo": ("video", "StreamInfo"),
    "Track": ("decisions", "Track"),
    "VectorFile": ("runtimes.tools.vector_file", "VectorFile"),
    "VectorStream": ("runtimes.tools.vectors", "VectorStream"),
    "both_ways": ("runtimes.labelling", "both_ways"),
    "compose_motion": ("runtimes.tools.vectors", "compose_motion"),
    "convert": ("converters.convert", "convert"),
    "evaluate": ("runtimes.tools.evaluate", "evaluate"),
    "find_classes": ("classes", "find"),
    "label": ("runtimes.archive.driver", "label"),
    "load": ("runtimes.segmenter", "load"),
    "load_vectors": ("runtimes.tools.vector_file", "load_vectors"),
    "open_labels": ("runtimes.tools.ground_truth", "open_labels"),
    "open_sink": ("runtimes.sinks", "open_sink"),
    "open_source": ("runtimes.sources", "open_source"),
    "overlay": ("runtimes.drawing.overlays", "overlay"),
    "profile": ("runtimes.tools.benchmark", "profile"),
    "read_manifest": ("bundle", "read"),
    "run": ("runtimes.pipeline", "run"),
    "save_vectors": ("runtimes.tools.vectors", "save_vectors"),
    "vectors": ("runtimes.tools.vectors", "vectors"),
}


# A type checker that saw this would take every name for one that exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # The runtime opens PyAV and OpenCV: half a second that `import edge_vss` should not cost a program
        # that reads a bundle. Without numpy, the program can take care of Ctrl-C from the start.
        if name in _HOMES:
            from edge_vss.plugins import import_module

            module, attribute = _HOMES[name]
            return getattr(import_module(f"edge_vss.{module}", f"edge_vss.{name}"), attribute)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
