"""Trains a small MPVSS on CamVid's stills, on one CPU core: first the segmentor, then the flow.

  python examples/train_mpvss.py segmentor --seconds 2400 --out segmentor/
  python examples/train_mpvss.py flow --segmentor segmentor/ --seconds 1800 --out flow.pth

EDGE_VSS_DATA has to hold camvid/train. The segmentor is a narrow Mask2Former with a ResNet, as a folder of
Hugging Face. The flow is the published network, narrower, and the segmentor stays as it is. Only stills are
labelled, so clips are made of them (moving_stills.py). The paper begins with an encoder that was trained to
find flow; here a quarter of the time goes to that, with OpenCV's DIS flow for a teacher. Then follows the
paper's loss: Mask2Former's, on the moved masks, matched with the labels of the frame in between.
"""

from __future__ import annotations

import argparse
import os
import time
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
from train_camvid import CLASSES, UNLABELLED, pairs
from train_streets import augment

from edge_vss.converters.families.mpvss import enlarged
from edge_vss.converters.networks.mask2former import Mask2Former
from edge_vss.converters.networks.mpvss_flow import MEAN, Flow, FlowShape, reduced
from edge_vss.converters.ops.warp_masks import warp_masks

CROP = (256, 320)
BATCH = 4
FRAMES = 5
"""From a key frame to the last one before the next."""
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPE = FlowShape((16, 32, 48, 64, 64, 96), dim=64, queries=24, inner=128, hidden=96, fine=32, finest=16)


def segmentor() -> Any:
    """A Mask2Former of 1.3 million parameters."""
    import transformers

    backbone = transformers.ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 96, 128],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_feedforward_dim=128,
        encoder_layers=2,
        decoder_layers=4,
        num_attention_heads=2,
        dim_feedforward=256,
        num_queries=SHAPE.queries,
        output_auxiliary_logits=True,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
        train_num_points=4096,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


def pixels(images: Any) -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W), normalised."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(PIXEL_MEAN).reshape(1, 3, 1, 1)) / torch.tensor(PIXEL_STD).reshape(1, 3, 1, 1)


def targets(labels: Any) -> tuple[Tensor, Tensor]:
    """A label map → one mask for each class in it, float32 (n, H, W), and these classes."""
    present = [int(label) for label in np.unique(labels) if label < len(CLASSES)]
    masks = np.stack([labels == label for label in present]) if present else np.zeros((0, *labels.shape))
    return torch.from_numpy(masks.astype(np.float32)), torch.tensor(present, dtype=torch.int64)


