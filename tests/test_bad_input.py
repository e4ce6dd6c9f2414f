"""What users give by mistake: one clear line each, quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_vss.errors import EdgeVssError, SourceError
from edge_vss.runtimes.sources import open_source
from tests.helpers.videos import audio, encode, pan, remux


def text(folder: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("This is not a video.\n" * 200)
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def noise(folder: Path) -> Path:
    path = folder / "noise.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(50_000))
    return path


def renamed_archive(folder: Path) -> Path:
    path = folder / "archive.mp4"
    path.write_bytes(b"PK\x03\x04" + bytes(2000))
    return path


def headless(folder: Path) -> Path:
    """An MP4 whose end, with the index, never arrived."""
    whole = encode(folder / "whole.mp4", pan(10)).read_bytes()
    path = folder / "headless.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def nothing_but_damage(folder: Path) -> Path:
    whole = encode(folder / "whole.mp4", pan(10))
    return remux(whole, folder / "damaged.mp4", lambda number, content: b"\xff" * len(content))


def sound(folder: Path) -> Path:
    return audio(folder / "sound.m4a")


def bare_folder(folder: Path) -> Path:
    (folder / "bare").mkdir()
    (folder / "bare" / "readme.txt").write_text("no pictures")
    return folder / "bare"


def broken_image(folder: Path) -> Path:
    (folder / "images").mkdir()
    (folder / "images" / "0.png").write_bytes(b"\x89PNG but no more")
    return folder / "images"


def missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "v.mp4"


def long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


CASES: dict[Callable[[Path], Path], str] = {
    text: "not a video",
    empty: "empty",
    noise: "not a video, or is cut short",
    renamed_archive: "a ZIP archive",
    headless: "not a video, or is cut short",
    nothing_but_damage: "no frame of .* could be decoded",
    sound: r"has no video stream \(it has audio\)",
    bare_folder: "no images in the folder",
    broken_image: r"0\.png is no image",
    missing: "no such file",
    below_a_file: "Not a directory",
    long_name: "File name too long",
}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_files_that_are_no_video(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    with pytest.raises(SourceError, match=CASES[make]) as caught:
        open_source(path)
    message = str(caught.value)
    assert "\n" not in message
    # What it is about, and what to do.
    assert path.name in message
    assert ": " in message
    # Nothing of FFmpeg's own shows through.
    assert "Errno" not in message
    assert caught.value.__cause__ is None


def test_an_unreadable_file(p_only: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read anything")
    path = tmp_path / "v.mp4"
    path.write_bytes(p_only.read_bytes())
    path.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(path)


@pytest.mark.parametrize("uri", ["", None, True, 3.5, "nonsense://host/video", "*.nothing"])
def test_what_is_no_source_at_all(uri: object) -> None:
    with pytest.raises(EdgeVssError) as caught:
        open_source(uri)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_names_that_ffmpeg_would_read_otherwise(p_only: Path, tmp_path: Path) -> None:
    for name in ("a:b.mp4", "concat:x|y.mp4", "-i.mp4", "100%.mp4", "ein Film ä.mp4", "frame[1].mp4", "v"):
        path = tmp_path / name
        path.write_bytes(p_only.read_bytes())
        with open_source(path, motion="none") as source:
            assert sum(1 for _ in source) == 30


def test_a_fifo_that_ends(p_only: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    stream = remux(p_only, tmp_path / "v.ts", lambda number, content: content)
    with subprocess.Popen(["cp", str(stream), str(fifo)]), open_source(fifo, motion="none") as source:
        assert sum(1 for _ in source) == 30


def test_ffmpeg_says_nothing_on_standard_error(tmp_path: Path) -> None:
    path = nothing_but_damage(tmp_path)
    code = f"""
from edge_vss.runtimes.sources import open_source
try:
    open_source({str(path)!r})
except Exception as error:
    print(type(error).__name__)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("SourceError\n", "")
