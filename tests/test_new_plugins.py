"""A source, a motion provider and a sink: each is added by one new file, and nothing else is touched."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_vss.errors import OptionError
from edge_vss.runtimes import motion, sinks, sources
from edge_vss.runtimes.motion import MOTIONS
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sinks import SINKS, SinkContext, check_places, open_sink
from edge_vss.runtimes.sources import SOURCES, open_source
from tests.helpers import toys

SOURCE = '''
"""Grey frames: grey://COUNT."""

import numpy as np

from edge_vss.runtimes.sources import SourceDescription
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.video import Frame, StreamInfo

DESCRIPTION = SourceDescription("grey frames", schemes=frozenset({"gray"}), live_schemes=frozenset({"gray"}))


class Grey:
    errors = 0

    def __init__(self, count, live):
        self.info = StreamInfo(f"grey://{count}", "", (48, 64), 10.0, frames=count, live=live)

    def frames(self):
        for index in range(self.info.frames):
            picture = ArrayPicture(np.full((48, 64, 3), 10 * index, np.uint8))
            yield Frame(index, index / 10, "?", (48, 64), picture, "" if index else "first frame")

    def listen(self, listener):
        pass

    def seek(self, seconds):
        pass

    def close(self):
        pass


def open(target, options):
    return Grey(int(str(target).partition("://")[2] or target), options.live)
'''

MOTION = '''
"""Everything moves one pixel to the right."""

import numpy as np

from edge_vss.runtimes.motion import MotionDescription
from edge_vss.motion_field import MotionField

DESCRIPTION = MotionDescription("one pixel to the right", vectors=False)


def measure(feed):
    for frame in feed.frames:
        if not frame.start:
            displacement = np.zeros((2, 6, 8), np.float32)
            displacement[0] = -1
            known, reference = np.ones((6, 8), bool), np.ones((6, 8), np.int8)
            frame.motion = MotionField(displacement, known, reference, 8, "steady")
        frame.seconds["motion"] = 0.0
        yield frame
'''

SINK = '''
"""How many pixels have the last class, one line a frame."""

from edge_vss.runtimes.sinks import SinkDescription

DESCRIPTION = SinkDescription("pixels of the last class")


class Count:
    def __init__(self, path, last):
        self.file, self.last = path.open("w"), last

    def write(self, frame, prediction):
        self.file.write(f"{int((prediction.labels == self.last).sum())}\\n")

    def close(self):
        self.file.close()


def open(path, context):
    return Count(path, len(context.classes) - 1)
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The three files, each in a folder that its kind looks into."""
    texts = {(sources, "grey"): SOURCE, (motion, "steady"): MOTION, (sinks, "count"): SINK}
    for (package, name), text in texts.items():
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    importlib.invalidate_caches()
    yield
    for package, name in texts:
        sys.modules.pop(f"{package.__name__}.{name}", None)


def test_one_file_each_makes_a_whole_run(added: None, tmp_path: Path) -> None:
    assert "grey" in SOURCES.names() and "steady" in MOTIONS.names() and "count" in SINKS.names()
    segmenter = toys.segmenter()
    with open_source("grey://20", motion="steady") as source:
        assert not source.info.live
        sink = open_sink("count", tmp_path / "out", SinkContext.of(segmenter.manifest, source.info))
        report = run(source, segmenter.session("interval:5"), [sink])
    assert (report.frames, report.keyframes) == (20, 4)
    assert (tmp_path / "out").read_text().split() == ["0"] * 15 + ["3072"] * 5


def test_a_source_s_other_scheme_and_whether_it_is_live(added: None) -> None:
    with open_source("gray://3", motion="steady") as source:
        frames = list(source)
        assert source.info.live
    assert frames[0].motion is None
    assert frames[1].motion is not None and (frames[1].motion.displacement_px[0] == -1).all()
    assert np.array_equal(frames[2].image, np.full((48, 64, 3), 20))


def test_they_are_named_where_a_name_is_wrong(added: None, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="auto, codec, flow, hevc, none, steady"):
        open_source("grey://3", motion="stedy")
    check_places({"count": tmp_path / "out"}, "grey://3")
    with pytest.raises(OptionError, match="count, jsonl, labels, ring, video"):
        SINKS.find("cuont")
