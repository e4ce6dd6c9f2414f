"""Hugging Face folders of every kind, with random weights, compared with transformers' own pipeline."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from edge_vss import bundle  # noqa: E402
from edge_vss.cli import app  # noqa: E402
from edge_vss.converters.conversion import Conversion  # noqa: E402
from edge_vss.converters.convert import convert  # noqa: E402
from edge_vss.converters.families.propagate import to_labels  # noqa: E402
from edge_vss.converters.inputs import pictures  # noqa: E402
from edge_vss.converters.ops.normalize import Normalize  # noqa: E402
from edge_vss.converters.readers._transformers import is_folder, open_folder  # noqa: E402
from edge_vss.errors import ModelError, OptionError  # noqa: E402
from tests.helpers.cli import CliRunner  # noqa: E402

NAMES = {0: "road", 1: "car", 2: "person", 3: "sky", 4: "tree"}
LABELS = {"id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
SWIN = {
    "image_size": 96, "embed_dim": 16, "depths": [1] * 4, "num_heads": [1, 1, 2, 2], "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
VIT = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 37,
    "image_size": 64, "patch_size": 16,
}  # fmt: skip
DECODER = {
    "hidden_dim": 32, "encoder_feedforward_dim": 32, "encoder_layers": 2, "decoder_layers": 3,
    "num_attention_heads": 4, "dim_feedforward": 32, "num_queries": 10,
}  # fmt: skip


def segformer() -> tuple[Any, Any]:
    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=32,
        num_attention_heads=[1, 1, 2, 2], **LABELS,
    )  # fmt: skip
    processor = transformers.SegformerImageProcessorPil(size={"height": 96, "width": 128})
    return transformers.SegformerForSemanticSegmentation(config), processor


def beit() -> tuple[Any, Any]:
    config = transformers.BeitConfig(
        **VIT, out_indices=[1, 2, 3, 4], use_relative_position_bias=True, pool_scales=[1, 2, 3, 6], **LABELS
    )
    processor = transformers.BeitImageProcessorPil(size={"height": 64, "width": 64})
    return transformers.BeitForSemanticSegmentation(config), processor


def data2vec() -> tuple[Any, Any]:
    config = transformers.Data2VecVisionConfig(**VIT, out_indices=[0, 1, 2, 3], **LABELS)
    processor = transformers.BeitImageProcessorPil(size={"height": 64, "width": 64})
    return transformers.Data2VecVisionForSemanticSegmentation(config), processor


def dpt() -> tuple[Any, Any]:
    config = transformers.DPTConfig(
        **VIT,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        **LABELS,
    )
    processor = transformers.DPTImageProcessorPil(size={"height": 64, "width": 64})
    return transformers.DPTForSemanticSegmentation(config), processor


def mobilevit() -> tuple[Any, Any]:
    config = transformers.MobileViTConfig(
        hidden_sizes=[16, 16, 24], neck_hidden_sizes=[8, 8, 8, 16, 16, 16, 32], num_attention_heads=2,
        image_size=64, **LABELS,
    )  # fmt: skip
    crop = {"size": {"shortest_edge": 80}, "crop_size": {"height": 64, "width": 64}}
    return transformers.MobileViTForSemanticSegmentation(config), transformers.MobileViTImageProcessorPil(
        **crop
    )


def mobilevitv2() -> tuple[Any, Any]:
    config = transformers.MobileViTV2Config(width_multiplier=0.25, image_size=64, **LABELS)
    crop = {"size": {"shortest_edge": 80}, "crop_size": {"height": 64, "width": 64}}
    return transformers.MobileViTV2ForSemanticSegmentation(config), transformers.MobileViTImageProcessorPil(
        **crop
    )


def mobilenet() -> tuple[Any, Any]:
    config = transformers.MobileNetV2Config(depth_multiplier=0.25, image_size=64, output_stride=16, **LABELS)
    crop = {"size": {"shortest_edge": 80}, "crop_size": {"height": 65, "width": 65}}
    return transformers.MobileNetV2ForSemanticSegmentation(config), transformers.MobileNetV2ImageProcessorPil(
        **crop
    )


def upernet() -> tuple[Any, Any]:
    backbone = transformers.ConvNextConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=16, pool_scales=[1, 2], auxiliary_in_channels=24,
        auxiliary_channels=8, **LABELS,
    )  # fmt: skip
    processor = transformers.SegformerImageProcessorPil(size={"height": 64, "width": 96})
    return transformers.UperNetForSemanticSegmentation(config), processor


def mask2former() -> tuple[Any, Any]:
    config = transformers.Mask2FormerConfig(
        backbone_config=transformers.SwinConfig(**SWIN),
        feature_size=32,
        mask_feature_size=32,
        **DECODER,
        **LABELS,
    )
    return transformers.Mask2FormerForUniversalSegmentation(
        config
    ), transformers.Mask2FormerImageProcessorPil()


def maskformer() -> tuple[Any, Any]:
    decoder = transformers.DetrConfig(
        d_model=32, decoder_layers=2, decoder_ffn_dim=32, decoder_attention_heads=4, num_queries=10
    )
    config = transformers.MaskFormerConfig(
        backbone_config=transformers.SwinConfig(**SWIN), decoder_config=decoder, fpn_feature_size=32,
        mask_feature_size=32, **LABELS,
    )  # fmt: skip
    return transformers.MaskFormerForInstanceSegmentation(config), transformers.MaskFormerImageProcessorPil()


def eomt() -> tuple[Any, Any]:
    config = transformers.EomtConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=16,
        num_blocks=1, num_queries=10, num_upscale_blocks=2, **LABELS,
    )  # fmt: skip
    size = {"shortest_edge": 64, "longest_edge": 64}
    return transformers.EomtForUniversalSegmentation(config), transformers.EomtImageProcessorPil(size=size)


KINDS: tuple[Callable[[], tuple[Any, Any]], ...] = (
    segformer, beit, data2vec, dpt, mobilevit, mobilevitv2, mobilenet, upernet, mask2former, maskformer, eomt,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    yield


def spread(make: Callable[[], tuple[Any, Any]], size: tuple[int, int]) -> tuple[Any, Any]:
    """Random weights whose answer has several classes: no class scores better than another on the whole."""
    torch.manual_seed(1)
    model, processor = make()
    last = [m for m in model.modules() if getattr(m, "out_channels", getattr(m, "out_features", 0)) in (5, 6)]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.eval()
        for _ in range(4):
            outputs = model(pixel_values=torch.randn(1, 3, *size))
            scores = getattr(outputs, "logits", None)
            if scores is None:
                # Queries differ in what they are: each gets a class that it likes most.
                scores = outputs.class_queries_logits.transpose(1, 2)
                last[-1].weight.mul_(2)
            mean = scores.flatten(2).mean(2)[0]
            last[-1].bias.sub_(mean)
    return model, processor


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_labels_are_those_of_transformers(tmp_path: Path, make: Callable[[], tuple[Any, Any]]) -> None:
    model, processor = spread(make, (64, 64) if make is not segformer else (96, 128))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert is_folder(tmp_path)
    found = open_folder(tmp_path)
    assert found.classes is not None and found.classes.names == tuple(NAMES.values())
    assert found.preprocess is not None
    size = found.size or (96, 128)
    if processor.do_center_crop if hasattr(processor, "do_center_crop") else False:
        assert size == (processor.crop_size.height, processor.crop_size.width)
    seen: set[int] = set()
    for image in pictures(size, 3, seed=5):
        with torch.no_grad():
            ours = to_labels(found.network(Normalize(found.preprocess)(image)), size)[0].numpy()
            # The frame is brought to the size already: transformers resizes no further.
            wanted = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
            inputs = processor(image[0].numpy(), **wanted)
            outputs = model(pixel_values=inputs["pixel_values"])
        if make is eomt:
            outputs.patch_offsets = None
        theirs = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0].numpy()
        assert (ours == theirs).mean() >= 0.9999
        seen |= set(np.unique(theirs).tolist())
    assert len(seen) > 1, "pictures of one class compare nothing"


@pytest.mark.parametrize("make", [segformer, mask2former, eomt], ids=lambda make: make.__name__)
def test_a_folder_becomes_a_bundle_in_one_command(
    tmp_path: Path, make: Callable[[], tuple[Any, Any]]
) -> None:
    model, processor = spread(make, (96, 128) if make is not eomt else (64, 64))
    model.save_pretrained(tmp_path / "net")
    processor.save_pretrained(tmp_path / "net")
    size = (96, 128) if make is mask2former else None
    manifest = convert(Conversion(tmp_path / "net", size=size), tmp_path / "street.vss")
    assert bundle.read(tmp_path / "street.vss") == manifest
    assert manifest.classes == tuple(NAMES.values())
    assert manifest.frame_size == ((96, 128) if make is not eomt else (64, 64))
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999


def test_a_folder_that_does_not_say_what_pixels_it_wants(tmp_path: Path) -> None:
    model, _ = segformer()
    model.save_pretrained(tmp_path / "net")
    arguments = ["convert", str(tmp_path / "net"), "--size", "96x128", "-o", str(tmp_path / "street.vss")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "(the default; --mean, --std, --scale and --bgr change it)" in done.stderr
    notes = bundle.read(tmp_path / "street.vss").options["model"]
    assert notes["from_model"] == f"{len(NAMES)} class names"


def test_a_size_that_patches_do_not_fill_is_refused_with_the_next_ones(tmp_path: Path) -> None:
    model, processor = dpt()
    model.save_pretrained(tmp_path / "net")
    processor.save_pretrained(tmp_path / "net")
    with pytest.raises(OptionError, match="multiples of 16, and --size is 70x64: give 64x64 or 80x64"):
        convert(Conversion(tmp_path / "net", size=(70, 64)), tmp_path / "street.vss")


def test_a_folder_whose_pictures_keep_their_shape_wants_a_size(tmp_path: Path) -> None:
    model, processor = maskformer()
    model.save_pretrained(tmp_path / "net")
    processor.save_pretrained(tmp_path / "net")
    with pytest.raises(OptionError, match=r"--size is missing: .* such as --size 384x640"):
        convert(Conversion(tmp_path / "net"), tmp_path / "street.vss")


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    model, processor = segformer()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cannot be loaded .*download the folder again") as caught:
        open_folder(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights \(model\.safetensors\)"):
        open_folder(tmp_path)


def test_a_folder_with_code_is_refused(tmp_path: Path) -> None:
    model, _ = segformer()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSemanticSegmentation": "evil.Net"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(ModelError, match="brings its own code"):
        open_folder(tmp_path)


def test_an_encoder_without_its_head_is_refused(tmp_path: Path) -> None:
    model, _ = segformer()
    model.segformer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks .* of the network's weights .*without its .* head"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "yolos", "architectures": ["YolosForObjectDetection"]}, "which finds boxes"),
        (
            {"model_type": "segformer", "architectures": ["SegformerForImageClassification"]},
            "names whole pictures",
        ),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "writes text"),
        (
            {"model_type": "oneformer", "architectures": ["OneFormerForUniversalSegmentation"]},
            "is a OneFormer, .* give a Mask2Former",
        ),
        ({"model_type": "nosuch"}, "is a nosuch: give a semantic segmentor"),
    ],
)
def test_other_networks_are_refused_by_their_name(tmp_path: Path, config: Any, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=message):
        open_folder(tmp_path)


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(ModelError, match="is not valid JSON of at most 8 MB"):
        open_folder(tmp_path)
