import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_vss.bundle import TensorSpec
from edge_vss.converters.targets._onnx_passes import prelu_as_max, prune, uncopy, upsample_channels_last
from edge_vss.converters.targets.onnx import export, reveal
from edge_vss.converters.values import Part
from edge_vss.errors import ModelError

IMAGE = TensorSpec("image", (1, 3, 12, 16), "float32")
LABELS = TensorSpec("labels", (1, 48, 64), "uint8")
SCORES = TensorSpec("scores", (1, 5, 48, 64), "float32")


class Upsampled(nn.Module):
    """A network that ends in an upsampling of its own, as most do, and what `key` makes of it."""

    def __init__(self, align: bool = False) -> None:
        super().__init__()
        self.layer, self.align = nn.Conv2d(3, 5, 3, padding=1), align

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = F.interpolate(self.layer(x), (48, 64), mode="bilinear", align_corners=self.align)
        return scores.argmax(1).to(torch.uint8), scores.sum().reshape(1), scores


def part(module: nn.Module | None = None) -> Part:
    check = TensorSpec("score_check", (1,), "float32")
    return Part("key", module or Upsampled(), (IMAGE,), (LABELS, check), (SCORES,))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    (artifact,) = export([part()], folder, {"key": {"edge_vss": json.dumps({"role": "key"})}})
    assert (artifact.role, artifact.file, artifact.data) == ("key", "key.onnx", "")
    return folder


def test_one_file_that_old_devices_read(exported: Path) -> None:
    assert [path.name for path in exported.iterdir()] == ["key.onnx"]
    model = onnx.load(exported / "key.onnx", load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version <= 10
    assert not any(
        tensor.HasField("data_location") and tensor.data_location for tensor in model.graph.initializer
    )
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["labels", "score_check"]
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props} == {
        "edge_vss": {"role": "key"}
    }
    onnx.checker.check_model(model, full_check=True)


def test_no_path_of_this_machine_travels_along(exported: Path) -> None:
    data = (exported / "key.onnx").read_bytes()
    for trace in (b"/home", b"site-packages", b".py", str(Path(__file__).parent).encode()):
        assert trace not in data


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Upsampled()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export([part(module)], tmp_path / name, {})
    assert (tmp_path / "a" / "key.onnx").read_bytes() == (tmp_path / "b" / "key.onnx").read_bytes()


@pytest.mark.parametrize("align", [False, True])
def test_upsampling_moves_to_channels_last_and_keeps_every_result(tmp_path: Path, align: bool) -> None:
    module = Upsampled(align).eval()
    made = part(module)
    export([made], tmp_path, {})
    reveal(tmp_path / "key.onnx", made.hidden, tmp_path / "open.onnx")
    nodes = onnx.load(tmp_path / "key.onnx").graph.node
    resize = next(node for node in nodes if node.op_type == "Resize")
    best = next(node for node in nodes if node.op_type == "ArgMax")
    assert resize.output[0] == best.input[0] and next(a.i for a in best.attribute if a.name == "axis") == 3
    x = torch.randn(1, 3, 12, 16)
    with torch.no_grad():
        labels, _, scores = module(x)
    found = ort.InferenceSession(tmp_path / "open.onnx").run(["labels", "scores"], {"image": x.numpy()})
    assert (found[0] == labels.numpy()).mean() > 0.999
    np.testing.assert_allclose(found[1], scores.numpy(), atol=1e-5)


def test_the_check_sum_sees_a_nan(exported: Path) -> None:
    session = ort.InferenceSession(exported / "key.onnx")
    picture = np.zeros(IMAGE.shape, np.float32)
    assert np.isfinite(session.run(["score_check"], {"image": picture})[0]).all()
    picture[0, 1, 5, 5] = np.nan
    assert np.isnan(session.run(["score_check"], {"image": picture})[0]).all()


