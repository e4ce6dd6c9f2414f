"""However a source is spelled: it is read, or one line says what kind of source it is and what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vss.errors import EdgeVssError, OptionError, SinkError, SourceError
from edge_vss.runtimes.opening import check_repeatable
from edge_vss.runtimes.sinks import check_places
from edge_vss.runtimes.sources import open_source
from tests.helpers.videos import remux


def count(uri: object) -> int:
    with open_source(uri, motion="none") as source:  # type: ignore[arg-type]
        return sum(1 for _ in source)


def refused(uri: object, error: type[EdgeVssError] = SourceError) -> str:
    with pytest.raises(EdgeVssError) as caught:
        open_source(uri)  # type: ignore[arg-type]
    assert type(caught.value) is error
    said = str(caught.value)
    assert "\n" not in said and "Errno" not in said and ": " in said
    return said


@pytest.fixture
def here(p_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a video ``base.mp4`` of 30 frames."""
    shutil.copy(p_only, tmp_path / "base.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def images(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for shade, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((16, 16, 3), 20 * shade, np.uint8))


def shades(uri: str | Path) -> list[int]:
    with open_source(uri, motion="none") as source:
        return [int(frame.image[0, 0, 0]) // 20 for frame in source]


def test_file_urls_and_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("base.mp4", "a b.mp4")
    shutil.copy("base.mp4", "file:odd.mp4")
    monkeypatch.setenv("HOME", str(here))
    names = (
        "file:base.mp4",
        f"file:{here}/base.mp4",
        f"file://{here}/base.mp4",
        f"file://localhost{here}/base.mp4",
    )
    for name in (*names, f"file://{here}/a%20b.mp4", f"file://{here}/a b.mp4", "file:odd.mp4", "~/base.mp4"):
        assert count(name) == 30, name
    assert "no such file: absent.mp4" in refused("file:absent.mp4")
    for name in names:
        with pytest.raises(SinkError, match="what the frames are read from"):
            check_places({"video": "base.mp4"}, name)


READ = (
    "import sys; from edge_vss.runtimes.sources import open_source; "
    "print(len(list(open_source(sys.argv[1], motion='none'))))"
)


def piped(name: str, content: Path | None) -> tuple[str, str]:
    with open(content or os.devnull, "rb") as file:
        done = subprocess.run([sys.executable, "-c", READ, name], stdin=file, capture_output=True, text=True)
    return done.stdout.strip(), done.stderr.splitlines()[-1] if done.stderr else ""


@pytest.mark.parametrize("name", ["-", "pipe:", "pipe:0", "/dev/stdin"])
def test_standard_input(here: Path, name: str) -> None:
    stream = remux(here / "base.mp4", here / "v.ts", lambda number, content: content)
    assert piped(name, stream) == ("30", "")


def test_standard_input_through_a_real_pipe(here: Path) -> None:
    stream = remux(here / "base.mp4", here / "v.mkv", lambda number, content: content)
    command = f'cat {stream} | {sys.executable} -c "{READ}" -'
    assert subprocess.run(command, shell=True, capture_output=True, text=True).stdout == "30\n"
    command = f'cat {here}/base.mp4 | {sys.executable} -c "{READ}" -'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "30\n" or "index in front" in done.stderr
    assert "not a video" in piped("-", None)[1] and "MPEG-TS" in piped("-", None)[1]


def test_what_comes_through_a_pipe_is_read_once(here: Path) -> None:
    os.mkfifo("pipe")
    for name in ("-", "pipe:0", "pipe"):
        with pytest.raises(OptionError, match="save it as a file"):
            check_repeatable(name)
    check_repeatable("base.mp4")
    check_repeatable("absent.mp4")
    assert "names no pipe" in refused("pipe:x")
    assert "is not open" in refused("pipe:999")


def test_numbered_patterns(here: Path) -> None:
    images(
        here / "f",
        ["f001.png", "f002.png", "f010.png", "f1000.png", "f7.png", "f0011.png", "fx.png", "100%_1.png"],
    )
    assert shades("f/f%03d.png") == [0, 1, 2, 3]
    assert shades("f/f%d.png") == [0, 1, 4, 2, 5, 3]
    assert shades("f/100%%_%d.png") == [7]
    assert shades(here / "f" / "f%03d.png") == [0, 1, 2, 3]
    assert shades("f/f00?.png") == [0, 1]
    assert "no image called f/g%03d.png" in refused("f/g%03d.png")
    for name in ("f/f%03d.png", f"file:{here}/f/f%03d.png"):
        with pytest.raises(SinkError, match="what the frames are read from"):
            check_places({"labels": "f"}, name)
    # A file that is called so goes first.
    images(here, ["g%03d.png"])
    assert shades("g%03d.png") == [0]


def test_folders_and_patterns_of_videos(here: Path) -> None:
    (here / "day").mkdir()
    for number in range(5):
        shutil.copy("base.mp4", f"day/part{number}.mp4")
    told = (
        "holds 5 videos (part0.mp4, part1.mp4, part2.mp4, ...) and no images: give one of them, or join them"
    )
    assert told in refused("day") and told in refused(here / "day")
    for name in ("day/*.mp4", "day/part%d.mp4", "file:day/part?.mp4"):
        assert "stands for 5 videos (part0.mp4" in refused(name)
    images(here / "both", [])
    images(here / "both" / "left", ["1.png"])
    assert "folders below it (left): give one of those" in refused("both")
    (here / "hls").mkdir()
    (here / "hls" / "index.m3u8").touch()
    assert "give hls/index.m3u8" in refused("hls")


def test_lists_of_videos(here: Path) -> None:
    for name in ("a.ts", "b.ts"):
        remux(here / "base.mp4", here / name, lambda number, content: content)
    lists = {
        "list.txt": "ffconcat version 1.0\nfile a.ts\nfile b.ts\n",
        "plain.txt": "# two\nfile 'a.ts'\nfile 'b.ts'\n",
        "noname": "file a.ts\nfile b.ts\n",
    }
    for name, content in lists.items():
        (here / name).write_text(content)
        said = refused(name)
        assert said.startswith(f"{name} is a list of videos") and "join them first (ffmpeg" in said
    assert "list of several videos" in refused("concat:a.ts|b.ts")
    (here / "names.txt").write_text("a.ts\nb.ts\n")
    assert "is a list of files" in refused("names.txt")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v4l2src device=/dev/video0 ! videoconvert ! appsink", "is a GStreamer pipeline"),
        ("rtspsrc location=rtsp://me:secret@cam/x ! decodebin ! appsink", "is a GStreamer pipeline"),
        ("youtube.com/watch?v=x", "is a page of a video site, not a video: download"),
        ("https://www.youtube.com/watch?v=x", "is a page of a video site"),
        ("HTTPS://youtu.be/x", "is a page of a video site"),
        (
            "example.com/drive.mp4",
            "no such file: example.com/drive.mp4: check the path; an address needs its",
        ),
        ("192.168.1.20:554/stream", "an address needs its scheme (https://..., rtsp://...)"),
        ("me:secret@192.168.1.20/stream", "an address needs its scheme"),
        ("rtsp:/camera/x", "is no address and no file: write rtsp://..."),
        ("s3://bucket/drive.mp4", "has a scheme that FFmpeg cannot read (s3): fetch the file"),
        ("gs://bucket/drive.mp4", "has a scheme that FFmpeg cannot read (gs)"),
        ("drive.mp4", "no such file: drive.mp4: check the path"),
        (b"drive.mp4", "bytes is no source: give the path of a file as text"),
        (["a.png", "b.png"], "uint8 RGB, got str: open a folder, or a pattern"),
        ({"a": 1}, "uint8 RGB, got str"),
        (3.5, "is no source"),
    ],
)
def test_what_is_no_file_is_told_by_its_kind(here: Path, name: object, said: str) -> None:
    told = refused(name)
    assert said in told and "secret" not in told


