"""Trains a small flow for MPVSS on CamVid's stills, on one CPU core.

  python examples/train_mpvss.py --segmentor segmentor/ --out flow.pth

EDGE_VSS_DATA has to hold camvid/train; train_mask2former.py makes the segmentor, which stays as it is. The
flow is the published network, narrower. Only stills are labelled, so clips are made of them
(moving_stills.py). The paper begins with an encoder that was trained to find flow; here a part of the time
goes to that, with OpenCV's DIS flow for a teacher. Then follows the paper's loss: Mask2Former's, on the moved
masks, matched with the labels of the frame in between. DIS goes on to hold the flow a little.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from moving_stills import Pair, clip, things
from torch import Tensor
from torch.nn import functional
from train_arseg import THINGS
from train_camvid import pairs
from train_mask2former import BATCH, QUERIES, Cycle, pixels, targets

from edge_vss.converters.families.mpvss import enlarged
from edge_vss.converters.networks.mask2former import Mask2Former
from edge_vss.converters.networks.mpvss_flow import MEAN, Flow, FlowShape, reduced
from edge_vss.converters.ops.warp_masks import warp_masks

FRAMES = 5
"""From a key frame to the last one before the next."""
TAUGHT = 0.4
"""Share of the time in which DIS is the only teacher."""
NEAR = 1.0
"""What the distance from DIS weighs beside the paper's loss. Without it, flows of queries that find nothing
wander off by 40 pixels."""
SHAPE = FlowShape((16, 32, 48, 64, 64, 96), dim=64, queries=QUERIES, inner=128, hidden=96, fine=32, finest=16)


@dataclass(frozen=True)
class Sample:
    """A frame in between, with what is constant while the flow learns."""

    current: Tensor
    """uint8 (3, h, w): the picture at half its size."""
    key: Key
    motion: Tensor
    """float16 (2, h/4, w/4): where the picture was in the key frame, as DIS finds it."""
    labels: Any
    """uint8 (2h, 2w), at half size."""


@dataclass(frozen=True)
class Key:
    """What the segmentor finds in a key frame."""

    picture: Tensor
    masks: Tensor
    classes: Tensor
    queries: Tensor


def half(image: Any) -> Tensor:
    """A picture padded to multiples of 32, at half its size, still uint8."""
    down, across = (-extent % 32 for extent in image.shape[:2])
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 - torch.tensor(MEAN).reshape(1, 3, 1, 1)
    small = reduced(functional.pad(x, (0, across, 0, down)))[0] + torch.tensor(MEAN).reshape(3, 1, 1)
    return (small * 255).round().to(torch.uint8)


def prepared(small: Tensor) -> Tensor:
    """What the flow is given of it."""
    return (small.float() / 255 - torch.tensor(MEAN).reshape(3, 1, 1))[None]


def samples(network: Mask2Former, count: int) -> list[Sample]:
    """Frames of ``count`` clips."""
    rng = np.random.default_rng(1)
    stills = pairs(Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid", "train")
    patches = things(stills, THINGS)
    teacher: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    made = []
    for i in range(count):
        chosen = [patches[j] for j in rng.integers(0, len(patches), rng.integers(0, 5))]
        frames: list[Pair] = clip(rng, stills[i % len(stills)], chosen, FRAMES)
        image = frames[0][0]
        down, across = (-extent % 32 for extent in image.shape[:2])
        with torch.inference_mode():
            x = functional.pad(pixels(image[None]), (0, across, 0, down))
            masks, classes, queries = network(x)
        key = Key(half(image), masks.half(), classes, queries)
        before = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for now, labels in frames[1:]:
            moved = teacher.calc(cv2.cvtColor(now, cv2.COLOR_RGB2GRAY), before, None)
            moved = cv2.copyMakeBorder(moved, 0, down, 0, across, cv2.BORDER_REPLICATE)
            grid = (moved.shape[1] // 8, moved.shape[0] // 8)
            motion = cv2.resize(moved, grid, interpolation=cv2.INTER_AREA).transpose(2, 0, 1) / 8
            made.append(Sample(half(now), key, torch.from_numpy(motion).half(), labels[::2, ::2].copy()))
    return made


def train(folder: Path, seconds: float, count: int, out: Path) -> None:
    """First towards DIS, then by Mask2Former's loss on the moved masks."""
    import transformers

    library = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32)
    criterion = library.criterion
    balance = dict(library.weight_dict)
    network = Mask2Former(library).eval().requires_grad_(False)
    data = samples(network, count)
    print(f"{len(data)} samples", flush=True)
    flow = Flow(SHAPE).train()
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-3, weight_decay=0.001)
    rng, step, shown, cycle = np.random.default_rng(2), 0, np.zeros(2), Cycle(seconds, 1e-3)
    while cycle.goes_on(optimizer):
        taught = cycle.share < TAUGHT
        optimizer.zero_grad()
        for i in rng.integers(0, len(data), BATCH):
            loss, apart = one_loss(flow, data[i], criterion, balance, taught)
            (loss / BATCH).backward()  # type: ignore[no-untyped-call]
            shown = 0.99 * shown + 0.01 * np.array([float(loss), apart])
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            what = "towards DIS" if taught else "moved masks"
            print(f"step {step}  {cycle.seconds:.0f} s  {what}  {shown.round(3)}", flush=True)
        if step % 100 == 0:
            save(flow, out)
    save(flow, out)


def one_loss(
    flow: Flow, sample: Sample, criterion: Any, balance: dict[str, float], taught: bool
) -> tuple[Tensor, float]:
    """The loss of one frame, and how far its flow is from DIS, in pixels of the picture."""
    key = sample.key
    found = flow(prepared(sample.current), prepared(key.picture), key.queries)
    away = (found - sample.motion.float()).abs()
    apart = 8 * float(away.detach().mean())
    if taught:
        return away.mean(), apart
    moved = warp_masks(key.masks.float(), enlarged(found), drift=False)
    rows, columns = (int(extent) for extent in sample.labels.shape)
    moved = functional.interpolate(moved, scale_factor=2, mode="bilinear", align_corners=False)
    masks, classes = targets(sample.labels)
    losses = criterion(moved[:, :, :rows, :columns], key.classes, [masks], [classes])
    loss = sum(balance[name] * value for name, value in losses.items()) + NEAR * away.mean()
    return loss, apart


def save(flow: Flow, out: Path) -> None:
    """The weights in half precision, named as in the published checkpoint."""
    torch.save({f"motion.{name}": value.half() for name, value in flow.state_dict().items()}, out)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--segmentor", type=Path, required=True, help="the folder of a Mask2Former")
    parser.add_argument("--seconds", type=float, default=1300, help="of CPU time, without making clips")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    train(options.segmentor, options.seconds, options.clips, options.out)


if __name__ == "__main__":
    main()
