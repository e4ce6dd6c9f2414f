"""Trains a small Mask2Former on CamVid's stills, on one CPU core, for train_mpvss.py.

  python examples/train_mask2former.py --begin tests/data/arseg_camvid/high.pth --out segmentor/

EDGE_VSS_DATA has to hold camvid/train. The network stands on the ResNet-18 of AR-Seg's high branch
(train_arseg.py), which stays as it is. It is written as a folder of Hugging Face.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from train_camvid import CLASSES, UNLABELLED, pairs
from train_streets import augment

from edge_vss.converters.networks.arseg import VARIANTS

CROP = (256, 320)
BATCH = 4
QUERIES = 24
AR_SEG = VARIANTS["camvid-bise18"]


def segmentor() -> Any:
    """A Mask2Former of 1.1 million parameters."""
    import transformers

    backbone = transformers.ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64, 128],
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
        num_queries=QUERIES,
        output_auxiliary_logits=True,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
        train_num_points=4096,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


NAMES = (
    (r"^conv1", "embedder.embedder.convolution"),
    (r"^bn1", "embedder.embedder.normalization"),
    (r"^layer(\d)\.(\d)\.conv([12])", r"encoder.stages.\1.layers.\2.layer.\3.convolution"),
    (r"^layer(\d)\.(\d)\.bn([12])", r"encoder.stages.\1.layers.\2.layer.\3.normalization"),
    (r"^layer(\d)\.(\d)\.downsample\.0", r"encoder.stages.\1.layers.\2.shortcut.convolution"),
    (r"^layer(\d)\.(\d)\.downsample\.1", r"encoder.stages.\1.layers.\2.shortcut.normalization"),
)
"""Of torchvision's ResNet → of the library's, which counts stages and layers from 0."""


def begun(network: Any, path: Path) -> None:
    """Give the backbone the weights of AR-Seg's high branch, and keep it so."""
    encoder, found = network.model.pixel_level_module.encoder, {}
    for key, value in torch.load(path, weights_only=True).items():
        name = key.removeprefix("module.")
        if not name.startswith("cp.resnet."):
            continue
        name = name.removeprefix("cp.resnet.")
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        name = re.sub(r"stages\.(\d)", lambda m: f"stages.{int(m[1]) - 1}", name)
        name = re.sub(r"\.layer\.(\d)", lambda m: f".layer.{int(m[1]) - 1}", name)
        found[name] = value.float()
    missing, unexpected = encoder.load_state_dict(found, strict=False)
    if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
        raise SystemExit(f"{path} is not the backbone that is wanted: {missing[:3]} {unexpected[:3]}")
    encoder.requires_grad_(False)


def pixels(images: Any) -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W), normalised."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(AR_SEG.mean).reshape(1, 3, 1, 1)) / torch.tensor(AR_SEG.std).reshape(1, 3, 1, 1)


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


def train(begin: Path, seconds: float, out: Path) -> None:
    """Mask2Former's own loss, and the cross entropy of the mixture at every layer."""
    stills = pairs(Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid", "train")
    counts = np.sum([np.bincount(labels.ravel(), minlength=256)[: len(CLASSES)] for _, labels in stills], 0)
    weights = torch.tensor(
        np.clip((counts.sum() / (len(CLASSES) * counts)) ** 0.4, 0.5, 3), dtype=torch.float32
    )
    rng, network = np.random.default_rng(0), segmentor()
    begun(network, begin)
    network.train().model.pixel_level_module.encoder.eval()
    learning = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3, weight_decay=0.02)
    step, shown, cycle = 0, np.zeros(2), Cycle(seconds, 1.5e-3)
    while cycle.goes_on(optimizer):
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
        torch.nn.utils.clip_grad_norm_(learning, 5.0)
        optimizer.step()
        step, shown = step + 1, 0.98 * shown + 0.02 * np.array([float(mixture), float(matched)])
        if step % 20 == 0:
            print(f"step {step}  {cycle.seconds:.0f} s  {(shown / (1 - 0.98**step)).round(3)}", flush=True)
        if step % 100 == 0:
            keep(network, out)
    keep(network, out)


def keep(network: Any, out: Path) -> None:
    """The segmentor as a folder of Hugging Face, in half precision."""
    import transformers

    made = copy.deepcopy(network).half()
    made.config.output_auxiliary_logits = None
    made.save_pretrained(out)
    size = {"height": 360, "width": 480}
    mean, std = list(AR_SEG.mean), list(AR_SEG.std)
    transformers.Mask2FormerImageProcessorPil(size=size, image_mean=mean, image_std=std).save_pretrained(out)


class Cycle:
    """One cycle of a learning rate over so many seconds of this process's own time."""

    def __init__(self, seconds: float, peak: float) -> None:
        self.whole, self.peak, self.start = seconds, peak, time.process_time()

    @property
    def seconds(self) -> float:
        """How many have gone by. What else the machine does is not counted."""
        return time.process_time() - self.start

    @property
    def share(self) -> float:
        """Of the whole."""
        return self.seconds / self.whole

    def goes_on(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether there is time for a step; sets the step's rate."""
        share = self.share
        rate = self.peak * min(1, 0.05 + share / 0.05) * (1 + np.cos(np.pi * min(share, 1))) / 2
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        return share < 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--begin", type=Path, required=True, help="AR-Seg's high branch")
    parser.add_argument("--seconds", type=float, default=700, help="of CPU time")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    train(options.begin, options.seconds, options.out)


if __name__ == "__main__":
    main()
