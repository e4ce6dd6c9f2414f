"""Trains the packaged sample network on generated streets, on one CPU core.

python examples/train_streets.py --seconds 960 makes edge_vss/demo/weights/streetnet.pt. Drives with seeds
under 1000, which the demo shows, are never trained on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edge_vss import Scores
from edge_vss.converters.networks.streetnet import streetnet
from edge_vss.demo.sample import CLASSES, MEAN, STD
from edge_vss.demo.scene.canvas import Bytes
from edge_vss.demo.scene.streets import scene
from edge_vss.video import Size

TRAIN_SEEDS = 1000
UNSEEN_SEEDS = (1, 2, 3)
Pair = tuple[Bytes, Bytes]


def augment(rng: np.random.Generator, pair: Pair, crop: Size, ignore: int) -> Pair:
    """A random piece at a random scale, maybe mirrored, in other light and colour, as a codec leaves it."""
    image, labels = pair
    scale = 2.0 ** rng.uniform(-0.5, 0.7)
    high, wide = (max(8, round(side / scale)) for side in crop)
    top, left = (
        int(rng.integers(0, max(1, full - part + 1)))
        for full, part in zip(labels.shape, (high, wide), strict=True)
    )
    image, labels = image[top : top + high, left : left + wide], labels[top : top + high, left : left + wide]
    size = (round(labels.shape[1] * scale), round(labels.shape[0] * scale))
    how = cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA
    image = np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
    labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    shade = np.arange(256) / 255.0
    shade = (
        (shade ** np.exp(rng.uniform(-0.4, 0.4)))[:, None]
        * rng.uniform(0.75, 1.25)
        * rng.uniform(0.93, 1.07, 3)
    )
    table = np.clip(shade * 255, 0, 255).astype(np.uint8)[None]
    image = np.asarray(cv2.LUT(np.ascontiguousarray(image), table), np.uint8)
    if rng.random() < 0.6:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    down, across = (max(0, full - part) for full, part in zip(crop, labels.shape, strict=True))
    labels = np.pad(labels[: crop[0], : crop[1]], ((0, down), (0, across)), constant_values=ignore)
    return np.pad(image[: crop[0], : crop[1]], ((0, down), (0, across), (0, 0))), labels


def normalised(images: Bytes, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB to the network's input."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    return x.contiguous(memory_format=torch.channels_last)


def fit(
    network: nn.Module,
    pairs: list[Pair],
    classes: int,
    crop: Size,
    seconds: float,
    steps: int,
    ignore: int = 255,
    peak: float = 4e-3,
    prepare: Callable[[Bytes], torch.Tensor] = normalised,
) -> None:
    """Train for ``seconds`` or ``steps``, whichever ends first: AdamW, one cycle, cross entropy."""
    rng = np.random.default_rng(0)
    counts = sum(np.bincount(labels.ravel(), minlength=256)[:classes] for _, labels in pairs)
    weights = torch.tensor(
        np.clip((np.sum(counts) / (classes * np.maximum(counts, 1))) ** 0.4, 0.5, 3), dtype=torch.float32
    )
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=0.01)
    start, step, shown = time.monotonic(), 0, 0.0
    while (share := max(step / steps, (time.monotonic() - start) / seconds)) < 1:
        rate = peak * min(1, 0.05 + share / 0.1) * (1 + np.cos(np.pi * share)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = [augment(rng, pairs[i], crop, ignore) for i in rng.integers(0, len(pairs), 8)]
        target = torch.from_numpy(np.stack([labels for _, labels in batch])).long()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(prepare(np.stack([image for image, _ in batch])))
        logits = functional.interpolate(logits.float(), size=crop, mode="bilinear", align_corners=False)
        loss = functional.cross_entropy(logits, target, weights, ignore_index=ignore)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step, shown = step + 1, 0.98 * shown + 0.02 * float(loss.detach())
        if step % 100 == 0:
            print(
                f"step {step}  {time.monotonic() - start:.0f} s  loss {shown / (1 - 0.98**step):.3f}",
                flush=True,
            )
    network.eval()


def score(
    network: nn.Module,
    pairs: Iterator[Pair],
    classes: int,
    ignore: int = 255,
    prepare: Callable[[Bytes], torch.Tensor] = normalised,
) -> Scores:
    """How well the network does on whole frames."""
    scores = Scores(classes, ignore)
    for image, labels in pairs:
        with torch.inference_mode():
            logits = network(prepare(image[None]))
            logits = functional.interpolate(logits, size=labels.shape, mode="bilinear", align_corners=False)
        scores.update(labels, logits.argmax(1)[0].numpy().astype(np.uint8))
    return scores


def save(network: nn.Module, path: Path, report: Callable[[str], None] = print) -> None:
    """Write the weights alone, as plain fp32, without the counts of batches that only training reads."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    torch.save({name: tensor for name, tensor in state.items() if not name.endswith("batches_tracked")}, path)
    report(
        f"{path}: {path.stat().st_size / 1e6:.2f} MB, "
        f"{sum(p.numel() for p in network.parameters())} parameters"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=900, help="time to train, without making the scenes")
    parser.add_argument(
        "--steps", type=int, default=100_000, help="or this many steps of 8 crops, if that ends sooner"
    )
    parser.add_argument("--drives", type=int, default=60, help="drives to train on, of 12 frames each")
    parser.add_argument("--out", type=Path, default=Path("edge_vss/demo/weights/streetnet.pt"))
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start = time.monotonic()
    pairs = [pair for i in range(options.drives) for pair in scene(TRAIN_SEEDS + i, frames=12, every=27)]
    print(f"{len(pairs)} frames made in {time.monotonic() - start:.0f} s", flush=True)
    network = streetnet(len(CLASSES))
    fit(network, pairs, len(CLASSES), (224, 320), options.seconds, options.steps)
    save(network, options.out)
    for seed in UNSEEN_SEEDS:
        report = score(network, scene(seed, frames=25, every=10), len(CLASSES)).result(CLASSES)
        print(
            f"unseen drive {seed}: mIoU {report.miou:.1f}",
            *(f"{k} {v or 0:.1f}" for k, v in report.iou.items()),
        )


if __name__ == "__main__":
    main()
