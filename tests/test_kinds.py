"""Networks that are no semantic segmentors are refused by what they are."""

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402

from edge_vss.converters.conversion import Conversion  # noqa: E402
from edge_vss.converters.readers import _load as models  # noqa: E402
from edge_vss.converters.readers._kinds import refuse_inputs, refuse_task  # noqa: E402
from edge_vss.converters.readers._outputs import Wanted, choose, counted  # noqa: E402
from edge_vss.errors import ModelError, OptionError  # noqa: E402
from tests.helpers.conversion import SIZE, Outputs, save_exported, trained  # noqa: E402

PICTURE = (96, 160)
WANTED = Wanted(4, PICTURE)
Shapes = dict[str, tuple[int, ...]]


def outputs(shapes: Shapes, whole: tuple[str, ...] = ()) -> dict[str, Tensor]:
    return {
        name: torch.zeros(shape, dtype=torch.int64) if name in whole else torch.rand(shape)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ({"output0": (1, 84, 315)}, "gives a list of things, as a detector does"),
        ({"output0": (1, 300, 6)}, "gives a list of things"),
        ({"0": (1, 1, 100, 7)}, "gives a list of things"),
        ({"pred_logits": (1, 100, 92), "pred_boxes": (1, 100, 4)}, "a detector, which finds boxes"),
        ({"boxes": (7, 4), "scores": (7,)}, "a detector"),
        ({"num_dets": (1, 1), "det_boxes": (1, 100, 4), "det_scores": (1, 100)}, "a detector"),
        ({"detection_out": (1, 1, 200, 7)}, "a detector"),
        ({"output0": (1, 116, 315), "output1": (1, 32, 24, 40)}, "an instance segmentor"),
        ({"boxes": (5, 4), "scores": (5,), "masks": (5, 1, 28, 28)}, "an instance segmentor"),
        ({"class_queries": (1, 100, 5), "masks_queries": (1, 100, 24, 40)}, "an instance segmentor"),
        ({"logits": (1, 1000)}, "a classifier"),
        ({"0": (1, 1000, 1, 1)}, "a classifier"),
        ({"heatmap": (1, 17, 24, 40)}, "a pose estimator"),
        ({"keypoints": (1, 17, 3)}, "a pose estimator"),
        ({"predicted_depth": (1, 96, 160)}, "a depth estimator"),
        ({"disparity": (1, 1, 96, 160)}, "a depth estimator"),
        ({"flow_up": (1, 2, 96, 160)}, "optical flow"),
        ({"low_res_masks": (1, 3, 24, 40), "iou_predictions": (1, 3)}, "asked with points or boxes"),
        ({"image_embeddings": (1, 256, 6, 10)}, "an encoder, which gives features"),
        ({"last_hidden_state": (1, 60, 768)}, "an encoder"),
    ],
)
def test_other_networks_by_their_outputs(shapes: Shapes, kind: str) -> None:
    for classes in (2, 4, 17, 84, 256):
        with pytest.raises(ModelError, match=kind) as caught:
            choose(outputs(shapes), None, Wanted(classes, PICTURE))
        assert "give a semantic segmentor" in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "whole", "name"),
    [
        ({"out": (1, 4, 24, 40), "aux": (1, 7)}, (), "out"),
        ({"semantic": (1, 4, 24, 40), "depth": (1, 1, 24, 40)}, (), "semantic"),
        ({"depth": (1, 4, 24, 40), "semantic": (1, 4, 24, 40)}, (), "semantic"),
        ({"labels": (1, 96, 160), "score": (1, 9)}, ("labels",), "labels"),
        ({"semantic": (1, 4, 24, 40), "center": (1, 1, 24, 40), "offset": (1, 2, 24, 40)}, (), "semantic"),
    ],
)
def test_a_segmentor_with_more_outputs_is_none_of_them(
    shapes: Shapes, whole: tuple[str, ...], name: str
) -> None:
    assert choose(outputs(shapes, whole), None, WANTED) == name


def test_who_names_the_output_decides() -> None:
    assert choose(outputs({"heatmap": (1, 4, 24, 40)}), "heatmap", WANTED) == "heatmap"


def test_numbers_of_another_shape_are_no_labels() -> None:
    with pytest.raises(ModelError, match="neither scores"):
        choose(outputs({"det_classes": (1, 100)}, ("det_classes",)), "det_classes", WANTED)


class Distances(nn.Module):
    """One number for each pixel, in metres."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) * 80


@pytest.mark.parametrize(
    ("classes", "message"), [(2, "from 0 to 80 in 0, neither"), (5, "its numbers are no class ids")]
)
def test_distances_are_no_scores(tmp_path: Path, classes: int, message: str) -> None:
    path = save_exported(tmp_path, Distances())
    with pytest.raises(ModelError, match=message):
        models.load_network(Conversion(path, classes=classes))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["image_embeddings", "point_coords", "point_labels"], r"and this is .* asked with points or boxes"),
        (["pixel_values", "input_ids", "attention_mask"], "that reads text too"),
        (["image1", "image2"], "that compares pictures"),
        (["left", "right"], "that compares two pictures"),
        (["sample", "timestep"], "that draws pictures"),
        (["image", "mask"], r"takes 2 inputs \(image, mask\): it has to take one picture$"),
        ([], r"takes 0 inputs"),
    ],
)
def test_other_networks_by_their_inputs(names: list[str], kind: str) -> None:
    with pytest.raises(ModelError, match=kind):
        refuse_inputs(Path("net.onnx"), names)


@pytest.mark.parametrize(
    ("task", "kind"),
    [("detect", "a detector"), ("segment", "an instance segmentor"), ("classify", "a classifier"),
     ("pose", "a pose estimator"), ("obb", "a detector"), ("YOLO", "a detector"), ("ssd", "a detector"),
     ("Classification", "a classifier"), ("MaskRCNN", "a detector")],
)  # fmt: skip
def test_other_networks_by_their_own_word(task: str, kind: str) -> None:
    with pytest.raises(ModelError, match=f"{kind}.*its metadata says {task}"):
        refuse_task(Path("net.onnx"), task)


@pytest.mark.parametrize("task", ["semantic", "Segmentation", ""])
def test_a_segmentor_by_its_own_word(task: str) -> None:
    refuse_task(Path("net.onnx"), task)


@pytest.mark.parametrize(
    ("shapes", "count"),
    [
        ({"0": (1, 19, 24, 40)}, 19),
        ({"0": (1, 24, 40, 19)}, 19),
        ({"0": (19, 24, 40)}, 19),
        ({"0": (1, 1, 24, 40)}, None),
        ({"0": (1, 19, 24, 40), "1": (1, 19, 12, 20)}, 19),
        ({"0": (1, 19, 24, 40), "1": (1, 5, 24, 40)}, None),
        ({"0": (1, 300, 24, 40)}, None),
    ],
)
def test_classes_are_counted(shapes: Shapes, count: int | None) -> None:
    assert counted(outputs(shapes), None, PICTURE, False) == count


@pytest.mark.parametrize("form", ["softmax", "labels"])
def test_a_model_without_named_classes(tmp_path: Path, form: str) -> None:
    path = save_exported(tmp_path, trained(Outputs(form)))
    load: Callable[[], object] = lambda: models.load_network(Conversion(path, size=SIZE))  # noqa: E731
    if form == "labels":
        with pytest.raises(OptionError, match="--classes is missing"):
            load()
    else:
        network = models.load_network(Conversion(path, size=SIZE))
        assert network.classes.names == ("class 0", "class 1", "class 2")
        assert network.notes["classes"] == "3, counted: name them with --classes"
