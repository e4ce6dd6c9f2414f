"""Family arseg: checkpoints as they were released, both branches as graphs, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_vss import bundle
from edge_vss.cli import app
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.networks.arseg import VARIANTS, branches, published_gmac
from edge_vss.converters.readers._untrained_weights import fill
from edge_vss.converters.verify import verify
from edge_vss.errors import EdgeVssError, ModelError, OptionError
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from tests.helpers.cli import CliRunner
from tests.helpers.videos import encode, pan

SIZE = (96, 128)
WIDTH = 0.125


def released(folder: Path, variant: str = "camvid-bise18", width: float = WIDTH) -> tuple[Path, Path]:
    """A pair of files in the released layout: prefix, aliases, heads of training, counts of batches."""
    high, low = branches(VARIANTS[variant], 19 if "city" in variant else 12, width)
    for network in (high, low):
        fill(network)
    with torch.no_grad():
        for name, tensor in low.classifier.state_dict().items():
            tensor.copy_(high.classifier.state_dict()[name])
    paths = []
    for name, network in (("HR", high), ("LR", low)):
        state = dict(network.state_dict())
        for alias, own in VARIANTS[variant].aliases.items():
            state |= {alias + key.removeprefix(own): v for key, v in state.items() if key.startswith(own)}
        for head in VARIANTS[variant].auxiliary:
            state[f"{head}conv.weight"] = torch.zeros(3, 3)
        path = folder / name / "PSPNet_resnet18_0.5_99_.pth"
        path.parent.mkdir(exist_ok=True)
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
        paths.append(path)
    return paths[0], paths[1]


def make(folder: Path, variant: str = "camvid-bise18", **options: Any) -> bundle.Manifest:
    high, low = released(folder, variant)
    return convert(
        Conversion(low, family="arseg", size=SIZE, options={"variant": variant, "high": high, **options}),
        folder / "a.vss",
    )


@pytest.mark.parametrize(
    "variant", ["camvid-bise18", "camvid-psp18", "cityscapes-psp18", "cityscapes-bise18"]
)
def test_a_released_pair_converts_and_agrees_over_a_rollout(tmp_path: Path, variant: str) -> None:
    manifest = make(tmp_path, variant)
    assert len(manifest.parity["steps"]) == 12
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    for numbers in (*manifest.parity["graphs"].values(), manifest.parity["rollout"]):
        assert all(apart <= 1e-4 for apart in numbers.get("max_abs", {}).values())
    assert manifest.options["width"] == WIDTH and manifest.options["scale"] == 0.5
    assert manifest.policy == "gop:12" and manifest.motion is not None
    assert (manifest.motion.trace, manifest.motion.sampling) == ("exact", "corners")
    assert len(manifest.classes) == (19 if "city" in variant else 12)


def test_one_command_converts_and_one_runs(tmp_path: Path) -> None:
    high, low = released(tmp_path)
    out, clip = tmp_path / "a.vss", encode(tmp_path / "v.mp4", pan(30, (96, 128)))
    command = ["convert", str(low), "--family", "arseg", "--variant", "camvid-bise18", "--hr", str(high)]
    done = CliRunner().invoke(app, [*command, "--scale", "0.5", "--size", "96x128", "-o", str(out)])
    assert done.exit_code == 0, done.output
    session = load(out).session()
    with open_source(clip) as source:
        routes = [session.step(frame).decision.route for frame in source]
    assert routes == ["start", *["nonkey"] * 11, "key", *["nonkey"] * 11, "key", *["nonkey"] * 5]
    assert verify(out, Conversion(low, options={"high": high})).measured
    with pytest.raises(OptionError, match="--hr is missing"):
        verify(out, Conversion(low))


def test_logits_are_given_on_every_route(tmp_path: Path) -> None:
    high, low = released(tmp_path)
    options = {"variant": "camvid-bise18", "high": high}
    manifest = convert(
        Conversion(low, family="arseg", size=SIZE, logits=True, options=options), tmp_path / "a.vss"
    )
    for role in ("key", "nonkey"):
        assert manifest.graph(role).outputs[-2].shape == (1, 12, 12, 16)


def test_a_large_feature_is_fused_in_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_vss.converters.families import arseg

    monkeypatch.setattr(arseg, "LARGE_PX", 100)
    monkeypatch.setattr(arseg, "STRIP_ROWS", 40)
    manifest = make(tmp_path, "camvid-psp18")
    assert manifest.routes["nonkey"] == ("nonkey",)
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999


def test_scores_that_have_to_be_resized_are_not_fused_in_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_vss.converters.families import arseg

    monkeypatch.setattr(arseg, "LARGE_PX", 100)
    high, low = released(tmp_path, "camvid-psp18")
    options = {"variant": "camvid-psp18", "high": high}
    manifest = convert(Conversion(low, family="arseg", size=(92, 124), options=options), tmp_path / "a.vss")
    assert manifest.routes["nonkey"] == ("state", "nonkey")


def test_untrained_needs_no_file_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "u.vss"
    command = ["convert", "--untrained", "--family", "arseg", "--variant", "cityscapes-bise18"]
    done = CliRunner().invoke(app, [*command, "--width", "0.125", "--size", "96x160", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert bundle.read(out).options["model"]["untrained"] is True
    assert "UNTRAINED" in CliRunner().invoke(app, ["inspect", str(out)]).output


@pytest.mark.parametrize(
    ("variant", "high", "low", "fusion", "average"),
    [
        ("camvid-psp18", 308.64, 77.04, 1.73 + 4.34, 101.89),
        ("camvid-bise18", 40.12, 10.18, 0.11 + 0.27, 13.02),
        ("cityscapes-psp18", 559.46, 134.92, 0.77 + 1.64, 172.5),
        ("cityscapes-bise18", 121.41, 30.31, 0.39 + 0.82, 39.0),
    ],
)
def test_cost_is_what_the_paper_counts(
    variant: str, high: float, low: float, fusion: float, average: float
) -> None:
    found = published_gmac(variant)
    for name, expected in (("high", high), ("low", low), ("fusion", fusion), ("average", average)):
        assert found[name] == pytest.approx(expected, rel=0.01), name


@pytest.mark.parametrize(
    ("variant", "scales"),
    [
        ("camvid-bise18", {0.3: 3.67, 0.4: 6.39, 0.6: 14.47, 0.7: 19.75, 0.8: 25.57, 0.9: 32.71}),
        ("camvid-psp18", {0.3: 27.7, 0.4: 49.3, 0.6: 110.9, 0.7: 151.0, 0.8: 197.2, 0.9: 249.6}),
    ],
)
def test_cost_follows_the_scale(variant: str, scales: dict[float, float]) -> None:
    for scale, expected in scales.items():
        assert published_gmac(variant, scale)["low"] == pytest.approx(expected, rel=0.01), scale


def wrong_classifier(folder: Path) -> dict[str, Any]:
    high, low = released(folder)
    state = torch.load(high)
    state["module.conv_out.conv_out.weight"] += 1
    torch.save(state, high)
    return {"model": low, "high": high}


def missing_key(folder: Path) -> dict[str, Any]:
    high, low = released(folder)
    state = torch.load(low)
    del state["module.sp.conv1.conv.weight"]
    torch.save(state, low)
    return {"model": low, "high": high}


def other_network(folder: Path) -> dict[str, Any]:
    high, low = released(folder)
    torch.save({"encoder.weight": torch.zeros(3, 3)}, low)
    return {"model": low, "high": high}


def pair(folder: Path, **options: Any) -> dict[str, Any]:
    high, low = released(folder)
    return {"model": low, "high": high, **options}


BAD: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "high and low of other networks": (
        lambda folder: pair(folder, high=released_elsewhere(folder)),
        r"missing .*unexpected|has .* wants",
    ),
    "another variant": (
        lambda folder: pair(folder, variant="camvid-psp18"),
        r"has final_conv.weight .* camvid-psp18 wants",
    ),
    "other classes": (lambda folder: pair(folder, variant="cityscapes-bise18"), r"wants \(19"),
    "the wrong scale": (lambda folder: pair(folder, scale=0.6), "name says 0.5"),
    "no scale at all": (lambda folder: pair(folder, scale=7.0), "name says 0.5"),
    "another width": (lambda folder: pair(folder, width=1.0), "whose width is 0.125"),
    "a pair that was not trained together": (wrong_classifier, "not trained together"),
    "a missing key": (missing_key, r"1 missing \(sp.conv1.conv.weight\)"),
    "another network": (other_network, "not a checkpoint of AR-Seg"),
    "no high branch": (lambda folder: pair(folder, high=None), "--hr is missing"),
    "a variant nobody knows": (lambda folder: pair(folder, variant="ade20k"), "has camvid-psp18"),
    "too small a size": (lambda folder: pair(folder, size=(48, 64)), "give a larger size"),
    "means of one's own": (lambda folder: pair(folder, mean=(0.5, 0.5, 0.5)), "--mean is fixed"),
    "an option of another family": (lambda folder: pair(folder, carry="labels"), "has no option 'carry'"),
}


def released_elsewhere(folder: Path) -> Path:
    (folder / "psp").mkdir()
    return released(folder / "psp", "camvid-psp18")[0]


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    prepare, message = BAD[case]
    given = {"size": SIZE, "variant": "camvid-bise18", **prepare(tmp_path)}
    direct = {key: given.pop(key) for key in ("model", "size", "mean") if key in given}
    options = {key: value for key, value in given.items() if value is not None}
    with pytest.raises((ModelError, OptionError), match=message) as caught:
        convert(
            Conversion(direct.pop("model"), family="arseg", **direct, options=options), tmp_path / "a.vss"
        )
    assert isinstance(caught.value, EdgeVssError) and "\n" not in str(caught.value)
    assert not (tmp_path / "a.vss").exists()


def test_a_session_needs_the_feature_of_its_anchor(tmp_path: Path) -> None:
    make(tmp_path)
    session = load(tmp_path / "a.vss").session("interval:4")
    with open_source(encode(tmp_path / "v.mp4", pan(8, (96, 128)))) as source:
        features = [np.array(session.state["feature"]) for frame in source if session.step(frame)]
    for key in (0, 4):
        assert all(np.array_equal(features[key], features[key + i]) for i in (1, 2, 3))
    assert not np.array_equal(features[0], features[4])
