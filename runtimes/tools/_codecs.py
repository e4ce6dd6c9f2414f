"""What this machine's FFmpeg can do: decoders, encoders, and which decoders give motion vectors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from edge_vss.report import Report

SHOWN = ("h264", "mpeg4", "mpeg2video", "mpeg1video", "h263", "hevc", "vp8", "vp9", "av1")
"""The codecs that cameras and files have, by FFmpeg's names."""


@dataclass(frozen=True)
class Codec(Report):
    """What FFmpeg can do with a codec."""

    decoder: str | None
    encoder: str | None
    """FFmpeg's name of what decodes and encodes it; None where nothing does."""

    vectors: bool
    """Whether the decoder gives motion vectors."""

    expected: bool
    """Whether FFmpeg's releases are known to give them (5 to 9)."""

    measured: bool
    """True where ``vectors`` was tried with a stream that was encoded here."""


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
        measured = _measured(name) if decoder and encoder and name != "av1" else None
        expected = name in exporting
        vectors = expected if measured is None else measured
        codecs[name] = Codec(decoder, encoder, vectors, expected, measured is not None)
    return Video(av.__version__, av.ffmpeg_version_info, codecs, "")


def _measured(codec: str) -> bool | None:
    """Whether the decoder gives vectors for a moving texture that this machine's encoder made.

    None where that could not be found out.
    """
    import av
    from av.codec.context import Flags2

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
        decoder: Any = av.CodecContext.create(codec, "r")
        decoder.flags2 |= Flags2.export_mvs
        if encoder.extradata:
            decoder.extradata = encoder.extradata
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    except (av.FFmpegError, ValueError, OSError):
        return None
    return any(frame.side_data.get("MOTION_VECTORS") is not None for frame in frames) if frames else None


def _codec(name: str, mode: str) -> str | None:
    from av.codec import Codec as AvCodec
    from av.codec.codec import UnknownCodecError

    try:
        return str(AvCodec(name, "w" if mode == "w" else "r").name)
    except UnknownCodecError:
        return None
