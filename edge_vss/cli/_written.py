"""What the sinks of a run have written, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_vss.decisions import Cause

if TYPE_CHECKING:
    from edge_vss.decisions import Prediction
    from edge_vss.runtimes.sinks import Sink, SinkDescription
    from edge_vss.video import Frame


def written(description: SinkDescription, place: str, out: Counted, failed: bool) -> str:
    """What is in a sink's place now."""
    from edge_vss.runtimes.sinks import Remarks

    if not out.frames:
        return f"no {description.unit} were written to {place}"
    # Where a disk is full, the last frames that the encoder took are not in the file.
    most = "at most " if failed and description.behind else ""
    remark = out.sink.remark() if isinstance(out.sink, Remarks) else ""
    return f"{most}{out.frames} {description.unit} in {place}{'; ' if remark else ''}{remark}"


class Counted:
    """A sink that counts what it has taken."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.frames = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.sink.write(frame, prediction)
        self.frames += 1

    def close(self) -> None:
        self.sink.close()


class Tally:
    """A sink that counts what the sinks before it have written."""

    frames = 0
    forced = 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.frames += 1
        self.forced += prediction.decision.cause is Cause.NO_I_FRAME

    def close(self) -> None:
        pass
