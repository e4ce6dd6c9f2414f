"""Family lmanet: released checkpoints, a memory that fills, frames without the encoder, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge_vss import bundle
from edge_vss.cli import app
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.networks.lmanet import VARIANTS, LMANet
from edge_vss.converters.ops.local_attention import OUTSIDE, memory_read
from edge_vss.converters.readers._untrained_weights import fill
from edge_vss.converters.verify import verify
from edge_vss.errors import ModelError, OptionError
from edge_vss.runtimes.engines import giving_arrays
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from tests.helpers.cli import CliRunner
from tests.helpers.videos import encode, pan

SIZE = (64, 96)


def network(variant: str = "erf", classes: int = 20) -> LMANet:
    made = VARIANTS[variant].build(classes)
    fill(made)
    return made.eval().requires_grad_(False)


def released(folder: Path, variant: str = "erf", classes: int = 20) -> Path:
    """A checkpoint in the released layout: ``module.`` before every name, and what is never used."""
    state = dict(network(variant, classes).state_dict())
    if variant == "psp101":
        state |= {f"memory_fusion.conv_layer_2.{k}": torch.zeros(3) for k in ("weight", "bias")}
    path = folder / f"lmanet_{variant}_best.pth"
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle for each of ``carry``, with the scores too."""
    folder, made = tmp_path_factory.mktemp("lmanet"), {}
    for carry in ("feature", "keys"):
        options = {"variant": "erf", "window": 5, "memory": 3, "carry": carry}
        made[carry] = folder / f"{carry}.vss"
        convert(
            Conversion(released(folder), family="lmanet", size=SIZE, logits=True, options=options),
            made[carry],
        )
    return made