def semantic(masks: Tensor, classes: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of what masks and classes mix to: what counts in the end."""
    scores = torch.einsum("bqc,bqhw->bchw", classes.softmax(-1)[..., :-1], masks.sigmoid())
    scores = functional.interpolate(scores, wanted.shape[1:], mode="bilinear", align_corners=False)
    shares = (scores + 1e-4) / (scores + 1e-4).sum(1, keepdim=True)
    return functional.nll_loss(shares.log(), wanted, weights, ignore_index=UNLABELLED)


def rate(share: float, peak: float) -> float:
    """One cycle."""
    return float(peak * min(1, 0.05 + share / 0.05) * (1 + np.cos(np.pi * share)) / 2)


def train_segmentor(seconds: float, out: Path) -> None:
    """Mask2Former's own loss, and the cross entropy of the mixture at every layer."""
    import transformers

    stills = pairs(Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid", "train")
    counts = np.sum([np.bincount(labels.ravel(), minlength=256)[: len(CLASSES)] for _, labels in stills], 0)
    weights = torch.tensor(
        np.clip((counts.sum() / (len(CLASSES) * counts)) ** 0.4, 0.5, 3), dtype=torch.float32
    )
    rng, network = np.random.default_rng(0), segmentor().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # the library begins with 0.02, for weights to load
            torch.nn.init.ones_(module.weight)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
    start, step, shown = time.monotonic(), 0, np.zeros(2)
    while (share := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate(share, 1.5e-3)
        batch = [augment(rng, stills[i], CROP, UNLABELLED) for i in rng.integers(0, len(stills), BATCH)]
        labels = np.stack([label_map for _, label_map in batch])
        masks, classes = zip(*(targets(label_map) for label_map in labels), strict=True)
        found = network(
            pixel_values=pixels([image for image, _ in batch]),
            mask_labels=list(masks),
            class_labels=list(classes),
        )
        wanted = torch.from_numpy(labels).long()
        layers = [*found.auxiliary_logits, found]
        mixture = sum(
            semantic(one["masks_queries_logits"], one["class_queries_logits"], wanted, weights)
            for one in layers
        ) / len(layers)
        matched = found.loss / len(layers)
        optimizer.zero_grad()
        (4 * mixture + 0.25 * matched).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        step, shown = step + 1, 0.98 * shown + 0.02 * np.array([float(mixture), float(matched)])
        if step % 50 == 0:
            print(f"step {step}  {time.monotonic() - start:.0f} s  {shown / (1 - 0.98**step)}", flush=True)
        if step % 400 == 0:
            network.save_pretrained(out)
    network.config.output_auxiliary_logits = None
    network.half().save_pretrained(out)
    size = {"height": 360, "width": 480}
    transformers.Mask2FormerImageProcessorPil(size=size).save_pretrained(out)


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
    teacher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
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


def train_flow(folder: Path, seconds: float, count: int, out: Path) -> None:
    """First towards DIS, then by Mask2Former's loss on the moved masks."""
    import transformers

    library = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder, dtype=torch.float32)
    criterion = library.criterion
    balance = {key: value for key, value in library.weight_dict.items()}
    network = Mask2Former(library).eval().requires_grad_(False)
    data = samples(network, count)
    print(f"{len(data)} samples", flush=True)
    flow = Flow(SHAPE).train()
    torch.nn.init.zeros_(flow.decoder.fuse_layer.conv.bias)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-3, weight_decay=0.001)
    rng, start, step, shown = np.random.default_rng(2), time.monotonic(), 0, np.zeros(2)
    while (share := (time.monotonic() - start) / seconds) < 1:
        taught = share < TAUGHT
        for group in optimizer.param_groups:
            group["lr"] = rate(share, 1e-3)
        optimizer.zero_grad()
        for i in rng.integers(0, len(data), BATCH):
            loss, apart = one_loss(flow, data[i], criterion, balance, taught)
            (loss / BATCH).backward()  # type: ignore[no-untyped-call]
            shown = 0.99 * shown + 0.01 * np.array([float(loss), apart])
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            what = "towards DIS" if taught else "moved masks"
            print(f"step {step}  {time.monotonic() - start:.0f} s  {what}  {shown.round(3)}", flush=True)
        if step % 500 == 0:
            save(flow, out)
    save(flow, out)


TAUGHT = 0.4
"""Share of the time in which DIS is the teacher."""


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
    loss = sum(balance[name] * value for name, value in losses.items())
    return loss, apart  # type: ignore[return-value]


def save(flow: Flow, out: Path) -> None:
    """The weights in half precision, named as in the published checkpoint."""
    torch.save({f"motion.{name}": value.half() for name, value in flow.state_dict().items()}, out)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("segmentor", "flow"))
    parser.add_argument("--seconds", type=float, default=1800, help="to train, without making clips")
    parser.add_argument("--clips", type=int, default=400, help="to train the flow on")
    parser.add_argument("--segmentor", type=Path, help="the folder of the first stage")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if options.stage == "segmentor":
        train_segmentor(options.seconds, options.out)
    elif options.segmentor is None:
        parser.error("flow wants --segmentor, the folder of the first stage")
    else:
        train_flow(options.segmentor, options.seconds, options.clips, options.out)


if __name__ == "__main__":
    main()
