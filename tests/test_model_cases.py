"""Networks as other tools write them: no batch axis, half precision, nodes out of order, one class, ..."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edge_vss import load, open_source  # noqa: E402
from edge_vss.converters.conversion import Conversion  # noqa: E402
from edge_vss.converters.convert import convert  # noqa: E402
from edge_vss.errors import ModelError  # noqa: E402


@pytest.fixture(scope="module")
def cases(data: Path) -> Path:
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip("the cases are not here")
    return folder


@pytest.mark.parametrize(
    ("file", "classes", "form"),
    [
        ("models/unsorted_fp16.onnx", 4, "scores (N, C, H, W)"),
        ("models/msdomain_fusedconv.onnx", 4, "scores (N, C, H, W)"),
        ("models/if_op.onnx", 4, "scores (N, C, H, W)"),
        ("models/sigmoid1_nhwc.onnx", 2, "one probability: class 1 where it is high, class 0 elsewhere"),
        ("models/sigmoid1.onnx", 1, "one probability: class 0 where it is high, background elsewhere"),
        ("models/sigmoid1_hw.onnx", 2, "one probability: class 1 where it is high, class 0 elsewhere"),
        ("models/scores_chw.onnx", 4, "scores (C, H, W)"),
        ("models/labels_hw.onnx", 4, "labels"),
        ("models/labels_float.onnx", 4, "labels"),
        ("models/fp16_io.onnx", 4, "scores (N, C, H, W)"),
        ("fp16_input_onnx/half_in.onnx", 8, "scores (N, C, H, W)"),
        ("one_channel_one_class/one0.pt", 1, "one logit: class 0 where it is high, background elsewhere"),
        (
            "one_channel_one_class/one1.pt",
            1,
            "one probability: class 0 where it is high, background elsewhere",
        ),
    ],
)
def test_what_other_tools_write_is_converted(
    cases: Path, tmp_path: Path, file: str, classes: int, form: str
) -> None:
    size = (120, 160) if file.endswith(".pt") else None
    manifest = convert(Conversion(cases / file, classes=classes, size=size), tmp_path / "a.vss")
    assert manifest.options["model"]["form"] == form
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999


def test_one_score_of_one_class_marks_the_foreground(cases: Path, tmp_path: Path) -> None:
    conversion = Conversion(cases / "one_channel_one_class" / "one0.pt", classes=1, size=(120, 160))
    manifest = convert(conversion, tmp_path / "a.vss")
    assert manifest.classes == ("background", "class 0")
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, :80, 0], image[:, 80:, 1] = 200, 200
    with open_source([image]) as source:
        labels = load(tmp_path / "a.vss").session().step(next(iter(source))).labels
    # The network is positive where red is more than green.
    assert (labels[:, :80] == 1).all() and (labels[:, 80:] == 0).all()


@pytest.mark.parametrize(
    ("file", "classes"), [("models/yoloseg_like.onnx", 4), ("yolo_seg_prototypes/yolo_seg_320.onnx", 80)]
)
def test_an_instance_segmentor_is_refused_by_its_name(
    cases: Path, tmp_path: Path, file: str, classes: int
) -> None:
    with pytest.raises(ModelError, match="this is an instance segmentor"):
        convert(Conversion(cases / file, classes=classes), tmp_path / "a.vss")
    assert not list(tmp_path.iterdir())


def test_nodes_in_a_circle_are_refused(tmp_path: Path) -> None:
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, 1, (1, 3, 16, 16)) for name in ("x", "y")]
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "x"], ["b"])]
    nodes.append(helper.make_node("Relu", ["b"], ["y"]))
    graph = helper.make_graph(nodes, "circle", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"has nodes that wait for each other \(Add\): export it again"):
        convert(Conversion(tmp_path / "net.onnx", classes=3), tmp_path / "a.vss")
