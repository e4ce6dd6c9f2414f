"""Smaller numbers on every target: what stays float, what it costs, and what is refused."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge_vss import bundle, load
from edge_vss.cli import app
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.silence import quiet
from edge_vss.converters.verify import verify
from edge_vss.errors import MissingExtra, ModelError, OptionError
from edge_vss.runtimes.engines import giving_arrays
from edge_vss.runtimes.tools.self_check import check
from tests.helpers.cli import CliRunner
from tests.helpers.conversion import SIZE, factory_file, save_exported, save_onnx, save_state_dict
from tests.helpers.videos import encode, pan

TARGETS = ("onnx", "openvino", "tflite")
NEEDS = {"onnx": "onnxruntime", "openvino": "nncf", "tflite": "litert_torch"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("calibration") / "drive.mp4", pan(48, SIZE))


def made(folder: Path, target: str, precision: str, **options: Any) -> Path:
    pytest.importorskip(NEEDS[target], exc_type=ImportError)
    folder.mkdir(exist_ok=True)
    path = folder / f"{target}-{precision}.vss"
    convert(
        Conversion(
            save_state_dict(folder),
            classes=3,
            size=SIZE,
            factory=factory_file(folder),
            target=target,
            precision=precision,
            **options,
        ),
        path,
    )
    return path


@pytest.mark.parametrize("target", TARGETS)
def test_int8_loses_little_and_says_how_much(tmp_path: Path, video: Path, target: str) -> None:
    path = made(tmp_path, target, "int8", calibrate=video)
    manifest = bundle.read(path)
    lost = manifest.precision
    assert lost["weights"] == "int8"
    assert lost["calibration"] == {"video": "drive.mp4", "frames": 24, "measured": 24}
    assert lost["bytes"]["fp32"] > 0 and lost["bytes"]["int8"] == size_of(path)
    assert (lost["layers"], lost["float_layers"]) == (2, [])
    assert 0.9 < lost["against_fp32"]["labels_equal"] < 1 and 80 < lost["against_fp32"]["miou"] < 100
    # What the graphs are compared with torch by is what they were before.
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    assert check(path).hashes == "ok"
    again = verify(path, Conversion(tmp_path / "weights.pt", factory=str(tmp_path / "network.py:build")))
    assert 0.9 < again.parity["rollout"]["labels_equal"] < 1


@pytest.mark.parametrize(
    ("target", "precision"), [("onnx", "int8"), ("openvino", "int8"), ("tflite", "int8"), ("tflite", "fp16")]
)
def test_what_is_quantised_already_is_not_once_more(
    tmp_path: Path, video: Path, target: str, precision: str
) -> None:
    path = made(tmp_path, target, "int8", calibrate=video)
    given = path / ("graphs.tflite" if target == "tflite" else bundle.read(path).graphs[0].file)
    again = Conversion(
        given,
        classes=3,
        output_name="0" if target == "tflite" else "labels",
        precision=precision,
        calibrate=video if precision == "int8" else None,
    )
    with pytest.raises(ModelError, match=f"is quantised already: leave --precision {precision} out"):
        convert(again, tmp_path / "again.vss")
    assert not (tmp_path / "again.vss").exists()


def test_a_graph_that_is_quantised_as_it_runs_is_refused_too(tmp_path: Path, video: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    plain, given = save_onnx(tmp_path), tmp_path / "dynamic.onnx"
    with quiet():
        quantize_dynamic(plain, given, op_types_to_quantize=["Conv"])
    with pytest.raises(ModelError, match="key is quantised already"):
        convert(Conversion(given, classes=3, precision="int8", calibrate=video), tmp_path / "a.vss")


def test_layers_may_be_named_beside_those_that_are_found(tmp_path: Path, video: Path) -> None:
    kept = {"calibrate": video, "keep_float": ("auto", "first")}
    path = made(tmp_path, "onnx", "int8", **kept)
    assert any(name.endswith(".first") for name in bundle.read(path).precision["float_layers"])
    with pytest.raises(OptionError, match="--keep-float key/foo: the model has no such layer"):
        made(tmp_path / "b", "onnx", "int8", calibrate=video, keep_float=("auto", "key/foo"))


def test_what_a_crop_does_not_show_is_no_label(tmp_path: Path) -> None:
    wide = encode(tmp_path / "wide.mp4", pan(48, (SIZE[0], 2 * SIZE[1])))
    maps = tmp_path / "maps"
    maps.mkdir()
    for index in range(48):
        true = np.full((SIZE[0], 2 * SIZE[1]), 3, np.uint8)
        true[:, SIZE[1] :] = index % 3
        cv2.imwrite(str(maps / f"{index:03d}.png"), true)
    path = made(
        tmp_path, "onnx", "int8", calibrate=wide, fit="crop", ground_truth=maps, ignore=3, match="order"
    )
    found = bundle.read(path).precision
    assert 0 <= found["against_ground_truth"]["int8_miou"] <= 100
    whole = made(tmp_path / "whole", "onnx", "int8", calibrate=wide)
    # Half of a frame is not shown, and would count as equal.
    apart = bundle.read(whole).precision["against_fp32"]["labels_equal"]
    assert abs(found["against_fp32"]["labels_equal"] - apart) < 0.05


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if file.name != "manifest.json")


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_stays_float_by_the_name_it_has_in_torch(tmp_path: Path, video: Path, target: str) -> None:
    path = made(tmp_path, target, "int8", calibrate=video, keep_float=("second",))
    lost = bundle.read(path).precision
    (kept,) = lost["float_layers"]
    assert kept.startswith("key/") and kept.endswith("second") and lost["layers"] == 2
    assert float_weights(path, target) == 1


class Spread(nn.Module):
    """The nearest of three colours, beside a channel a thousand times as large as they are.

    With one scale for all channels, nothing is left of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)
        colours = torch.tensor([[0.2, 0.2, 0.2], [0.5, 0.5, 0.5], [0.8, 0.8, 0.8]])
        with torch.no_grad():
            for layer in (self.first, self.middle, self.last):
                for value in layer.parameters():
                    value.zero_()
            self.first.weight[:3, :, 0, 0] = torch.eye(3)
            self.first.weight[3, 0] = 1.0
            self.middle.weight[:, :, 0, 0] = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1000.0]))
            self.last.weight[:, :3, 0, 0] = 2 * colours
            self.last.bias = nn.Parameter(-(colours**2).sum(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(self.middle(self.first(x)))
        return scores


def test_the_layers_that_cost_most_stay_float_by_themselves(tmp_path: Path, video: Path) -> None:
    model = save_exported(tmp_path, Spread().eval())
    shared = ["convert", str(model), "--classes", "3", "--precision", "int8", "--calibrate", str(video)]
    plain, kept = tmp_path / "plain.vss", tmp_path / "kept.vss"
    said = CliRunner().invoke(app, [*shared, "-o", str(plain)]).stderr
    assert bundle.read(plain).precision["against_fp32"]["labels_equal"] < 0.9
    assert "warning: int8 changes" in said and "--keep-float auto" in said
    assert "0 of 3 layers stayed float" in said and "warning: int8 made the graphs larger" in said
    done = CliRunner().invoke(app, [*shared, "--keep-float", "auto", "-o", str(kept)])
    lost = bundle.read(kept).precision
    # The layer that gives the large channel, and the one that reads it: int8 rounds both ends of a layer.
    middle, last = lost["float_layers"]
    assert done.exit_code == 0 and middle.endswith("middle") and last.endswith("last")
    assert lost["against_fp32"]["labels_equal"] > 0.95 and lost["tries"][0]["float"] == 0
    shown = CliRunner().invoke(app, ["inspect", str(kept)]).stderr
    for text in (done.stderr, shown):
        assert f"2 of 3 layers stayed float: {middle}, {last}" in text
        assert "warning: int8 changes" not in text
        assert "on 24 frames of drive.mp4 (second and fourth quarter)" in text


class Attention(nn.Module):
    """Two convolutions, and between them products of tensors that all depend on the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 32, 4, 4), nn.Conv2d(32, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        tokens = x.flatten(2)
        alike = (tokens.transpose(1, 2) @ tokens).softmax(2)
        seen = (alike @ (2 * tokens.transpose(1, 2))).transpose(1, 2).reshape(x.shape)
        scores: torch.Tensor = self.last(x + seen)
        return scores


@pytest.mark.parametrize("target", TARGETS)
def test_products_of_what_depends_on_the_picture_are_no_layers(
    tmp_path: Path, video: Path, target: str
) -> None:
    pytest.importorskip(NEEDS[target], exc_type=ImportError)
    model = save_exported(tmp_path, Attention().eval())
    options: dict[str, Any] = {"classes": 3, "target": target, "precision": "int8", "calibrate": video}
    manifest = convert(Conversion(model, **options), tmp_path / "a.vss")
    assert manifest.precision["layers"] == 2 and check(tmp_path / "a.vss").hashes == "ok"
    kept = convert(Conversion(model, **options, keep_float=("auto",)), tmp_path / "b.vss")
    assert kept.precision["tries"][0]["float"] == 0


def float_weights(path: Path, target: str) -> int:
    """How many of the two layers' weights, which are 216 values each, are in fp32."""
    if target == "onnx":
        tensors = onnx.load(path / "key.onnx").graph.initializer
        held = [(tensor.data_type == onnx.TensorProto.FLOAT, tensor.dims) for tensor in tensors]
    elif target == "openvino":
        import openvino as ov

        nodes = ov.Core().read_model(path / "key.xml").get_ops()
        constants = [node for node in nodes if node.get_type_name() == "Constant"]
        held = [(node.get_element_type() == ov.Type.f32, node.shape) for node in constants]
    else:
        from ai_edge_litert.interpreter import Interpreter

        details = Interpreter(model_path=str(path / "graphs.tflite")).get_tensor_details()
        held = [(detail["dtype"] is np.float32, detail["shape"]) for detail in details]
    return sum(is_float and np.prod(shape) == 216 for is_float, shape in held)


@pytest.mark.parametrize("target", TARGETS)
def test_fp16_is_smaller_and_all_but_equal(tmp_path: Path, target: str) -> None:
    # Wide enough for halves to count; the tiny network's weights are a few hundred bytes.
    layers = (nn.Conv2d(3, 128, 3, 4, 1), nn.ReLU(), nn.Conv2d(128, 128, 3, 1, 1), nn.Conv2d(128, 3, 1))
    pytest.importorskip(NEEDS[target], exc_type=ImportError)
    model = save_exported(tmp_path, nn.Sequential(*layers).eval())
    full = convert(Conversion(model, classes=3, target=target), tmp_path / "full.vss")
    half = convert(Conversion(model, classes=3, target=target, precision="fp16"), tmp_path / "half.vss")
    sizes = [sum(f.stat().st_size for f in (tmp_path / f"{name}.vss").iterdir()) for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert half.precision["against_fp32"]["labels_equal"] > 0.99
    assert full.precision == {"weights": "fp32"}


def test_in_onnx_only_layers_are_whole_numbers(tmp_path: Path, video: Path) -> None:
    path = made(tmp_path, "onnx", "int8", calibrate=video, options={"carry": "scores"})
    kinds = {
        name: Counter(n.op_type for n in onnx.load(path / f"{name}.onnx").graph.node)
        for name in ("key", "state")
    }
    assert kinds["key"]["Conv"] == 2 and kinds["key"]["QuantizeLinear"] >= 2
    assert kinds["state"]["QuantizeLinear"] == kinds["state"]["DequantizeLinear"] == 0
    graph = onnx.load(path / "key.onnx").graph
    readers = {name: node.op_type for node in graph.node for name in node.input}
    quantised = {readers[node.output[0]] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert quantised <= {"Conv", "Relu", "Resize", "Transpose", "Einsum", "ReduceSum", "Identity"}
    contract = {entry.key: json.loads(entry.value) for entry in onnx.load(path / "key.onnx").metadata_props}
    assert contract["edge_vss"]["role"] == "key"


def test_what_is_lost_against_the_truth(tmp_path: Path, tiny_video: Path) -> None:
    from tests.helpers.bundles import make_bundle

    maps = tiny_video.parent / "truth"
    path = make_bundle(tmp_path, precision="int8", calibrate=tiny_video, ground_truth=maps)
    lost = bundle.read(path).precision["against_ground_truth"]
    assert set(lost) == {"fp32_miou", "int8_miou"} and abs(lost["fp32_miou"] - lost["int8_miou"]) < 20


def test_positions_survive_fp16(tmp_path: Path) -> None:
    """Half precision cannot count to 2100: the columns of a wide picture have to stay what they are."""
    pytest.importorskip("openvino")
    for target in TARGETS[:2]:
        made_options: dict[str, Any] = {"classes": 3, "size": (16, 2200), "factory": factory_file(tmp_path)}
        model = save_state_dict(tmp_path)
        path = tmp_path / f"wide-{target}.vss"
        convert(Conversion(model, target=target, precision="fp16", **made_options), path)
        segmenter = load(path)
        labels = np.tile(np.arange(2200) % 3, (1, 16, 1)).astype(np.uint8)
        motion = np.zeros((1, 2, 2, 275), np.float32)
        moved = giving_arrays(segmenter.graphs["state"])({"key_labels": labels, "motion": motion})["labels"]
        assert np.array_equal(moved, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "no precision is called 'int4': choose one of fp32, fp16, int8"),
        ({"precision": "int8"}, "--calibrate is missing"),
        ({"precision": "fp16", "calibrate": "x.mp4"}, "--calibrate is for --precision int8"),
        ({"precision": "int8", "calibrate": "missing.mp4"}, "missing.mp4 does not exist"),
        (
            {"precision": "fp16", "keep_float": ("auto",)},
            "--keep-float is for --precision int8, not for fp16",
        ),
        ({"ground_truth": "maps"}, "--ground-truth is the label maps of the video of --calibrate"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        convert(Conversion(save_exported(tmp_path), classes=3, **options), tmp_path / "a.vss")
    assert not (tmp_path / "a.vss").exists()


def test_a_short_video_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    short = encode(tmp_path / "short.mp4", pan(10, SIZE))
    with pytest.raises(OptionError, match=r"short\.mp4 has 10 frames, and int8 wants 24"):
        made(tmp_path, "onnx", "int8", calibrate=short)
    assert not list(tmp_path.glob("*.vss")) and not list(tmp_path.glob(".*"))


def test_without_its_quantiser_a_target_names_the_extra(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    pytest.importorskip("openvino")
    model = save_exported(tmp_path)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtra, match=r"edge-vss\[convert-openvino\]"):
        convert(
            Conversion(model, classes=3, target="openvino", precision="int8", calibrate=video),
            tmp_path / "a.vss",
        )
