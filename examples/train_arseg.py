"""Trains AR-Seg's two branches on one CPU core: first the high one on pictures, then the low one on clips.

  python examples/train_arseg.py high --data streets --width 0.25 --seconds 600 --out high.pth
  python examples/train_arseg.py low --data streets --width 0.25 --high high.pth --seconds 600 --out low.pth

``--data camvid`` needs EDGE_VSS_DATA with camvid/train in it. Only stills are labelled there, so clips are
made of them (moving_stills.py), encoded as H.264, and read back with the real motion vectors of that
encoding. The low branch learns with the classifier frozen, from labels and from the high branch's feature
of the same frame (AR-Seg's feature similarity training). ``alone`` trains what AR-Seg is to be compared
with: the same low network, for the same time, without the key frame.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from moving_stills import Bytes, Pair, clip, things
from torch import Tensor
from torch.nn import functional
from train_camvid import UNLABELLED, pairs
from train_streets import TRAIN_SEEDS, fit, normalised

from edge_vss import open_source
from edge_vss.converters.networks.arseg import VARIANTS, branches, fused, low_size, published
from edge_vss.converters.networks.bisenet import BiSeNet18
from edge_vss.converters.ops.resize import bilinear
from edge_vss.demo.scene.streets import scene
from edge_vss.runtimes.tracing.root_map import Tracer

GOP = 12
CLASSES = {"camvid": 12, "streets": 9}
THINGS = (6, 8, 9, 10)
"""Signs, cars, pedestrians and bicyclists of CamVid: what is pasted into clips."""


@dataclass(frozen=True)
class Sample:
    """A frame between key frames, with everything that is constant while the low branch learns."""

    picture: Tensor
    """float16 (3, h, w): the low branch's input."""
    key: Tensor
    """float16 (C, H/8, W/8): the key frame's feature."""
    wanted: Tensor
    """float16: the high branch's feature of this very frame."""
    motion: Tensor
    """float32 (2, H/8, W/8)."""
    labels: Tensor
    """uint8 (H, W)."""


