"""What a source's name means: a file, images, standard input; or what else it is, and what to do instead."""

from __future__ import annotations

import glob
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

from edge_vss.errors import SourceError
from edge_vss.text import without_password

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".m4s", ".mpg", ".mpeg"),
        *(".vob", ".flv", ".wmv", ".asf", ".ogv", ".3gp", ".mxf", ".h264", ".264", ".hevc", ".h265", ".265"),
        *(".m1v", ".m2v", ".y4m", ".ivf", ".nut", ".divx", ".dav", ".f4v", ".mjpeg", ".gif", ".apng"),
    }
)

JOIN = "give one of them, or join them first (ffmpeg -f concat -i LIST.txt -c copy joined.mkv)"
"""What to do with several videos."""

PIPE = "pipe:"
"""What FFmpeg calls an open descriptor."""

_STANDARD_INPUT = frozenset({"-", "pipe:", "pipe:0", "fd:", "fd:0"})
_NUMBER = re.compile(r"%(0?)(\d*)d")
_PAGE = re.compile(
    r"(?:https?://)?(?:\w+\.)?(?:youtube\.com|youtu\.be|vimeo\.com|twitch\.tv|dailymotion\.com|bilibili\.com"
    r"|tiktok\.com|facebook\.com|instagram\.com)(?:/|$)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:[^/@\s]+@)?(?:[\w-]+\.)+[A-Za-z0-9]+(?::\d+)?/.|[^/@\s]+:[^/@\s]+@.")
_SCHEME = re.compile(r"(https?|rtsps?|rtmps?|rtp|udp|tcp|srt|hls|v4l2):(?!//)", re.IGNORECASE)


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts files by the numbers in their names: 2.png before 10.png."""
    # Not isdigit, which is true of ² as well: int refuses that.
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def plain_name(text: str) -> str:
    """A local path without ``file:`` or ``~`` before it; other names as they are.

    A file that exists by the whole name goes first, here and everywhere.
    """
    if os.path.exists(text):
        return f"./{text}" if text.startswith(PIPE) else text
    if text.startswith("~"):
        return os.path.expanduser(text)
    if not text.startswith("file:"):
        return text
    path = text.removeprefix("file:")
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
        # In a URL, a space is %20; a pattern has a % of its own.
        path = path if os.path.exists(path) or _NUMBER.search(path) else unquote(path)
    return path


def is_standard_input(text: str) -> bool:
    """Whether a name means standard input."""
    return text in _STANDARD_INPUT and not os.path.exists(text)


def can_begin_again(target: str) -> bool:
    """Whether a source can be opened a second time and gives the same: a pipe does not."""
    if target.startswith(PIPE):
        return False
    if "://" in target:
        return True
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def names_images(text: str) -> bool:
    """Whether a local name means images: a folder, an image, a glob or a numbered pattern (``f%03d.png``)."""
    if os.path.isdir(text) or Path(text).suffix.lower() in IMAGE_SUFFIXES:
        return True
    is_pattern = any(c in text for c in "*?[") or _NUMBER.search(text) is not None
    return is_pattern and not os.path.exists(text)


def images_of(where: Path) -> list[Path]:
    """The images that a folder, an image's name, a glob or a numbered pattern stands for, in natural order.

    Raises SourceError that says what is there instead.
    """
    if where.is_dir():
        found = [path for path in where.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise SourceError(_folder_without_images(where))
    else:
        found = [where] if where.exists() else _matching(str(where))
        if not found:
            raise SourceError(f"no image called {where}: check the path or the pattern")
        videos = [path for path in found if path.suffix.lower() in VIDEO_SUFFIXES]
        if videos:
            raise SourceError(f"{where} stands for {_several(videos)}: {JOIN}")
    return sorted(found, key=natural_order)


def local_files(source: object) -> list[str]:
    """The files and folders that a source reads, as far as its name tells."""
    if not isinstance(source, (str, Path)) or not str(source):
        return []
    name = plain_name(str(source))
    return [name] if os.path.exists(name) else [str(path) for path in _matching(name)]


def refuse_what_is_no_file(text: str) -> None:
    """Raise SourceError for a name that is neither a file nor an address, where it is plain what it is."""
    if os.path.exists(text):
        return
    shown = without_password(text)
    if re.search(r"\s!\s", text):
        raise SourceError(
            f"{shown} is a GStreamer pipeline: write gst: before it, and let it end in an appsink"
        )
    if text.startswith("concat:"):
        raise SourceError(f"{shown} is FFmpeg's list of several videos: {JOIN}")
    if _PAGE.match(text):
        raise SourceError(
            f"{shown} is a page of a video site, not a video: download the video first (yt-dlp does), "
            "and give the file"
        )
    if "://" in text:
        return
    if scheme := _SCHEME.match(text):
        shown = re.sub(r"^(\w+:/?)[^/]*:.*@", r"\1***@", shown)
        raise SourceError(f"{shown} is no address and no file: write {scheme[1].lower()}://...")
    first = text.split("/", 1)[0]
    if _ADDRESS.match(text) and not os.path.exists(first):
        # A password may stand before the @ here as well.
        shown = re.sub(r"^[^/@]*:[^/]*@", "***@", text)
        raise SourceError(
            f"no such file: {shown}: check the path; an address needs its scheme (https://..., rtsp://...)"
        )


def _matching(text: str) -> list[Path]:
    """The files that a glob or a numbered pattern stands for."""
    number = _NUMBER.search(text)
    if number is None:
        return [Path(found) for found in glob.glob(text)]
    before, after = (part.replace("%%", "%") for part in (text[: number.start()], text[number.end() :]))
    width = int(number[2] or 0)
    # As printf writes it: more digits than that only where the number needs them.
    digits = rf"\d{{{width}}}|[1-9]\d{{{width},}}" if number[1] else r"\d+"
    named = re.compile(re.escape(before) + f"(?:{digits})" + re.escape(after))
    found = glob.glob(f"{glob.escape(before)}*{glob.escape(after)}")
    return [Path(name) for name in found if named.fullmatch(name)]


def _folder_without_images(folder: Path) -> str:
    inside = sorted(folder.iterdir(), key=natural_order)
    lists = [path for path in inside if path.suffix.lower() in (".m3u8", ".mpd")]
    videos = [path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES]
    below = [path.name for path in inside if _has_images(path)]
    if lists:
        return f"the folder {folder} holds a playlist and no images: give {lists[0]}"
    if videos:
        return f"the folder {folder} holds {_several(videos)} and no images: {JOIN}"
    if below:
        return f"the folder {folder} holds images in folders below it ({_some(below)}): give one of those"
    kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
    return f"no images in the folder {folder}: put {kinds} files there, or give a video file"


def _has_images(path: Path) -> bool:
    try:
        return path.is_dir() and any(name.suffix.lower() in IMAGE_SUFFIXES for name in path.iterdir())
    except OSError:
        return False


def _several(videos: list[Path]) -> str:
    names = _some([path.name for path in sorted(videos, key=natural_order)])
    return f"{len(videos)} video{'s' if len(videos) > 1 else ''} ({names})"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
