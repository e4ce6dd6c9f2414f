"""A sample that needs no download: synthetic streets, and a small network trained on them.

`edge_vss.demo.scene.streets` draws the frames and their labels, `edge_vss.demo.scene.encode` writes them
as video. They need OpenCV; this module needs the standard library only.
"""

from __future__ import annotations

from pathlib import Path

from edge_vss import classes

CLASSES = classes.find("streets").names
"""Class names, by id."""

SIZE = (352, 640)
"""Height and width of the sample, in pixels: both multiples of 32, so that a network needs no padding."""

FPS = 25

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the network's input was normalised with, on RGB from 0 to 1."""

_FOLDER = Path(__file__).parent / "weights"
ARSEG_HIGH, ARSEG_LOW = _FOLDER / "arseg_high.pth", _FOLDER / "arseg_low.pth"
"""AR-Seg's two branches at an eighth of their width, in half precision, made by examples/train_arseg.py."""

WEIGHTS = _FOLDER / "streetnet.pt"
"""State dict of `edge_vss.converters.networks.streetnet`, made by examples/train_streets.py.

16 minutes on one core, with 768 frames of 64 drives. On drives it never saw (seeds 1, 2, 3, 7) it reaches
83 to 85 mIoU.
"""
