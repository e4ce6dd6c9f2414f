"""Other packages' sinks work wherever the built-in ones do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_vss import plugins
from edge_vss.decisions import Prediction
from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sinks import SinkContext, SinkDescription, check_places
from edge_vss.runtimes.tools.benchmark import profile
from edge_vss.video import Frame
from tests.test_sinks import result


class Theirs:
    """Another package's sink, which counts what comes, and has no more than it must."""

    def __init__(self, place: str | Path) -> None:
        self.place, self.frames = place, 0

    def write(self, frame: Frame, prediction: Prediction) -> None:
        self.frames += 1

    def close(self) -> None:
        Path(self.place).write_text(str(self.frames))


class Telling(Theirs):
    def remark(self) -> str:
        return "and that is all"


def third_party(
    monkeypatch: pytest.MonkeyPatch,
    description: SinkDescription,
    opens: Callable[[str | Path, SinkContext], Theirs] = lambda place, _: Theirs(place),
) -> None:
    class Point:
        name = "theirs"

        @staticmethod
        def load() -> object:
            return SimpleNamespace(open=opens, DESCRIPTION=description)

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point] if group == "edge_vss.sink" else [])


def test_another_packages_sink_has_its_place_checked_like_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(monkeypatch, SinkDescription("counts", suffix=".count"))
    video = tmp_path / "drive.mp4"
    video.write_bytes(b"precious")
    with pytest.raises(SinkError, match="is what the frames are read from"):
        check_places({"theirs": video}, video)
    with pytest.raises(SinkError, match="No such file"):
        check_places({"theirs": tmp_path / "no" / "such"}, video)
    with pytest.raises(SinkError, match="Is a directory"):
        check_places({"theirs": tmp_path}, video)
    third_party(monkeypatch, SinkDescription("counts", place="folder"))
    check_places({"theirs": tmp_path}, "other.mp4")
    third_party(monkeypatch, SinkDescription("counts", place="address"))
    check_places({"theirs": "mqtt://broker/topic"}, video)


def test_another_packages_sink_is_profiled_like_ours(
    tiny_bundle: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Theirs] = []

    def opens(place: str | Path, context: SinkContext) -> Theirs:
        opened.append(Theirs(place))
        return opened[-1]

    third_party(monkeypatch, SinkDescription("counts", suffix=".count"), opens)
    profile(load(tiny_bundle), tiny_video, sink="theirs", limit=8)
    assert [Path(sink.place).name for sink in opened] == ["a.count", "b.count"]
    assert [sink.frames for sink in opened] == [8, 8]
    third_party(monkeypatch, SinkDescription("counts to a broker", place="address"), opens)
    with pytest.raises(OptionError, match="counts to a broker goes to no file: choose another sink here"):
        profile(load(tiny_bundle), tiny_video, sink="theirs")


def test_what_a_run_says_of_another_packages_sink(tmp_path: Path) -> None:
    from edge_vss.cli._written import Counted, written

    counted = Counted(Telling(tmp_path / "o"))
    description = SinkDescription("counts", unit="pulses", behind=True)
    assert written(description, "o", counted, False) == "no pulses were written to o"
    counted.write(*result(0))
    assert written(description, "o", counted, False) == "1 pulses in o; and that is all"
    assert written(description, "o", counted, True) == "at most 1 pulses in o; and that is all"
    counted.sink = Theirs(tmp_path / "o")
    assert written(description, "o", counted, False) == "1 pulses in o"
