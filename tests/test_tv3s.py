"""Family tv3s: released checkpoints, streams against clips, frames without the encoder, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_vss import bundle
from edge_vss.cli import app
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.networks import mit, swin
from edge_vss.converters.networks.tv3s import STATES, TAPS, TV3S, Layer
from edge_vss.converters.ops.resize import bilinear
from edge_vss.converters.ops.windows import cut
from edge_vss.converters.readers._untrained_weights import fill
from edge_vss.errors import ModelError, OptionError
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from tests.helpers.cli import CliRunner
from tests.helpers.videos import encode, pan

pytest.importorskip("transformers", reason="the encoders' blocks come from transformers")

SIZE = (64, 96)
CLASSES = 7
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def network(variant: str = "mit-b0", classes: int = CLASSES, window: int = 20) -> TV3S:
    kind: Any = swin.Swin(swin.VARIANTS[variant]) if "swin" in variant else mit.MiT(mit.VARIANTS[variant])
    made = TV3S(kind, classes, window)
    fill(made)
    return made.eval().requires_grad_(False)


def released(folder: Path, variant: str = "mit-b0", classes: int = CLASSES) -> Path:
    """A checkpoint in the released layout: mmcv's wrapping, and the heads that are not used."""
    state = dict(network(variant, classes).state_dict())
    state["decode_head.conv_seg.weight"] = torch.zeros(classes, 128, 1, 1)
    state["decode_head.linear_pred.weight"] = torch.zeros(classes, 256, 1, 1)
    if "swin" in variant:
        state["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49).long()
    path = folder / f"tv3s_{variant}.pth"
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, path)
    return path


def make(folder: Path, **options: Any) -> bundle.Manifest:
    logits = options.pop("logits", False)
    return convert(
        Conversion(
            released(folder),
            family="tv3s",
            size=SIZE,
            logits=logits,
            options={"variant": "mit-b0", **options},
        ),
        folder / "t.vss",
    )


def clip_at_once(tv3s: TV3S, features: list[Tensor]) -> list[Tensor]:
    """What is seen in every frame of a clip (h, w, 256), computed layer by layer for the whole clip: in each
    window all tokens of the first frame, then all of the second (the paper's training and mode 0)."""
    size = (int(features[0].shape[1]), int(features[0].shape[2]))
    hidden: list[Tensor] = []
    residual = [feature.reshape(-1, 256) for feature in features]
    for number, layer in enumerate(tv3s.decode_head.vs.layers):
        assert isinstance(layer, Layer)
        residual = [r + h for r, h in zip(residual, hidden, strict=True)] if number else residual
        groups = cut(size, tv3s.window, bool(number % 2))
        normed = [layer.norm(r) for r in residual]
        tokens = torch.cat([torch.cat([n[g.reshape(-1)] for n in normed]) for g in groups])
        extents = [(len(features) * g.shape[0], g.shape[1]) for g in groups]
        count = sum(g.shape[1] for g in groups)
        nothing = torch.zeros(count, STATES, 512), torch.zeros(TAPS - 1, count, 512)
        found, _ = layer.mixer(tokens, extents, nothing)
        hidden = [torch.empty_like(r) for r in residual]
        for group, part in zip(groups, found.split([a * b for a, b in extents]), strict=True):
            for frame, its in enumerate(part.chunk(len(features))):
                hidden[frame][group.reshape(-1)] = its
    norm = tv3s.decode_head.vs.norm_f
    return [norm(r + h).reshape(*size, 256) for r, h in zip(residual, hidden, strict=True)]


