"""Segment a camera or a stream as it comes, into a window or, with --headless, into a file.

python examples/camera.py street.vss /dev/video0
python examples/camera.py street.vss rtsp://camera/stream --headless --out seen.mp4
"""

import argparse
import sys

import cv2

import edge_vss as vss


def main() -> None:
    """No frame waits for the network: key frames are computed meanwhile, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("source", help="a camera (/dev/video0 or 0), a stream URL or a file")
    parser.add_argument("--headless", action="store_true", help="write a file; open no window")
    parser.add_argument("--out", default="camera.mp4", help="the file for --headless")
    parser.add_argument("--limit", type=int, help="stop after so many frames")
    args = parser.parse_args()

    segmenter = vss.load(args.bundle)
    palette = segmenter.manifest.palette

    def show(frame: vss.Frame, prediction: vss.Prediction | None) -> None:
        if prediction is None:
            return
        cv2.imshow("edge-vss", vss.overlay(frame.image, prediction.labels, palette)[..., ::-1])
        if cv2.waitKey(1) in (27, ord("q")):
            raise KeyboardInterrupt

    with (
        segmenter.session("continuous", background=True) as session,
        vss.open_source(args.source) as source,
    ):
        context = vss.SinkContext.of(segmenter.manifest, source.info)
        sinks = [vss.open_sink("video", args.out, context)] if args.headless else []
        on_frame = None if args.headless else show
        try:
            vss.run(source, session, sinks, on_frame=on_frame, limit=args.limit)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
        except cv2.error:
            sys.exit("error: this OpenCV opens no windows: use --headless, or pip install opencv-python")


if __name__ == "__main__":
    try:
        main()
    except vss.EdgeVssError as error:
        sys.exit(f"error: {error}")
