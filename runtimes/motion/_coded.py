"""The vectors that an encoder chose: who reads them, whoever that is."""

from __future__ import annotations

from collections.abc import Iterator

from edge_vss.errors import MissingExtra
from edge_vss.runtimes.motion import Feed, hevc
from edge_vss.runtimes.motion._hevc import parser
from edge_vss.video import Frame, StreamInfo


def provider_of(stream: StreamInfo) -> str:
    """The motion provider that reads a stream's vectors: ``codec`` where the decoder gives them, ``hevc``
    where a parser reads them, empty where nobody does.

    Raises MissingExtra where a package that reads them is not installed.
    """
    if stream.exports_vectors:
        return "codec"
    if stream.codec != "hevc":
        return ""
    parser.check()
    return "hevc"


def with_vectors(feed: Feed) -> Iterator[Frame]:
    """The same frames with their ``vectors``, whoever reads them, and without ``motion``.

    This is a motion provider for those who want the vectors alone. Where nobody reads them there are none.
    """
    try:
        provider = provider_of(feed.stream)
    except MissingExtra:
        provider = ""
    return hevc.with_vectors(feed) if provider == "hevc" else iter(feed.frames)


def why_none(stream: StreamInfo) -> str:
    """Why nobody reads a stream's vectors, in a clause; empty where somebody does."""
    try:
        if provider_of(stream):
            return ""
    except MissingExtra as error:
        return str(error)
    return f"{stream.codec} gives no motion vectors" if stream.codec else "pictures have no motion vectors"
