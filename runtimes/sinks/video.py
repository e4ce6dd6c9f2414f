"""The source's pictures with the labels laid over them, as a video file."""

from __future__ import annotations

from pathlib import Path

from edge_vss.decisions import Prediction
from edge_vss.runtimes.drawing.overlays import AMBER, WHITE, badge, blend, paint_heads, table_of
from edge_vss.runtimes.drawing.sound import Sound
from edge_vss.runtimes.drawing.video_file import VideoFile
from edge_vss.runtimes.sinks import SinkContext, SinkDescription
from edge_vss.video import Frame

DESCRIPTION = SinkDescription("the pictures with the labels laid over them", suffix=".mp4", behind=True)


def open(path: str | Path, context: SinkContext) -> OverlayVideo:
    """Opens a video file. Raises OptionError for an unknown type, SinkError where it cannot be written."""
    return OverlayVideo(path, context)


class OverlayVideo:
    """Overlay frames with the source's own times, shape and colours, and its sound where that is asked for.

    The file plays even after a kill (VideoFile says how).
    """

    def __init__(self, path: str | Path, context: SinkContext) -> None:
        self._file = VideoFile(
            path,
            context.size,
            context.fps,
            pixel_aspect=context.pixel_aspect,
            colour=context.colour,
            sound=Sound(context.sound) if context.sound else None,
        )
        self._colours = table_of(context.palette)
        self._others = context.heads[1:]

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Draws and encodes one frame."""
        image = blend(frame.image, prediction.labels, self._colours)
        image = paint_heads(image, self._others, prediction.heads)
        if prediction.decision.route == "nonkey":
            badge(image, f"+{prediction.frames_since_key}", WHITE)
        else:
            badge(image, f"KEY {prediction.decision.reason}", AMBER)
        self._file.write(image, prediction.pts_seconds)

    def close(self) -> None:
        """Makes the file whole."""
        self._file.close()
