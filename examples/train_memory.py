"""Trains LMANet or TV3S on CamVid, on one CPU core, for trying networks with a memory on real video.

EDGE_VSS_DATA=... python examples/train_memory.py lmanet --out lmanet.pth    (or tv3s; --seconds, --clips)

First the network as one for pictures, on crops of the labelled stills; then what remembers, on short clips
made of the stills (moving_stills.py). CamVid is CC BY-NC 4.0, so weights made from it are for non-commercial
use.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moving_stills import Bytes, clip, things
from torch import Tensor
from torch.nn import functional
from train_camvid import CLASSES, UNLABELLED, pairs
from train_streets import fit

from edge_vss.converters.networks import lmanet, mit, tv3s
from edge_vss.converters.ops.local_attention import memory_read
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.selective_scan import in_chunks

OUTPUTS = len(CLASSES) + 1
FRAMES, CROP, BATCH, THINGS = 3, (240, 320), 4, (8, 9, 10)
ERF_MEAN, ERF_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
TV3S_MEAN, TV3S_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Clip = list[tuple[Bytes, Bytes]]


class Pictures(torch.nn.Module):
    """A network for clips, as one for pictures: what it gives without a memory."""

    def __init__(self, network: Any, scores: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.scores = network, scores

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.network, x)


def lmanet_alone(network: Any, x: Tensor) -> Tensor:
    scores: Tensor = network(x)
    return scores


def lmanet_clip(network: Any, frames: list[Tensor]) -> Tensor:
    """Scores of the last frame, which reads those before."""
    with torch.no_grad():
        encoded = [network.encode(frame) for frame in frames]
    slots = [[x.permute(0, 2, 3, 1) for x in network.memorise(feature)] for feature in encoded[:-1]]
    keys, values = (torch.cat(parts) for parts in zip(*slots, strict=True))
    key, value = network.ask(encoded[-1])
    read = memory_read(key, keys, values, torch.zeros(len(slots)), 21)
    scores: Tensor = network.decode(network.fuse(value, read))
    return scores


def tv3s_alone(network: Any, x: Tensor) -> Tensor:
    size = (int(x.shape[2]), int(x.shape[3]))
    scores = network.classify(network.feature(x))
    return bilinear(scores, size, align_corners=False)


def tv3s_clip(network: Any, frames: list[Tensor]) -> Tensor:
    """Scores of the last frame, in the light of those before."""
    size = (int(frames[0].shape[2]), int(frames[0].shape[3]))
    memory = network.nothing(size)
    for frame in frames:
        with torch.no_grad():
            feature = network.feature(frame)
        seen, memory = network.remember(feature.permute(0, 2, 3, 1), memory)
    return bilinear(network.classify(seen.permute(0, 3, 1, 2)), size, align_corners=False)


def learn(
    network: Any,
    clips: list[Clip],
    scores: Callable[[Any, list[Tensor]], Tensor],
    prepare: Callable[[Any], Tensor],
    parameters: list[Any],
    seconds: float,
) -> None:
    """Train ``parameters`` on the clips; batch norms stay as they are."""
    rng, peak = np.random.default_rng(3), 1e-3
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.01)
    start, step, shown = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, 0.05 + share / 0.05) * (1 + np.cos(np.pi * share)) / 2
        optimizer.zero_grad()
        for _ in range(BATCH):
            made = clips[rng.integers(0, len(clips))]
            y, x = (
                rng.integers(0, have - want + 1) for have, want in zip(made[0][1].shape, CROP, strict=True)
            )
            window = np.s_[y : y + CROP[0], x : x + CROP[1]]
            frames = [prepare(np.ascontiguousarray(image[window])[None]) for image, _ in made]
            target = torch.from_numpy(np.ascontiguousarray(made[-1][1][window])[None]).long()
            loss = functional.cross_entropy(scores(network, frames), target, ignore_index=UNLABELLED)
            (loss / BATCH).backward()  # type: ignore[no-untyped-call]
            shown = 0.98 * shown + 0.02 * loss.item()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}  {time.monotonic() - start:.0f} s  loss {shown:.3f}", flush=True)


def normalised(images: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W)."""
    x = torch.from_numpy(np.asarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(mean).reshape(1, 3, 1, 1)) / torch.tensor(std).reshape(1, 3, 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("family", choices=("lmanet", "tv3s"))
    parser.add_argument("--seconds", type=float, default=1200, help="on stills; a third of it on clips")
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    stills = pairs(Path(os.environ.get("EDGE_VSS_DATA", ".")) / "camvid", "train")
    network: Any
    learned: tuple[str, ...]
    if options.family == "lmanet":
        network, alone, remembering = lmanet.erf(OUTPUTS), lmanet_alone, lmanet_clip
        mean, std = ERF_MEAN, ERF_STD
        learned = ("kv_", "memory_fusion", "decoder")
    else:
        vars(tv3s)["selective_scan"] = in_chunks  # of which torch knows the gradient
        network = tv3s.TV3S(mit.MiT(mit.VARIANTS["mit-b0"]), OUTPUTS)
        for layer in network.decode_head.vs.layers:
            states = torch.arange(1, tv3s.STATES + 1).float()
            layer.mixer.A_log.data.copy_(states.log().expand(tv3s.INNER, -1))
            torch.nn.init.constant_(layer.mixer.dt_proj.bias, -4.0)
            torch.nn.init.ones_(layer.mixer.D)
        alone, remembering = tv3s_alone, tv3s_clip
        mean, std = TV3S_MEAN, TV3S_STD
        learned = ("decode_head.vs", "decode_head.linear_pred2")

    def prepare(images: Any) -> Tensor:
        return normalised(images, mean, std)

    fit(
        Pictures(network, alone), stills, OUTPUTS, CROP, options.seconds, 100_000, UNLABELLED, prepare=prepare
    )
    rng = np.random.default_rng(1)
    patches = things(stills, THINGS)
    clips = [
        clip(rng, stills[i % len(stills)], [patches[j] for j in rng.integers(0, len(patches), 2)], FRAMES)
        for i in range(options.clips)
    ]
    network.eval()
    parameters = [value for name, value in network.named_parameters() if name.startswith(learned)]
    learn(network, clips, remembering, prepare, parameters, options.seconds / 3)
    prefix = "module." if options.family == "lmanet" else ""
    torch.save({prefix + name: value for name, value in network.state_dict().items()}, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
