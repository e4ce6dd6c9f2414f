"""Record what matters: a person close ahead, with the seconds before and after, as video and label maps.

python examples/dashcam.py street.vss drive.mp4 --watch person --share 0.02 --out events/
"""

import argparse
import sys
from collections import deque
from contextlib import ExitStack, closing
from pathlib import Path

import edge_vss as vss


def main() -> None:
    """An event begins when the class fills enough of the frame's lower middle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("source")
    parser.add_argument("--watch", default="person", help="the class to look out for")
    parser.add_argument("--share", type=float, default=0.02, help="how much of the view ahead it has to fill")
    parser.add_argument("--seconds", type=float, default=2.0, help="what to keep before and after")
    parser.add_argument("--out", type=Path, default=Path("events"))
    args = parser.parse_args()
    segmenter = vss.load(args.bundle)
    names, session = segmenter.manifest.classes, segmenter.session()
    if args.watch not in names:
        sys.exit(f"error: no class is called {args.watch!r}: choose from {', '.join(names)}")
    with vss.open_source(args.source) as source, ExitStack() as recording:
        context = vss.SinkContext.of(segmenter.manifest, source.info)
        keep = max(1, round(args.seconds * source.info.fps))
        before: deque[tuple[vss.Frame, vss.Prediction]] = deque(maxlen=keep)
        sinks, events, left = list[vss.Sink](), 0, 0
        for frame in source:
            before.append((frame, session.step(frame)))
            height, width = frame.size
            ahead = before[-1][1].labels[height // 2 :, width // 4 : -width // 4]
            left = keep if (ahead == names.index(args.watch)).mean() >= args.share else left - 1
            if left == keep and not sinks:
                events += 1
                folder = args.out / f"{events:04d}-{frame.pts_seconds:.1f}s"
                places = {"labels": folder, "video": folder / "clip.mp4"}
                opened = (vss.open_sink(kind, place, context) for kind, place in places.items())
                sinks = [recording.enter_context(closing(sink)) for sink in opened]
            elif left <= 0:
                recording.close()
                sinks = []
            while sinks and before:
                moment = before.popleft()
                for sink in sinks:
                    sink.write(*moment)
    print(f"{events} events in {args.out}")


if __name__ == "__main__":
    try:
        main()
    except vss.EdgeVssError as error:
        sys.exit(f"error: {error}")