def test_twelve_streamed_frames_are_the_clip(tmp_path: Path) -> None:
    make(tmp_path, logits=True)
    tv3s, clip = network(), encode(tmp_path / "v.mp4", pan(12, SIZE))
    session = load(tmp_path / "t.vss").session(logits=True)
    features, streamed = [], []
    with open_source(clip) as source:
        for frame in source:
            streamed.append(session.step(frame))
            x = torch.from_numpy(frame.picture.rgb(SIZE)[None]).permute(0, 3, 1, 2).float()
            x = (x - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
            features.append(tv3s.feature(x).permute(0, 2, 3, 1))
    equal = []
    for prediction, seen in zip(streamed, clip_at_once(tv3s, features), strict=True):
        scores = tv3s.classify(seen.permute(2, 0, 1)[None])
        assert prediction.logits is not None
        apart = np.abs(prediction.logits - scores[0].numpy()).max()
        assert apart <= 1e-4 * float(scores.abs().max())
        larger = bilinear(
            bilinear(scores, (16, 24), align_corners=False), frame.size, align_corners=False
        ).argmax(1)
        equal.append((prediction.labels == larger[0].numpy()).mean())
    assert np.mean(equal) >= 0.999


@pytest.mark.parametrize(("carry", "again"), [("seen", ("nonkey",)), ("feature", ("nonkey", "state"))])
def test_frames_in_between_skip_the_encoder(tmp_path: Path, carry: str, again: tuple[str, ...]) -> None:
    manifest = make(tmp_path, carry=carry, window=4)
    assert manifest.routes == {"start": ("key", "state"), "key": ("key", "state"), "nonkey": again}
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    clip = encode(tmp_path / "v.mp4", pan(7, SIZE))
    session = load(tmp_path / "t.vss").session("interval:3")
    routes, hidden = [], []
    with open_source(clip) as source:
        for frame in source:
            routes.append(session.step(frame).decision.route)
            hidden.append(session.state["ssm_odd"].copy())
    assert routes == ["start", "nonkey", "nonkey", "key", "nonkey", "nonkey", "key"]
    assert np.array_equal(hidden[0], hidden[1]) == (carry == "seen")


@pytest.mark.parametrize("variant", ["mit-b2", "swin-t"])
def test_other_encoders_convert(tmp_path: Path, variant: str) -> None:
    out = tmp_path / "t.vss"
    command = ["convert", str(released(tmp_path, variant)), "--family", "tv3s", "--variant", variant]
    done = CliRunner().invoke(app, [*command, "--size", "64x64", "--window", "4", "-o", str(out)])
    assert done.exit_code == 0, done.output
    manifest = bundle.read(out)
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999 and len(manifest.classes) == CLASSES
    clip = encode(tmp_path / "v.mp4", pan(3, SIZE))
    assert CliRunner().invoke(app, ["run", str(out), str(clip)]).exit_code == 0


def test_the_state_is_as_large_as_published() -> None:
    tv3s = network(classes=124)
    state = sum(4 * part.numel() for memory in tv3s.nothing((480, 864)) for part in memory)
    assert tv3s.windows((480, 864)) == (18, 28)
    assert state / 1e6 == pytest.approx(7.16, abs=0.005)
    state = sum(4 * part.numel() for memory in tv3s.nothing((512, 1024)) for part in memory)
    assert state / 1e6 == pytest.approx(10.58, abs=0.005)


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({}, (480, 853), "--size 480x853: TV3S takes multiples of 32, such as 480x864"),
        ({"window": 5}, SIZE, "--window 5: .* give an even one"),
        ({"carry": "keys"}, SIZE, "family tv3s carries seen or feature"),
        ({"variant": "mit-b9"}, SIZE, "no variant is called 'mit-b9': family tv3s has mit-b0, .*swin-l"),
        ({"memory": 3}, SIZE, "family tv3s has no option 'memory'"),
    ],
)
def test_options_that_cannot_be(
    tmp_path: Path, options: dict[str, Any], size: tuple[int, int], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        convert(
            Conversion(None, family="tv3s", size=size, options={"variant": "mit-b0", **options}),
            tmp_path / "t.vss",
        )


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    model = released(tmp_path)
    for variant in ("mit-b1", "swin-t"):
        with pytest.raises(ModelError, match=r"check --variant") as caught:
            convert(
                Conversion(model, family="tv3s", size=SIZE, options={"variant": variant}), tmp_path / "t.vss"
            )
        assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match=f"--classes has 9 classes, and .* scores {CLASSES}"):
        convert(
            Conversion(model, family="tv3s", classes="streets", size=SIZE, options={"variant": "mit-b0"}),
            tmp_path / "t.vss",
        )
    torch.save({"state_dict": {"backbone.x": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="it is not a checkpoint of TV3S"):
        convert(
            Conversion(tmp_path / "other.pth", family="tv3s", options={"variant": "mit-b0"}),
            tmp_path / "t.vss",
        )