def test_an_open_file_is_no_source(here: Path) -> None:
    with (here / "base.mp4").open("rb") as file:
        assert "give the path of a file as text" in refused(file)


CONTENT = {
    "a ZIP archive": b"PK\x03\x04" + bytes(2000),
    "packed with gzip": b"\x1f\x8b\x08" + bytes(2000),
    "a tar archive": bytes(257) + b"ustar" + bytes(2000),
    "a NumPy array": b"\x93NUMPY\x01\x00" + bytes(2000),
    "a ROS bag": b"#ROSBAG V2.0\n" + bytes(2000),
    "a database": b"SQLite format 3\0" + bytes(2000),
    "a web page": b"<!DOCTYPE html><html><body>no video</body></html>" * 9,
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a session description (SDP)": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
    "text, not a video": b"This is not a video.\n" * 200,
}


@pytest.mark.parametrize("suffix", ["mp4", "txt", "bin", "ts"])
@pytest.mark.parametrize("kind", CONTENT)
def test_a_file_that_is_something_else_is_told_by_its_kind(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    path.write_bytes(CONTENT[kind])
    assert f"v.{suffix} is {kind}" in refused(path)


def test_a_playlist_is_read(here: Path) -> None:
    remux(here / "base.mp4", here / "v.m3u8", lambda number, content: content, "hls", {"hls_time": "1"})
    assert count("v.m3u8") == 30
    for part in here.glob("*.ts"):
        part.unlink()
    assert "v.m3u8" in refused("v.m3u8")


def test_arrays_of_another_kind_of_path(here: Path) -> None:
    class Somewhere:
        def __fspath__(self) -> str:
            return str(here / "base.mp4")

    assert count(Somewhere()) == 30


RTP = """
import sys, time
from fractions import Fraction
import av
from tests.helpers.videos import P_ONLY, pan
images = pan(40)
with av.open(sys.argv[1], "w", format="rtp") as container:
    stream = container.add_stream("libx264", rate=25)
    stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
    stream.options = {**P_ONLY, "g": "5", "tune": "zerolatency", "x264-params": "repeat-headers=1"}
    for number in range(1_000_000):
        picture = av.VideoFrame.from_ndarray(images[number % 40], "rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 25)
        container.mux(stream.encode(picture))
        time.sleep(0.02)
"""


def test_a_session_description_is_a_live_source(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "camera.sdp"
    path.write_text(
        f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    )
    command = [sys.executable, "-c", RTP, f"rtp://127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            with open_source(path, motion="none", timeout_seconds=120) as source:
                assert source.info.live and source.info.size == (96, 128)
                assert [next(source).index for _ in range(5)] == [0, 1, 2, 3, 4]
        finally:
            process.kill()
    with pytest.raises(SourceError, match=r"(gave nothing within|nothing came for) 1 s"):
        open_source(path, timeout_seconds=1)
