"""What the library tells the logger ``edge_vss``, and that it tells nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_vss.cli import app
from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import open_source
from tests.helpers.cli import CliRunner
from tests.helpers.logs import listening
from tests.helpers.server import serving
from tests.helpers.videos import drop, encode, pan, remux


def test_losses_are_told(p_only: Path, tmp_path: Path) -> None:
    path = drop(p_only, tmp_path / "v.mp4", [7])
    with listening() as lines, open_source(path) as source:
        assert len(list(source)) == 29
    assert lines == [f"WARNING {path}: lost packets at 0.320 s"]


def test_damaged_packets_are_told(p_only: Path, tmp_path: Path) -> None:
    def damage(number: int, content: bytes) -> bytes:
        return b"\xff\xff\xff\xf0" + content[4:] if number == 9 else content

    path = remux(p_only, tmp_path / "v.mp4", damage)
    with listening() as lines, open_source(path) as source:
        list(source)
    assert f"WARNING {path}: damaged packet at 0.360 s" in lines


def test_that_flow_takes_the_place_of_vectors_is_told(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.webm", pan(3), "libvpx-vp9")
    with listening() as lines, open_source(path) as source:
        list(source)
    assert lines == [f"INFO {path}: no motion vectors (vp9), so motion is optical flow"]


def test_a_whole_stream_says_nothing(p_only: Path) -> None:
    with listening() as lines, open_source(p_only) as source:
        list(source)
    assert not lines


def test_a_program_without_logging_sees_nothing(p_only: Path, tmp_path: Path) -> None:
    path = drop(p_only, tmp_path / "v.mp4", [7])
    code = f"import edge_vss; print(len(list(edge_vss.open_source({str(path)!r}))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("29\n", "")


@pytest.mark.parametrize(
    "url",
    ["rtsp://cam:secret@127.0.0.1:9/x", "http://cam:p@secret@127.0.0.1:9/v.mp4", "tcp://secret@127.0.0.1:9"],
)
def test_no_password_is_shown(url: str) -> None:
    with pytest.raises(SourceError, match=r"\*\*\*@127\.0\.0\.1:9") as error:
        open_source(url, timeout_seconds=2)
    assert "secret" not in str(error.value)


def test_no_password_is_shown_of_a_stream_that_opens(tiny_video: Path) -> None:
    with serving(tiny_video.parent) as host:
        done = CliRunner().invoke(
            app, ["motion", f"http://cam:secret@{host}/{tiny_video.name}", "--json", "-"]
        )
    assert done.exit_code == 0, done.stderr
    assert f"***@{host}" in done.stderr
    assert "secret" not in done.stderr + done.stdout