@pytest.mark.parametrize("kind", ["scales", "sizes"])
@pytest.mark.parametrize("second_reader", [False, True])
def test_the_pass_reads_both_ways_to_write_a_resize(kind: str, second_reader: bool) -> None:
    ratio = np.array([1, 1, 2, 3], np.float32) if kind == "scales" else np.array([1, 4, 10, 18], np.int64)
    resize = ["x", "", "r"] if kind == "scales" else ["x", "", "", "r"]
    nodes = [
        helper.make_node("Resize", resize, ["up"], mode="linear"),
        helper.make_node("ArgMax", ["up"], ["best"], axis=1, keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info("best", TensorProto.INT64, [1, 10, 18])]
    if second_reader:
        nodes.append(helper.make_node("Relu", ["up"], ["other"]))
        outputs.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 4, 10, 18]))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 6])
    graph = helper.make_graph(nodes, "g", [value], outputs, [numpy_helper.from_array(ratio, "r")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    feed = {"x": np.random.default_rng(0).normal(size=(1, 4, 5, 6)).astype(np.float32)}
    before = ort.InferenceSession(model.SerializeToString()).run(None, feed)
    upsample_channels_last(model)
    onnx.checker.check_model(model)
    assert any(node.op_type == "Einsum" for node in model.graph.node) is not second_reader
    for one, other in zip(
        before, ort.InferenceSession(model.SerializeToString()).run(None, feed), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["score_check", "mean"])
def test_only_the_check_sum_may_move_before_the_upsampling(name: str) -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "r"], ["up"], mode="linear"),
        helper.make_node("ArgMax", ["up"], ["best"], axis=1, keepdims=0),
        helper.make_node("ReduceSum", ["up"], ["total"], keepdims=0),
        helper.make_node("Reshape", ["total", "one"], [name]),
    ]
    outputs = [
        helper.make_tensor_value_info("best", TensorProto.INT64, [1, 10, 12]),
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]),
    ]
    weights = [
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "r"),
        numpy_helper.from_array(np.array([1]), "one"),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 6])
    model = helper.make_model(helper.make_graph(nodes, "g", [value], outputs, weights))
    upsample_channels_last(model)
    assert any(node.op_type == "Einsum" for node in model.graph.node) is (name == "score_check")


def test_what_no_output_needs_is_dropped() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Mul", ["x", "unread weight"], ["aside"]),
        helper.make_node("Neg", ["aside"], ["further aside"]),
    ]
    value, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y"))
    weight = numpy_helper.from_array(np.ones(2, np.float32), "unread weight")
    model = helper.make_model(helper.make_graph(nodes, "g", [value], [result], [weight]))
    prune(model)
    assert [node.op_type for node in model.graph.node] == ["Relu"]
    assert not model.graph.initializer


def test_a_copy_gives_its_name_to_what_it_copies() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["inner"]),
        helper.make_node("Identity", ["inner"], ["scores"]),
        helper.make_node("Neg", ["inner"], ["y"]),
        helper.make_node("Identity", ["x"], ["logits"]),
    ]
    value, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y"))
    model = helper.make_model(helper.make_graph(nodes, "g", [value], [result]))
    uncopy(model, {"scores", "logits"})
    made = [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node]
    assert made == [("Relu", ["x"], ["scores"]), ("Neg", ["scores"], ["y"]), ("Identity", ["x"], ["logits"])]


class OnlyTraced(nn.Module):
    """Reads a tensor's value to choose its way: torch.export refuses that, tracing does not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if float(x.sum()) >= 0 else x


class Impossible(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.eigvals(x @ x.transpose(2, 3)).real
        return values


def test_the_older_exporter_is_tried_too(tmp_path: Path) -> None:
    out = TensorSpec("out", IMAGE.shape, "float32")
    export([Part("key", OnlyTraced(), (IMAGE,), (out,))], tmp_path, {})
    x = np.ones(IMAGE.shape, np.float32)
    np.testing.assert_array_equal(
        ort.InferenceSession(tmp_path / "key.onnx").run(None, {"image": x})[0], x * 2
    )


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    out = TensorSpec("out", (1, 3, 12), "float32")
    with pytest.raises(ModelError, match="key: torch cannot export") as caught:
        export([Part("key", Impossible(), (IMAGE,), (out,))], tmp_path, {})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_outputs_have_to_be_what_the_part_says(tmp_path: Path) -> None:
    wrong = TensorSpec("out", (1, 3, 12, 17), "float32")
    with pytest.raises(ModelError, match="have to be"):
        export([Part("key", nn.ReLU(), (IMAGE,), (wrong,))], tmp_path, {})


@pytest.mark.parametrize("slope", [[0.25], [-0.5, 0.0, 1.0], [0.25, 1.5, 0.1], [float("nan"), 0.1, 0.2]])
def test_a_prelu_becomes_the_larger_of_two_where_that_is_the_same(slope: list[float]) -> None:
    weight = np.array(slope, np.float32).reshape(-1, 1, 1)
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [helper.make_node("PRelu", ["x", "slope"], ["y"])],
        "prelu",
        [value("x", TensorProto.FLOAT, [1, 3, 4, 5])],
        [value("y", TensorProto.FLOAT, [1, 3, 4, 5])],
        [numpy_helper.from_array(weight, "slope")],
    )
    plain = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    changed = onnx.ModelProto()
    changed.CopyFrom(plain)
    prelu_as_max(changed)
    onnx.checker.check_model(changed)
    kinds = [node.op_type for node in changed.graph.node]
    assert kinds == (["Mul", "Max"] if max(slope) <= 1 and not np.isnan(slope).any() else ["PRelu"])
    x = np.random.default_rng(0).normal(0, 3, (1, 3, 4, 5)).astype(np.float32)
    x[0, 0, 0] = [0, np.inf, np.nan, -1e-40, 1e38]
    (before,), (after,) = (
        ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for m in (plain, changed)
    )
    np.testing.assert_array_equal(before, after)
