"""Folders of segmentation_models.pytorch, with random weights, compared with the package's own networks."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edge_vss import bundle  # noqa: E402
from edge_vss.converters.conversion import Conversion, Preprocess  # noqa: E402
from edge_vss.converters.convert import convert  # noqa: E402
from edge_vss.converters.inputs import pictures  # noqa: E402
from edge_vss.converters.ops.normalize import Normalize  # noqa: E402
from edge_vss.converters.readers import _load as models  # noqa: E402
from edge_vss.converters.readers._recognise import reader_of  # noqa: E402
from edge_vss.converters.readers._smp import DPN, HALVES, IMAGENET, _of_encoder  # noqa: E402
from edge_vss.errors import MissingExtra, ModelError, OptionError  # noqa: E402
from tests.helpers.smp import segmentation_models  # noqa: E402

SIZE = (64, 96)
CONFIG = {"_model_class": "Unet", "encoder_name": "resnet18", "encoder_weights": "imagenet", "classes": 3}
KINDS: dict[str, dict[str, Any]] = {
    "Unet": {"encoder_name": "resnet18", "classes": 1},
    "FPN": {"encoder_name": "resnet18", "classes": 4},
    "DeepLabV3Plus": {"encoder_name": "resnet18", "classes": 4},
    "Segformer": {"encoder_name": "mit_b0", "classes": 4},
    "DPT": {"encoder_name": "tu-vit_tiny_patch16_224", "classes": 4, "dynamic_img_size": True},
    "UPerNet": {"encoder_name": "tu-mobilenetv3_small_050", "classes": 4},
}


def folder(path: Path, kind: str, **more: Any) -> Any:
    """A saved network with random weights, whose answer has several classes."""
    smp = segmentation_models()
    torch.manual_seed(1)
    network = getattr(smp, kind)(encoder_weights=None, **{**KINDS[kind], **more})
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        network.eval()
        mean = network(torch.randn(1, 3, *SIZE)).flatten(2).mean(2)[0]
        head = [m for m in network.modules() if getattr(m, "out_channels", 0) == len(mean)][-1]
        head.bias.sub_(mean)
    network.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "encoder_weights": "imagenet"}))
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_those_of_the_package(tmp_path: Path, kind: str) -> None:
    network = folder(tmp_path / "net", kind)
    manifest = convert(Conversion(tmp_path / "net", size=SIZE), tmp_path / "a.vss")
    assert bundle.read(tmp_path / "a.vss") == manifest
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    notes = manifest.options["model"]
    assert notes["kind"] == f"folder of segmentation_models.pytorch ({kind})"
    assert "mean" in notes["from_model"]
    prepare = notes["preprocess"]
    given = Preprocess(tuple(prepare["mean"]), tuple(prepare["std"]))
    loaded = models.load_network(Conversion(tmp_path / "net", size=SIZE))
    seen: set[int] = set()
    for image in pictures(SIZE, 3, seed=5):
        with torch.no_grad():
            scores = network(Normalize(given)(image))
            ours = loaded.after(loaded.model(loaded.before(image)))
        theirs = (scores > 0).long()[:, 0] if kind == "Unet" else scores.argmax(1)
        assert (ours.argmax(1) == theirs).float().mean() >= 0.9999
        seen |= set(theirs.unique().tolist())
    assert len(seen) > 1, "pictures of one class compare nothing"
    if kind == "Unet":
        assert manifest.classes == ("background", "foreground")
        assert "foreground where it is high" in notes["form"]


def test_sizes(tmp_path: Path) -> None:
    folder(tmp_path / "net", "FPN", classes=1)
    with pytest.raises(OptionError, match="multiples of 32, and --size is 70x96: give 64x96 or 96x96"):
        convert(Conversion(tmp_path / "net", size=(70, 96)), tmp_path / "a.vss")
    with pytest.raises(OptionError, match=r"--size is missing: the FPN in .* in multiples of 32"):
        convert(Conversion(tmp_path / "net"), tmp_path / "a.vss")
    transform = {"__version__": "2", "transform": {"__class_fullname__": "Compose", "transforms": [
        {"__class_fullname__": "Resize", "height": 64, "width": 96},
        {"__class_fullname__": "Normalize", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
         "max_pixel_value": 255.0, "normalization": "standard"},
    ]}}  # fmt: skip
    (tmp_path / "net" / "albumentations_config_eval.json").write_text(json.dumps(transform))
    network = models.load_network(Conversion(tmp_path / "net", std=(1.0, 1.0, 1.0)))
    assert network.size == (64, 96)
    assert network.preprocess == Preprocess((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert network.notes["from_model"] == "1 class name, mean, scale, bgr"


def test_a_folder_that_is_not_whole(tmp_path: Path) -> None:
    folder(tmp_path / "net", "Unet")
    damaged = shutil.copytree(tmp_path / "net", tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:9999])
    with pytest.raises(ModelError, match="a damaged safetensors file"):
        convert(Conversion(damaged, size=SIZE), tmp_path / "a.vss")
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    for change, message in (
        ({"encoder_name": "resnet34"}, "is not made for the Unet of its folder"),
        ({"_model_class": "Nonsense"}, "is a Nonsense, which segmentation_models_pytorch .* has not"),
        ({"encoder_name": "nosuch"}, "cannot be built as a Unet"),
    ):
        (tmp_path / "net" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ModelError, match=message) as caught:
            convert(Conversion(tmp_path / "net", size=SIZE), tmp_path / "a.vss")
        assert "\n" not in str(caught.value)


# --- what needs no package


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_model_class": None}, "does not say which network it is"),
        ({"in_channels": 4}, "takes pictures of 4 channels"),
        ({"classes": 300}, "has 300 classes"),
        ({}, r"has no weights \(model\.safetensors\)"),
    ],
)
def test_folders_that_cannot_be(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **change}))
    assert reader_of(tmp_path).name == "smp"
    with pytest.raises(ModelError, match=message) as caught:
        convert(Conversion(tmp_path, size=SIZE), tmp_path / "a.vss")
    assert "\n" not in str(caught.value)


def test_without_the_package_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(MissingExtra, match=r'pip install "edge-vss\[convert-smp\]"'):
        convert(Conversion(tmp_path, size=SIZE), tmp_path / "a.vss")


@pytest.mark.parametrize(
    ("encoder", "weights", "expected"),
    [
        ("resnet34", "imagenet", IMAGENET),
        ("efficientnet-b0", "advprop", HALVES),
        ("inceptionv4", "imagenet", HALVES),
        ("xception", "imagenet", HALVES),
        ("dpn68", "imagenet", DPN),
        ("mit_b2", "None", IMAGENET),
    ],
)
def test_what_an_encoder_expects_of_its_pixels(encoder: str, weights: str, expected: Any) -> None:
    found = _of_encoder(encoder, weights)
    assert (found.mean, found.std) == expected and found.scale == 1 / 255
