"""Video files that play whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes.videofile import VideoFile
from tests.videos import decoded, pan


def test_an_unfinished_file_plays(tmp_path: Path) -> None:
    images = pan(90, (64, 80), (1, 0))
    file = VideoFile(tmp_path / "cut_short.mp4", (64, 80), 25)
    for i, image in enumerate(images):
        file.write(image, i / 25)
    copy = tmp_path / "killed.mp4"
    copy.write_bytes((tmp_path / "cut_short.mp4").read_bytes())  # what a kill would leave behind
    assert len(decoded(copy)) >= 40
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
