"""Of several video streams in one file the best is read, and any other on demand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Size
from tests.helpers.logs import listening
from tests.helpers.videos import audio, pan
from tests.test_cli import Done

SMALL, LARGE = (48, 64), (96, 128)
_DEFAULT, _COVER, _THUMBNAILS = 0x1, 0x400, 0x800


def several(
    path: Path, *streams: tuple[Size, int], count: int = 12, muxer: dict[str, str] | None = None
) -> Path:
    """A file with one video stream per size and disposition."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        made: list[Any] = []
        for (height, width), disposition in streams:
            stream: Any = container.add_stream("mjpeg" if disposition & _COVER else "libx264", rate=25)
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuvj420p" if disposition & _COVER else "yuv420p"
            stream.disposition = disposition
            made.append(stream)
        for index in range(count):
            for stream, (size, disposition) in zip(made, streams, strict=True):
                if disposition & _COVER and index:
                    continue
                picture = av.VideoFrame.from_ndarray(pan(count, size)[index], "rgb24")
                picture.pts, picture.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(picture))
        for stream in made:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("streams", "best"),
    [
        (((SMALL, 0), (LARGE, _DEFAULT)), 1),
        (((SMALL, _DEFAULT), (LARGE, 0)), 0),
        (((SMALL, 0), (LARGE, 0)), 1),
        (((LARGE, 0), (SMALL, 0)), 0),
        (((SMALL, _DEFAULT), (LARGE, _DEFAULT)), 1),
        (((SMALL, 0), (SMALL, 0)), 0),
        (((SMALL, _DEFAULT), (SMALL, _DEFAULT), (LARGE, 0)), 0),
    ],
)
def test_the_default_or_else_the_largest(
    tmp_path: Path, suffix: str, streams: tuple[tuple[Size, int], ...], best: int
) -> None:
    # Matroska marks the first as default where none is.
    muxer = {"default_mode": "passthrough"} if suffix == "mkv" else {}
    if suffix == "mp4" and not any(disposition for _, disposition in streams):
        streams = tuple((size, _DEFAULT) for size, _ in streams)  # MP4 cannot say that none is
    path = several(tmp_path / f"v.{suffix}", *streams, muxer=muxer)
    there = tuple(f"{n}: h264 {width}x{height}" for n, ((height, width), _) in enumerate(streams))
    with listening() as told, open_source(path, motion="none") as source:
        assert (source.info.stream, source.info.streams) == (best, there)
        frames = list(source)
    assert len(frames) == 12 and {frame.size for frame in frames} == {streams[best][0]}
    assert told == [f"WARNING {path}: several video streams ({', '.join(there)}); {best} is read"]
    for number, (size, _) in enumerate(streams):
        with open_source(path, motion="none", stream=number) as source:
            assert source.info.stream == number
            source.seek(0.2)
            assert [frame.index for frame in source] == list(range(5, 12))
            assert source.info.size == size
    with pytest.raises(OptionError, match=rf"no video stream 9: choose of {there[0]}, {there[1]}"):
        open_source(path, stream=9)


def test_a_cover_is_never_the_video(tmp_path: Path) -> None:
    path = several(tmp_path / "v.mp4", ((480, 640), _COVER), (SMALL, 0))
    with open_source(path, motion="none") as source:
        assert source.info.size == SMALL and len(source.info.streams) == 1
        number = source.info.stream
        assert len(list(source)) == 12
    with pytest.raises(OptionError, match=f"choose of {number}: h264 64x48"):
        open_source(path, stream=1 - (number or 0))


def test_one_stream_is_no_news(p_only: Path) -> None:
    with listening() as told, open_source(p_only, motion="none", stream=0) as source:
        assert source.info.streams == ("0: h264 128x96",) and len(list(source)) == 30
    assert told == []


def test_sound_alone_has_none_to_choose(tmp_path: Path) -> None:
    path = audio(tmp_path / "sound.m4a")
    for number in (None, 0, 1):
        with pytest.raises(SourceError, match=r"no video stream \(it has audio\)"):
            open_source(path, stream=number)


def test_the_command_line_says_and_chooses(tiny_bundle: Path, tmp_path: Path) -> None:
    path = several(tmp_path / "v.mp4", (SMALL, 0), (LARGE, _DEFAULT))
    said = "several video streams (0: h264 64x48, 1: h264 128x96): 1 is read; --stream N takes another"
    done = Done("run", tiny_bundle, path, "--jsonl", "-", "--limit", "1")
    assert said in done.err and '"size": [96, 128]' in done.out
    done = Done("run", tiny_bundle, path, "--jsonl", "-", "--limit", "1", "--stream", "0")
    assert '"size": [48, 64]' in done.out
    assert Done("motion", path, "--stream", "0", "--json", "-").json["size"] == [48, 64]
    for command in (("run", tiny_bundle, path), ("profile", tiny_bundle, path), ("motion", path)):
        assert "choose of 0: h264 64x48, 1: h264 128x96" in Done(*command, "--stream", "7").error()