def clips(data: str, count: int) -> Iterator[list[Pair]]:
    """Labelled clips of one GOP, as pictures."""
    rng = np.random.default_rng(1)
    if data == "streets":
        for i in range(count):
            drive = list(scene(TRAIN_SEEDS + i % 64, frames=GOP * (1 + i // 64)))
            yield drive[-GOP:]
        return
    stills = pairs(Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid", "train")
    patches = things(stills, THINGS)
    for i in range(count):
        chosen = [patches[j] for j in rng.integers(0, len(patches), rng.integers(0, 5))]
        yield clip(rng, stills[i % len(stills)], chosen, GOP)


def samples(high: Any, data: str, scale: float, count: int) -> list[Sample]:
    """Encode clips, read them back with their motion, and let the high branch see them."""
    rng, variant = np.random.default_rng(2), VARIANTS[f"{data}-bise18"]
    prepare = partial(normalised, mean=variant.mean, std=variant.std)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for made in clips(data, count):
            size = made[0][1].shape
            encode(Path(folder) / "clip.mp4", [image for image, _ in made], quality=int(rng.integers(20, 30)))
            chosen = {GOP - 1, int(rng.integers(1, GOP - 1))}
            tracer = Tracer("exact")
            with open_source(Path(folder) / "clip.mp4", motion="codec") as source, torch.inference_mode():
                for frame in source:
                    if frame.index == 0:
                        tracer.anchor(frame)
                        key = high.feature(prepare(frame.image[None]))[0].half()
                        continue
                    tracer.follow(frame)
                    if frame.index not in chosen:
                        continue
                    x = prepare(frame.image[None])
                    motion = torch.from_numpy(tracer.root(high.grid(size), "corners")[None])
                    found.append(
                        Sample(
                            bilinear(x, low_size(size, scale), align_corners=True)[0].half(),
                            key,
                            high.feature(x)[0].half(),
                            published(motion, size)[0],
                            torch.from_numpy(made[frame.index][1].copy()),
                        )
                    )
    return found


def encode(path: Path, images: list[Bytes], quality: int) -> None:
    """H.264 as a camera makes it: one I-frame, then P-frames with one reference."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 15)
        stream.height, stream.width = images[0].shape[:2]
        stream.options = {"crf": str(quality), "x264-params": "ref=1:bframes=0:keyint=250:scenecut=0"}
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))


def learn(
    low: Any, data: list[Sample], seconds: float, classes: int, ignore: int, alone: bool, peak: float = 1.5e-3
) -> None:
    """Train the low branch for ``seconds``; the classifier stays as it is unless it is ``alone``."""
    rng = np.random.default_rng(3)
    low.conv_out.conv_out.requires_grad_(alone)
    spread = torch.stack([sample.wanted for sample in data[:50]]).float().var()
    counts = sum(torch.bincount(s.labels.flatten().long(), minlength=256)[:classes].double() for s in data)
    weights = (counts.sum() / (classes * counts.clamp(min=1))) ** 0.4  # type: ignore[union-attr]
    weights = weights.clamp(0.5, 3).float()
    low.train()
    optimizer = torch.optim.AdamW(
        [p for p in low.parameters() if p.requires_grad], lr=peak, weight_decay=0.01
    )
    start, step, shown = time.monotonic(), 0, np.zeros(2)
    while (share := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, 0.05 + share / 0.05) * (1 + np.cos(np.pi * share)) / 2
        batch = [data[i] for i in rng.integers(0, len(data), 8)]
        pictures = (
            torch.stack([s.picture for s in batch]).float().contiguous(memory_format=torch.channels_last)
        )
        with torch.autocast("cpu", torch.bfloat16):
            found = low.feature(pictures)
        found, likeness = found.float(), torch.zeros(())
        if not alone:
            moved = [fuse(low, s, feature[None]) for s, feature in zip(batch, found, strict=True)]
            found = torch.cat(moved)
            likeness = functional.mse_loss(found, torch.stack([s.wanted for s in batch]).float()) / spread
        target = torch.stack([s.labels for s in batch]).long()
        size = (int(target.shape[1]), int(target.shape[2]))
        scores = bilinear(low.classify(found), size, align_corners=True)
        loss = functional.cross_entropy(scores, target, weights, ignore_index=ignore)
        optimizer.zero_grad()
        (loss + likeness).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step, shown = step + 1, 0.98 * shown + 0.02 * np.array([loss.item(), likeness.item()])
        if step % 100 == 0:
            print(
                f"step {step}  {time.monotonic() - start:.0f} s  labels, likeness", shown.round(3), flush=True
            )
    low.eval()


def fuse(low: Any, sample: Sample, found: Tensor) -> Tensor:
    """One frame's fused feature from its own low one."""

    class Given:
        fuse_attention = low.fuse_attention

        @staticmethod
        def feature(_: Tensor) -> Tensor:
            return found

    key = sample.key[None].float().permute(0, 2, 3, 1)
    return fused(Given, key, sample.motion[None], sample.picture[None])


def save(network: Any, path: Path) -> None:
    """The weights in half precision, named as AR-Seg's released files name them."""
    state = {f"module.{k}": v.half() for k, v in network.state_dict().items() if v.is_floating_point()}
    torch.save({name: tensor.contiguous() for name, tensor in state.items()}, path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


def filled(network: Any, path: Path, skip: Callable[[str], bool] = lambda _: False) -> None:
    """Fill a network from a file that ``save`` wrote; what differs in shape or is skipped stays."""
    state = {k.removeprefix("module."): v for k, v in torch.load(path, weights_only=True).items()}
    own = network.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape and not skip(k)}
    network.load_state_dict(fitting, strict=False)
    print(f"{len(fitting)} of {len(own)} tensors from {path}", flush=True)


class Alone(BiSeNet18):
    """The low branch without key frames, as a network that takes pictures of the full size."""

    def forward(self, x: Tensor) -> Tensor:
        size = (int(x.shape[2]), int(x.shape[3]))
        small = bilinear(x, low_size(size, 0.5), align_corners=True)
        return bilinear(super().forward(small), size, align_corners=True)


def alone(classes: int) -> torch.nn.Module:
    """For the converter: edge-vss convert alone.pth --model train_arseg.py:alone --classes camvid12"""
    return Alone(classes, 0.25)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("high", "low", "alone"))
    parser.add_argument("--data", choices=CLASSES, default="streets")
    parser.add_argument("--width", type=float, default=0.25, help="multiplies every channel count")
    parser.add_argument("--scale", type=float, default=0.5, help="of the low branch's picture")
    parser.add_argument("--seconds", type=float, default=600, help="time to train, without making the data")
    parser.add_argument("--clips", type=int, default=700, help="to train the low branch on")
    parser.add_argument("--high", type=Path, help="the trained high branch; for high itself, where to begin")
    parser.add_argument("--low", type=Path, help="where the low branch begins, if not as the high one")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    classes, camvid = CLASSES[options.data], options.data == "camvid"
    ignore = UNLABELLED if camvid else 255
    variant = VARIANTS[f"{options.data}-bise18"]
    high, low = branches(variant, classes, options.width)
    if options.high:
        filled(high, options.high)
    if options.stage == "high":
        if camvid:
            data = pairs(Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid", "train")
        else:
            data = [pair for i in range(64) for pair in scene(TRAIN_SEEDS + i, frames=12, every=27)]
        prepare = partial(normalised, mean=variant.mean, std=variant.std)
        fit(high, data, classes, (256, 320), options.seconds, 100_000, ignore, prepare=prepare)
        save(high, options.out)
        return
    if options.high is None:
        parser.error(f"{options.stage} wants --high, the trained high branch")
    high.eval()
    made = samples(high, options.data, options.scale, options.clips)
    print(f"{len(made)} samples", flush=True)
    filled(low, options.low or options.high)
    learn(low, made, options.seconds, classes, ignore, options.stage == "alone")
    if options.stage == "alone":
        del low.fuse_attention
    save(low, options.out)


if __name__ == "__main__":
    main()
