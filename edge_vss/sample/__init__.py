"""A sample that needs no download: synthetic streets, and a small network trained on them.

`edge_vss.sample.streets` draws the frames and their labels, `edge_vss.sample.encode` writes them as video.
They need OpenCV, which comes with ``edge-vss[onnxruntime]``; this module needs the standard library only.
"""

from __future__ import annotations

from pathlib import Path

CLASSES = ("sky", "building", "vegetation", "road", "pavement", "marking", "pole", "vehicle", "person")
"""Class names, by id."""

PALETTE = (
    (70, 130, 180), (92, 84, 96), (107, 142, 35), (128, 64, 128), (244, 35, 232), (250, 250, 250),
    (220, 220, 0), (0, 60, 200), (220, 20, 60),
)  # fmt: skip
"""RGB colours, by id."""

SIZE = (352, 640)
"""Height and width of the sample, in pixels: both multiples of 32, so that a network needs no padding."""

FPS = 25

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the network's input was normalised with, on RGB from 0 to 1."""

WEIGHTS = Path(__file__).with_name("streetnet.pt")
"""State dict of `edge_vss.converters.networks.streetnet`, made by examples/train_streets.py.

16 minutes on one core, with 768 frames of 64 drives. On drives it never saw (seeds 1, 2, 3, 7) it reaches
83 to 85 mIoU.
"""