def read_slowly(query: Tensor, keys: Tensor, values: Tensor, filled: int, window: int) -> Tensor:
    """The softmax over the slots that are filled, and only those, offset by offset."""
    height, width = query.shape[2:]
    around = window // 2
    keys, values = (F.pad(x.permute(0, 3, 1, 2), (around,) * 4) for x in (keys[:filled], values[:filled]))
    cut = [(y, x) for y in range(window) for x in range(window)]
    logits = torch.stack([(query * keys[:, :, y : y + height, x : x + width]).sum(1) for y, x in cut])
    weights = logits.reshape(-1, height, width).softmax(0).reshape(logits.shape)
    shifted = torch.stack([values[:, :, y : y + height, x : x + width] for y, x in cut])
    mixed: Tensor = (weights.unsqueeze(2) * shifted).sum((0, 1))
    return mixed.unsqueeze(0)


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    window=st.sampled_from([1, 3, 7, 21]),
    slots=st.integers(1, 4),
    filled=st.integers(1, 4),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_a_partly_filled_memory_is_read_as_if_it_were_smaller(
    height: int, width: int, window: int, slots: int, filled: int, tile: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(height * 31 + width)
    filled = min(filled, slots)
    query = torch.randn(1, 5, height, width, generator=generator)
    keys, values = (torch.randn(slots, height, width, c, generator=generator) for c in (5, 3))
    bias = torch.tensor([0.0] * filled + [OUTSIDE] * (slots - filled))
    torch.testing.assert_close(
        memory_read(query, keys, values, bias, window, tile),
        read_slowly(query, keys, values, filled, window),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_stream_is_what_the_original_computes_for_every_frame(
    tmp_path: Path, bundles: dict[str, Path]
) -> None:
    """S frames before each are encoded, and one softmax reads their keys and values: nothing else."""
    clip, trained = encode(tmp_path / "v.mp4", pan(7, SIZE)), network()
    session = load(bundles["feature"]).session(logits=True)
    slots: list[tuple[Tensor, Tensor]] = []
    with open_source(clip) as source:
        for frame in source:
            prediction = session.step(frame)
            x = torch.from_numpy(frame.picture.rgb(SIZE)[None]).permute(0, 3, 1, 2).float() / 255
            feature = encoded = trained.encode(x)
            if slots:
                keys, values = (torch.cat([slot[i] for slot in slots]).permute(0, 2, 3, 1) for i in (0, 1))
                key, value = trained.ask(encoded)
                feature = trained.fuse(value, read_slowly(key, keys, values, len(slots), 5))
            expected = trained.decode(feature)[0].numpy()
            slots = [trained.memorise(encoded), *slots][:3]
            assert prediction.logits is not None
            assert np.abs(prediction.logits - expected).max() <= 1e-4 * np.abs(expected).max()
            filled = min(len(slots), 3)
            assert session.state["slot_bias"].tolist() == [0.0] * filled + [OUTSIDE] * (3 - filled)


@pytest.mark.parametrize("carry", ["feature", "keys"])
def test_frames_in_between_skip_the_encoder(tmp_path: Path, bundles: dict[str, Path], carry: str) -> None:
    manifest = bundle.read(bundles[carry])
    assert manifest.graph("nonkey").gmac < 0.5 * manifest.graph("key").gmac
    clip = encode(tmp_path / "v.mp4", pan(7, SIZE))
    session = load(bundles[carry]).session("interval:3")
    routes, memory = [], []
    with open_source(clip) as source:
        for frame in source:
            prediction = session.step(frame)
            routes.append(prediction.decision.route)
            memory.append(session.state["memory_keys"].copy())
            assert "image" not in prediction.seconds or prediction.decision.route != "nonkey"
    assert routes == ["start", "nonkey", "nonkey", "key", "nonkey", "nonkey", "key"]
    # What is remembered are the full frames.
    assert np.array_equal(memory[0], memory[2]) and not np.array_equal(memory[2], memory[3])
    assert np.array_equal(memory[3][1], memory[2][0])


@pytest.mark.parametrize("carry", ["feature", "keys"])
def test_standing_still_the_frame_in_between_is_the_full_one(bundles: dict[str, Path], carry: str) -> None:
    segmenter = load(bundles[carry])
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    assert segmenter.manifest.motion is not None
    still = np.zeros((1, 2, *segmenter.manifest.motion.grid), np.float32)
    tensors = {"image": image, "motion": still, **segmenter.manifest.initial_state()}
    for _ in range(2):
        for role in ("key", "state"):
            tensors |= giving_arrays(segmenter.graphs[role])(tensors)
        shown, before = tensors["logits"], tensors
        tensors = {**tensors, **segmenter.manifest.next_state(tensors)}
    # The memory as the last full frame found it.
    again = giving_arrays(segmenter.graphs["nonkey"])(
        {**tensors, **{n: before[n] for n in ("memory_keys", "memory_values", "slot_bias")}}
    )
    np.testing.assert_allclose(again["logits"], shown, rtol=1e-4, atol=1e-5)


def test_one_command_converts_and_one_runs(tmp_path: Path) -> None:
    out, clip = tmp_path / "l.vss", encode(tmp_path / "v.mp4", pan(6, SIZE))
    command = ["convert", str(released(tmp_path)), "--family", "lmanet", "--variant", "erf"]
    more = ["--size", "64x96", "--memory", "6", "--window", "7", "-o", str(out)]
    done = CliRunner().invoke(app, [*command, *more])
    assert done.exit_code == 0, done.output
    manifest = bundle.read(out)
    assert manifest.graph("state").inputs[0].shape[0] == 6 and len(manifest.classes) == 20
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    assert CliRunner().invoke(app, ["run", str(out), str(clip)]).exit_code == 0
    shown = CliRunner().invoke(app, ["inspect", str(out)]).output
    assert "memory_values" in shown and "MB for every video" in shown
    assert verify(out, Conversion(tmp_path / "lmanet_erf_best.pth")).measured


def test_psp101_converts_too(tmp_path: Path) -> None:
    model = released(tmp_path, "psp101")
    options = {"variant": "psp101", "memory": 2, "window": 3}
    manifest = convert(Conversion(model, family="lmanet", size=(33, 49), options=options), tmp_path / "p.vss")
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    assert manifest.classes[-1] == "void" and manifest.options["memory"] == 2


def test_the_class_of_the_ignored_is_added_where_only_that_is_missing(tmp_path: Path) -> None:
    options = {"variant": "erf", "window": 3}
    model = released(tmp_path)
    manifest = convert(
        Conversion(model, family="lmanet", size=SIZE, classes="cityscapes", options=options),
        tmp_path / "l.vss",
    )
    assert manifest.classes[-2:] == ("bicycle", "void")
    with pytest.raises(OptionError, match=r"--classes has 9 classes, and .* scores 20: give 20"):
        convert(
            Conversion(model, family="lmanet", size=SIZE, classes="streets", options=options),
            tmp_path / "m.vss",
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": None}, "--variant is missing: family lmanet has erf, psp101"),
        ({"variant": "erfnet"}, "no variant is called 'erfnet'"),
        ({"window": 4}, "--window 4: .*odd"),
        ({"window": 0}, "--window 0"),
        ({"memory": 0}, "--memory 0: slots in memory, 1 to 64"),
        ({"carry": "labels"}, "--carry 'labels': family lmanet carries feature or keys"),
        ({"high": "x"}, "family lmanet has no option 'high'"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given_ = {name: value for name, value in ({"variant": "erf"} | options).items() if value is not None}
    with pytest.raises(OptionError, match=message):
        convert(Conversion(None, family="lmanet", size=SIZE, options=given_), tmp_path / "l.vss")


@pytest.mark.parametrize(
    ("variant", "size", "message"),
    [
        ("erf", (500, 1001), "--size 500x1001: erf takes multiples of 8, such as 496x1000"),
        ("psp101", (1024, 2048), "psp101 takes multiples of 8 and 1 more, such as 1025x2049"),
    ],
)
def test_sizes_that_the_network_cannot_take(
    tmp_path: Path, variant: str, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        convert(
            Conversion(None, family="lmanet", size=size, options={"variant": variant}), tmp_path / "l.vss"
        )


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    def refused(model: Path, variant: str = "erf") -> str:
        with pytest.raises(ModelError) as caught:
            convert(
                Conversion(model, family="lmanet", size=SIZE, options={"variant": variant}),
                tmp_path / "l.vss",
            )
        assert "\n" not in str(caught.value) and not (tmp_path / "l.vss").exists()
        return str(caught.value)

    model = released(tmp_path)
    with pytest.raises(ModelError, match="--variant"):
        convert(
            Conversion(model, family="lmanet", size=(65, 97), options={"variant": "psp101"}),
            tmp_path / "l.vss",
        )
    state = torch.load(model, weights_only=True)
    # The original's loader would go on with weights that nobody has trained.
    renamed = {key.replace("kv_Q_r4", "kv_q"): value for key, value in state.items()}
    torch.save(renamed, tmp_path / "renamed.pth")
    assert "kv_Q_r4.Key.weight" in refused(tmp_path / "renamed.pth")
    torch.save({"module.encoder.x": torch.zeros(3)}, tmp_path / "other.pth")
    assert "it is not a checkpoint of LMANet" in refused(tmp_path / "other.pth")


def test_a_state_of_a_longer_memory_is_refused(tmp_path: Path, bundles: dict[str, Path]) -> None:
    segmenter = load(bundles["feature"])
    session = segmenter.session()
    with open_source(encode(tmp_path / "v.mp4", pan(3, SIZE))) as source:
        for frame in source:
            session.step(frame)
    session.state.save(tmp_path / "drive.state")
    shorter = replace(segmenter.manifest, options={**segmenter.manifest.options, "memory": 2})
    with pytest.raises(OptionError, match="is the state of --memory 3, and this bundle has 2"):
        replace(segmenter, manifest=shorter).session().state.restore(tmp_path / "drive.state")
