"""What this machine's FFmpeg can do: decoders, encoders, and which decoders give motion vectors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from edge_vss.errors import MissingExtra
from edge_vss.report import Report
from edge_vss.runtimes.motion._hevc import parser

SHOWN = ("h264", "mpeg4", "mpeg2video", "mpeg1video", "h263", "hevc", "vp8", "vp9", "av1")
"""The codecs that cameras and files have, by FFmpeg's names."""


@dataclass(frozen=True)
class Codec(Report):
    """What FFmpeg can do with a codec."""

    decoder: str | None
    encoder: str | None
    """FFmpeg's name of what decodes and encodes it; None where nothing does."""

    vectors: bool
    """Whether its motion vectors can be read here."""

    expected: bool
    """Whether they should be: FFmpeg's releases are known to give them (5 to 9), or the parser is here."""

    measured: bool
    """True where ``vectors`` was tried with a stream that was encoded here."""

    provider: str = ""
    """The motion provider that reads them: ``codec`` from the decoder, ``hevc`` with a parser; empty where
    nobody does."""

    lacking: str = ""
    """What would read them, and how to install it; empty where nothing is known to."""


@dataclass(frozen=True)
class Video(Report):
    """PyAV, and the FFmpeg in it."""

    pyav: str | None
    ffmpeg: str | None
    codecs: dict[str, Codec]
    problem: str
    """Why PyAV does not load; empty where it does."""


def video() -> Video:
    """The versions, and every codec of ``SHOWN``."""
    try:
        import av

        from edge_vss.runtimes.sources import SOURCES
    except ImportError as broken:
        return Video(None, None, {}, str(broken))
    exporting = SOURCES.find("av").description.vector_codecs
    codecs = {}
    for name in SHOWN:
        decoder, encoder = _codec(name, "r"), _codec(name, "w")
        # AV1's encoder writes pages of its own to stderr, for a decoder that never had vectors.
        stream = _encoded(name) if decoder and encoder and name != "av1" else None
        codecs[name] = _codec_found(name, decoder, encoder, name in exporting, stream)
    return Video(av.__version__, av.ffmpeg_version_info, codecs, "")


@dataclass(frozen=True)
class _Stream:
    """A moving texture, as this machine's encoder wrote it."""

    extradata: bytes
    packets: list[Any]


def _codec_found(
    name: str, decoder: str | None, encoder: str | None, expected: bool, stream: _Stream | None
) -> Codec:
    given = None if stream is None else _given(name, stream)
    vectors = expected if given is None else given
    provider, lacking = "codec" if vectors else "", ""
    if name == "hevc" and not vectors:
        try:
            parser.check()
        except MissingExtra as error:
            lacking = str(error)
        else:
            provider, expected = "hevc", True
            vectors = stream is None or _parsed(stream)
    return Codec(decoder, encoder, vectors, expected, given is not None, provider if vectors else "", lacking)


def _parsed(stream: _Stream) -> bool:
    """Whether the parser finds motion in an HEVC stream."""
    reader = parser.Parser(stream.extradata)
    pictures = [picture for packet in stream.packets for picture in reader.read(bytes(packet))]
    return any(picture.cells["lists"].any() for picture in pictures)


def _given(codec: str, stream: _Stream) -> bool | None:
    """Whether the decoder gives vectors for a stream; None where that could not be found out."""
    import av
    from av.codec.context import Flags2

    try:
        decoder: Any = av.CodecContext.create(codec, "r")
        decoder.flags2 |= Flags2.export_mvs
        if stream.extradata:
            decoder.extradata = stream.extradata
        frames = [frame for packet in [*stream.packets, None] for frame in decoder.decode(packet)]
    except (av.FFmpegError, ValueError, OSError):
        return None
    return any(frame.side_data.get("MOTION_VECTORS") is not None for frame in frames) if frames else None


def _encoded(codec: str) -> _Stream | None:
    """A few pictures of a moving texture; None where this machine's encoder does not work."""
    import av

    texture = np.random.default_rng(0).integers(0, 256, (18, 30), np.uint8).repeat(8, 0).repeat(8, 1)
    try:
        encoder: Any = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.pix_fmt = 176, 144, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        encoder.options = {"preset": "ultrafast", "x265-params": "log-level=none", "deadline": "realtime"}
        packets = []
        for index in range(4):
            picture = np.ascontiguousarray(texture[:, index * 4 : index * 4 + 176])
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts = index
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        return _Stream(bytes(encoder.extradata or b""), packets)
    except (av.FFmpegError, ValueError, OSError):
        return None


def _codec(name: str, mode: str) -> str | None:
    from av.codec import Codec as AvCodec
    from av.codec.codec import UnknownCodecError

    try:
        return str(AvCodec(name, "w" if mode == "w" else "r").name)
    except UnknownCodecError:
        return None
