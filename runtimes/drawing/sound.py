"""The sound of a video, copied as it is beside new pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av
import av.error

from edge_vss.errors import OptionError, SinkError, SourceError
from edge_vss.runtimes.sources import SOURCES, SourceOptions, is_live, plugin_of
from edge_vss.runtimes.sources._container import open_container
from edge_vss.runtimes.sources._spelling import can_begin_again
from edge_vss.runtimes.sources._streams import packets_of
from edge_vss.text import without_password

_DEFAULT = 0x1
_IN_MPEG_TS = frozenset({"aac", "aac_latm", "mp2", "mp3", "ac3", "eac3", "dts", "truehd", "opus"})
"""Others are written as private data, which no player knows."""


class Sound:
    """The packets of one audio stream, in order. Passive.

    Raises OptionError for a source whose sound cannot be read a second time beside its pictures, SourceError
    for one that has none.
    """

    def __init__(self, source: object) -> None:
        name, target = plugin_of(source)
        shown = without_password(target)
        live = is_live(target, SOURCES.find(name).description)
        if name != "av" or live or not can_begin_again(target):
            raise OptionError(f"{shown} has no sound that can be copied: leave the sound out, or give a file")
        self._container = open_container(target, SourceOptions())
        streams = list(self._container.streams.audio)
        if not streams:
            self._container.close()
            raise SourceError(f"{shown} has no sound: leave it out")
        # The one a player would take: marked as default, else the first.
        self._stream = max(streams, key=lambda stream: int(getattr(stream, "disposition", 0)) & _DEFAULT)
        self._packets: Iterator[Any] = packets_of(self._container, self._stream)
        self._waiting: Any = None
        self._copy: Any = None

    def add_to(self, container: Any, place: object) -> None:
        """Adds a stream of this kind to an output. Raises SinkError where its format cannot hold it."""
        if not self._fits(container.format.name):
            self.close()
            codec = getattr(self._stream.codec_context, "name", "of an unknown codec")
            raise SinkError(f"{place} cannot hold this sound, which is {codec}: let its name end in mkv")
        self._copy = container.add_stream_from_template(self._stream)

    def _fits(self, format: str) -> bool:
        context = self._stream.codec_context
        if context is None or (format == "mpegts" and context.codec.canonical_name not in _IN_MPEG_TS):
            return False
        # What a format cannot hold is found out when its header is written.
        try:
            with av.open(io.BytesIO(), "w", format=format) as trial:
                trial.add_stream_from_template(self._stream)
                trial.start_encoding()
        except (ValueError, av.error.FFmpegError):
            return False
        return True

    def between(self, first_seconds: float, end_seconds: float) -> Iterator[Any]:
        """The next packets that begin before ``end_seconds`` of the source, timed from ``first_seconds``.

        What begins before ``first_seconds`` is left out.
        """
        base = self._stream.time_base
        while True:
            packet = self._waiting if self._waiting is not None else self._next()
            if packet is None:
                return
            if packet.pts * base >= end_seconds:
                self._waiting = packet
                return
            self._waiting = None
            if packet.pts * base < first_seconds - 1e-6:
                continue
            shift = round(first_seconds / base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._copy
            yield packet

    def _next(self) -> Any:
        try:
            return next((packet for packet in self._packets if packet.size and packet.pts is not None), None)
        except av.error.FFmpegError:
            # The pictures tell of damage; sound ends where it cannot be read.
            return None

    def close(self) -> None:
        """Lets go of the source."""
        self._container.close()
