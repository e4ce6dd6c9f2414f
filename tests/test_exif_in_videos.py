"""Pictures with EXIF inside a video, as cameras of JPEG send them: newer FFmpegs attach it to each frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edge_vss.runtimes.sources import open_source
from tests.helpers.videos import encode, pan
from tests.test_orientation import exif, with_exif


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_jpegs_with_exif_are_read_and_turned(orientation: int, turns: int, tmp_path: Path) -> None:
    images, path = pan(4, (96, 128)), tmp_path / "camera.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
        for number, image in enumerate(images):
            jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
            packet = av.Packet(with_exif(".jpg", jpeg, (96, 128), exif(orientation)))
            packet.stream, packet.is_keyframe = stream, True
            packet.pts = packet.dts = 40 * number
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
    with open_source(path) as source:
        frames = list(source)
    with av.open(str(path)) as container:
        rotation = next(container.decode(video=0)).rotation
    # An older decoder attaches no EXIF, and shows a picture as it is coded.
    assert rotation == 0 or round(rotation / 90) % 4 == turns
    assert len(frames) == 4
    for frame, image in zip(frames, images, strict=True):
        shown = np.rot90(image, round(rotation / 90) % 4).astype(int)
        assert np.abs(frame.image.astype(int) - shown).mean() < 20


def test_pictures_of_other_codecs_that_carry_exif(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mov", pan(3), "tiff", pix_fmt="rgb24")
    with open_source(path) as source:
        assert [frame.index for frame in source] == [0, 1, 2]
