"""Label maps in an app: the whole of what it takes.

python examples/embed.py street.vss drive.mp4
"""

import argparse
import sys

import numpy as np

import edge_vss as vss


def main(bundle: str, video: str) -> None:
    """Print what each frame shows most."""
    segmenter = vss.load(bundle)
    session = segmenter.session(policy=vss.Interval(5))
    with vss.open_source(video) as source:
        for frame in source:
            labels = session.step(frame).labels
            most = int(np.bincount(labels.ravel()).argmax())
            print(f"{frame.pts_seconds:7.2f} s  {segmenter.manifest.classes[most]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print what each frame of a video shows most.")
    parser.add_argument("bundle")
    parser.add_argument("video")
    args = parser.parse_args()
    try:
        main(args.bundle, args.video)
    except vss.EdgeVssError as error:
        sys.exit(f"error: {error}")
