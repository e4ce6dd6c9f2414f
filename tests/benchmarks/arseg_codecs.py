"""AR-Seg on HEVC, the codec it was published on, against H.264: `python -m tests.benchmarks.arseg_codecs`.

Needs EDGE_VSS_DATA. The trained pair of tests/data runs on 0016E5, an I-frame each 12, with as many bits for
each codec.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import av

from edge_vss.cli.terminal import say, table
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tools.evaluate import evaluate
from tests.helpers.videos import Image, encode, stills

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "arseg_camvid"
H264 = "0016E5_h264_p_refs1_g12.mp4"
FPS, GOP, IGNORED = 15, 12, 11
SHAPES = {"HEVC, P only": "bframes=0:ref=1", "HEVC, B-frames": "bframes=4:ref=3"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measures AR-Seg on HEVC and H.264.")
    parser.add_argument("streams", nargs="*", help="a part of a stream's name; all without one")
    parser.add_argument("--motion", nargs="+", default=["auto", "flow", "none"], metavar="NAME")
    args = parser.parse_args()
    data = Path(os.environ.get("EDGE_VSS_DATA", "."))
    if not (data / "video").is_dir():
        say("arseg_codecs needs camvid/ and video/: set EDGE_VSS_DATA to the folder that holds them")
        return
    h264 = data / "video" / H264
    with tempfile.TemporaryDirectory(prefix="edge-vss-arseg-") as folder:
        scratch = Path(folder)
        bundle = scratch / "camvid.vss"
        options = {"variant": "camvid-bise18", "high": WEIGHTS / "high.pth"}
        convert(Conversion(WEIGHTS / "low.pth", family="arseg", size=(360, 480), options=options), bundle)
        segmenter, images = load(bundle), stills(data / "camvid" / "val")
        videos = {"H.264, P only": h264}
        for name, shape in SHAPES.items():
            videos[name] = at_rate(scratch / f"{len(videos)}.mp4", images, shape, bits(h264) * FPS)
        rows = []
        for name, video in videos.items():
            if args.streams and not any(part in name for part in args.streams):
                continue
            for motion in args.motion:
                found = evaluate(
                    segmenter,
                    video,
                    data / "camvid" / "valannot",
                    policy=f"gop:{GOP}",
                    ignore=IGNORED,
                    opening=Opening(motion=motion),
                )
                row = (
                    name,
                    round(bits(video)),
                    motion,
                    round(found.miou, 2),
                    round(found.mvc8, 2),
                    found.keyframes,
                )
                rows.append(row)
                say(" ".join(map(str, row)))
    table(("stream", "bits / frame", "motion", "mIoU", "mVC8", "key frames"), rows)


def at_rate(path: Path, images: list[Image], shape: str, rate: float) -> Path:
    """The frames as x265 encodes them, with an I-frame each GOP, at this many bits a second."""
    asked = rate
    for _ in range(4):
        parameters = f"log-level=none:{shape}:keyint={GOP}:min-keyint={GOP}:no-open-gop=1:scenecut=0"
        parameters += f":bitrate={asked / 1000:.0f}"
        encode(path, images, "libx265", {"x265-params": parameters, "preset": "medium"}, fps=FPS)
        found = bits(path) * FPS
        if abs(found / rate - 1) < 0.02:
            break
        # On so short a clip x265 misses the rate that it was asked for.
        asked *= rate / found
    return path


def bits(path: Path) -> float:
    """Bits of a frame, on average."""
    with av.open(str(path)) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    return 8 * sum(sizes) / len(sizes)


if __name__ == "__main__":
    main()
