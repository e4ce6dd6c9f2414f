"""Video files that play whatever happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes.drawing.video_file import VideoFile
from tests.helpers.videos import decoded, pan


def test_an_unfinished_file_plays(tmp_path: Path) -> None:
    images = pan(90, (64, 80), (1, 0))
    file = VideoFile(tmp_path / "cut_short.mp4", (64, 80), 25)
    for i, image in enumerate(images):
        file.write(image, i / 25)
    copy = tmp_path / "killed.mp4"
    copy.write_bytes((tmp_path / "cut_short.mp4").read_bytes())  # what a kill would leave behind
    assert len(decoded(copy)) == 89
    file.close()
    file.close()
    assert len(decoded(tmp_path / "cut_short.mp4")) == 90


def test_another_size_is_scaled_and_odd_sizes_padded(tmp_path: Path) -> None:
    file = VideoFile(tmp_path / "odd.mkv", (61, 77), 25)
    file.write(pan(1, (61, 77))[0], 0.0)
    file.write(pan(1, (128, 160))[0], 0.04)
    file.close()
    assert [image.shape for image in decoded(tmp_path / "odd.mkv")] == [(62, 78, 3)] * 2


def test_bad_places(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="mp4"):
        VideoFile(tmp_path / "movie.gif", (16, 16), 25)
    with pytest.raises(SinkError, match="choose a place"):
        VideoFile(tmp_path / "nowhere" / "movie.mp4", (16, 16), 25)


UNUSED = """
import sys
from edge_vss.runtimes.drawing.video_file import VideoFile
file = VideoFile(sys.argv[1], (48, 64), 15.0)
file.close()
file.close()
"""


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v", "mkv", "ts"])
def test_a_file_without_a_picture_is_not_made(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    # In a process of its own: FFmpeg crashed on this.
    done = subprocess.run([sys.executable, "-c", UNUSED, str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"precious")
    assert subprocess.run([sys.executable, "-c", UNUSED, str(path)]).returncode == 0
    assert path.read_bytes() == b"precious"


def test_what_was_there_is_replaced_with_the_first_picture(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"precious")
    file = VideoFile(path, (48, 64), 25)
    assert path.read_bytes() == b"precious"
    file.write(pan(1, (48, 64))[0], 0.0)
    file.close()
    assert len(decoded(path)) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").symlink_to("/dev/full")
    file = VideoFile(tmp_path / "v.mp4", (48, 64), 25)
    with pytest.raises(SinkError, match="make room"):
        file.write(pan(1, (48, 64))[0], 0.0)
    file.close()


RECORDING = """
import sys
from tests.helpers.videos import pan
from edge_vss.runtimes.drawing.video_file import VideoFile
path, said, real, count = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
file = VideoFile(path, (48, 64), said)
for index, image in enumerate(pan(count, (48, 64))):
    file.write(image, index / real)
print("written", flush=True)
sys.stdin.read()
"""
"""Writes pictures with the times of a recording at ``real`` a second, and waits to be killed."""


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v", "mkv", "ts"])
@pytest.mark.parametrize(
    ("said", "real", "count"), [(5, 5, 30), (1, 1, 6), (0.2, 0.2, 2), (30, 1, 6), (30, 5, 30), (1000, 25, 60)]
)
def test_after_a_kill_all_but_the_last_picture_plays_at_any_rate(
    tmp_path: Path, suffix: str, said: float, real: float, count: int
) -> None:
    path = tmp_path / f"v.{suffix}"
    command = [sys.executable, "-c", RECORDING, str(path), str(said), str(real), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
        process.kill()
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert count - 1 <= len(times) <= count
    assert np.diff(times) == pytest.approx(1 / real, abs=2e-3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_closed_file_has_all_pictures_and_can_be_sought(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    file = VideoFile(path, (48, 64), 5)
    for index, image in enumerate(pan(30, (48, 64))):
        file.write(image, index / 5)
    file.close()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30
        stream = container.streams.video[0]
        assert stream.time_base is not None
        start = stream.start_time or 0
        container.seek(start + round(4 / stream.time_base), stream=stream)
        frame = next(container.decode(stream))
        assert frame.pts is not None and 2 <= (frame.pts - start) * stream.time_base <= 4
