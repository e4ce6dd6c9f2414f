"""Files as other people's tools write them: old opsets, scripts, names, half precision, quantised pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_vss import bundle, load
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.convert import convert
from edge_vss.converters.ops.normalize import Normalize
from edge_vss.converters.readers import _onnx_graph
from edge_vss.converters.readers import tflite as tflite_reader
from edge_vss.converters.readers._metadata import Said
from edge_vss.converters.silence import quiet
from edge_vss.errors import ModelError, OptionError
from tests.helpers.conversion import SIZE, save_onnx
from tests.helpers.videos import texture
from tests.test_readers_artifacts import as_tflite, rollout

CLASSES = 5
# torch gives these no types.
script: Any = torch.jit.script
trace: Any = torch.jit.trace


class Net(nn.Module):
    """Scores at a quarter of the size, and then what ``then`` makes of them."""

    def __init__(self, then: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, CLASSES, 3, stride=2, padding=1)
        )
        with torch.no_grad():
            for weights in self.parameters():
                weights.mul_(3)
        self.then = then

    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        scores = scores - scores.mean((2, 3), keepdim=True)
        return scores if self.then is None else self.then(scores)


def enlarged(scores: Tensor) -> Tensor:
    return functional.interpolate(scores, scale_factor=4.0, mode="bilinear", align_corners=False)


def as_onnx(path: Path, module: nn.Module, opset: int = 18) -> Path:
    names = {"input_names": ["x"], "output_names": ["y"]}
    return save_onnx(path.parent, module.eval(), path.name, opset_version=opset, **names)


def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return texture(SIZE, 3)


def labels_of(path: Path) -> Any:
    """What a bundle's key graph makes of the picture."""
    segmenter = load(path)
    return np.asarray(segmenter.graphs["key"]({"image": picture()[None]})["labels"])[0]


def pixels() -> Tensor:
    return torch.from_numpy(picture().copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("opset", [9, 10, 11])
def test_enlarging_of_old_opsets_stays_what_it_was(opset: int, tmp_path: Path) -> None:
    given = as_onnx(tmp_path / "old.onnx", Net(enlarged), opset)
    convert(Conversion(given, classes=CLASSES), tmp_path / "a.vss")
    [scores] = ort.InferenceSession(str(given)).run(["y"], {"x": pixels().numpy()})
    assert (labels_of(tmp_path / "a.vss") == scores[0].argmax(0)).mean() > 0.999


def test_a_file_that_another_opset_would_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_onnx_graph, "_resize_as_before", lambda model: None)
    given = as_onnx(tmp_path / "old.onnx", Net(enlarged), 9)
    with pytest.raises(ModelError, match="other numbers in y once it is brought from opset 9 to 18"):
        convert(Conversion(given, classes=CLASSES), tmp_path / "a.vss")


def best(scores: Tensor) -> Tensor:
    return enlarged(scores).argmax(1, keepdim=True)


@pytest.mark.parametrize("way", ["onnx", "script"])
def test_labels_that_keep_their_axis_behind_an_enlargement(way: str, tmp_path: Path) -> None:
    if way == "onnx":
        given = as_onnx(tmp_path / "a.onnx", Net(best))
    else:
        given = tmp_path / "a.ts"
        with quiet():
            trace(Net(best).eval(), torch.rand(1, 3, *SIZE)).save(str(given))
    convert(Conversion(given, classes=CLASSES, size=SIZE), tmp_path / "a.vss")
    expected = Net(best)(pixels())[0, 0]
    assert (labels_of(tmp_path / "a.vss") == expected.numpy()).mean() > 0.999


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net().net
        self.up = nn.Upsample(scale_factor=4.0, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        return self.up(scores - scores.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_script_that_enlarges_by_a_factor(target: str, tmp_path: Path) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    with quiet():
        script(Scripted().eval()).save(str(tmp_path / "a.ts"))
    out = tmp_path / "a.vss"
    convert(Conversion(tmp_path / "a.ts", classes=CLASSES, size=SIZE, target=target), out)
    assert rollout(out) >= 0.999


def mask(scores: Tensor) -> Tensor:
    return ((enlarged(scores)[:, 0] > 0) * 255).to(torch.uint8)


def test_a_mask_of_0_and_255_has_its_foreground(tmp_path: Path) -> None:
    given = as_onnx(tmp_path / "a.onnx", Net(mask))
    manifest = convert(Conversion(given, classes=2), tmp_path / "a.vss")
    found, expected = labels_of(tmp_path / "a.vss"), Net(mask)(pixels())[0].numpy() // 255
    assert 0.1 < expected.mean() < 0.9 and (found == expected).mean() > 0.999
    assert manifest.options["model"]["form"] == "a mask, 255 in the foreground"


def test_a_map_that_lies_on_its_side_is_refused(tmp_path: Path) -> None:
    given = as_onnx(tmp_path / "a.onnx", Net(lambda scores: enlarged(scores).transpose(2, 3)))
    with pytest.raises(ModelError, match="it lies on its side; exchange its height and width"):
        convert(Conversion(given, classes=CLASSES), tmp_path / "a.vss")


def test_means_of_one_unit_and_a_scale_of_another_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"means from 0 to 1 want --scale 0\.003922"):
        Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0)
    Preprocess((123.7, 116.3, 103.5), (58.4, 57.1, 57.4), 1.0)


class Bytes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net(enlarged)

    def forward(self, x: Tensor) -> Any:
        return self.net(x.float() / 255)


def test_bytes_that_say_they_are_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with quiet():
        example = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
        torch.onnx.export(Bytes().eval(), (example,), str(path), dynamo=False, opset_version=18)
    model = onnx.load(path)
    for key, value in (
        ("Image.NominalPixelRange", "NominalRange_0_255"),
        ("Image.BitmapPixelFormat", "Bgr8"),
    ):
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    convert(Conversion(path, classes=CLASSES), tmp_path / "a.vss")
    expected = Net(enlarged)(pixels().flip(1))[0].argmax(0).numpy()
    assert (labels_of(tmp_path / "a.vss") == expected).mean() > 0.999


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net(enlarged)

    def forward(self, pixel_values: Tensor, factor: float = 1.0) -> Any:
        return self.net(pixel_values) * factor


def test_a_program_that_wants_its_picture_by_name(tmp_path: Path) -> None:
    example = torch.rand(1, 3, *SIZE)
    program = torch.export.export(Named().eval(), (), {"pixel_values": example})
    torch.export.save(program, tmp_path / "a.pt2")
    convert(Conversion(tmp_path / "a.pt2", classes=CLASSES), tmp_path / "a.vss")
    expected = Net(enlarged)(pixels())[0].argmax(0).numpy()
    assert (labels_of(tmp_path / "a.vss") == expected).mean() > 0.999


def test_a_program_that_wants_more_than_a_picture_says_so(tmp_path: Path) -> None:
    program = torch.export.export(Named().eval(), (torch.rand(1, 3, *SIZE), 2.0))
    torch.export.save(program, tmp_path / "a.pt2")
    with pytest.raises(ModelError, match="is called with 2 arguments"):
        convert(Conversion(tmp_path / "a.pt2", classes=CLASSES), tmp_path / "a.vss")


class HalfInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net(enlarged).half()

    def forward(self, x: Tensor) -> Any:
        return self.net(x.half()).float()


def test_a_network_that_casts_to_half_precision_inside(tmp_path: Path) -> None:
    with quiet():
        trace(HalfInside().eval(), torch.rand(1, 3, *SIZE)).save(str(tmp_path / "a.ts"))
    convert(Conversion(tmp_path / "a.ts", classes=CLASSES, size=SIZE), tmp_path / "a.vss")
    expected = Net(enlarged)(pixels())[0].argmax(0).numpy()
    assert (labels_of(tmp_path / "a.vss") == expected).mean() > 0.99


@pytest.mark.parametrize("free", [False, True])
def test_a_tflite_file_whose_pixels_are_only_scaled(free: bool, tmp_path: Path) -> None:
    given = as_tflite(tmp_path, Net().eval(), last=True)
    if free:
        from edge_vss.converters.targets import _flatbuffer as flatbuffer

        # As TensorFlow writes it: the batch may be of any size.
        model = flatbuffer.read(given)
        [entry] = model.subgraphs[0].inputs
        model.subgraphs[0].tensors[entry].shapeSignature = np.array([-1, *SIZE, 3], np.int32)
        flatbuffer.write(given, model)
    convert(Conversion(given, classes=CLASSES, size=SIZE), tmp_path / "a.vss")
    assert rollout(tmp_path / "a.vss") >= 0.999
    scores = Net()(pixels())
    expected = functional.interpolate(scores, SIZE, mode="bilinear", align_corners=False)[0].argmax(0)
    assert (labels_of(tmp_path / "a.vss") == expected.numpy()).mean() > 0.99
    assert bundle.read(tmp_path / "a.vss").target == "tflite"


def test_tflite_outputs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    from edge_vss.converters.targets import _flatbuffer as flatbuffer

    given = as_tflite(tmp_path, Net(lambda scores: (scores.argmax(1), scores)).eval(), last=True)
    model = flatbuffer.read(given)
    graph = model.subgraphs[0]
    for number in graph.outputs:
        graph.tensors[number].name = "same"
    flatbuffer.write(given, model)
    network = tflite_reader.TfliteNetwork(given)
    assert list(network.outputs) == ["same", "same (2)"]
    assert sorted(value.dim() for value in network.run(torch.zeros(1, *SIZE, 3)).values()) == [3, 4]


IMAGENET = Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "usual"),
    [
        ("int8", 1 / 255, -128, Preprocess()),
        ("uint8", 0.96 / 255, 0, Preprocess()),
        ("uint8", 1 / 128, 128, Preprocess((0.5,) * 3, (0.5,) * 3)),
        ("int8", 1.0, -128, Preprocess(scale=1.0)),
    ],
)
def test_the_range_of_a_quantised_picture_tells_how_pixels_become_it(
    dtype: str, scale: float, zero: int, usual: Preprocess
) -> None:
    made = tflite_reader._prepared(Path("a.tflite"), dtype, (scale, zero), Said(), Conversion())
    assert made == usual
    with pytest.raises(OptionError, match=f"takes {dtype} pictures and scales them itself"):
        given = Conversion(mean=IMAGENET.mean, std=IMAGENET.std)
        tflite_reader._prepared(Path("a.tflite"), dtype, (scale, zero), Said(), given)


def test_a_quantised_picture_of_another_range_wants_means() -> None:
    quantised = (0.0186, -15)
    with pytest.raises(ModelError, match=r"numbers from -2\.1 to 2\.64, which are no pixels as they are"):
        tflite_reader._prepared(Path("a.tflite"), "int8", quantised, Said(), Conversion())
    said = Said(preprocess=IMAGENET)
    assert tflite_reader._prepared(Path("a"), "int8", quantised, said, Conversion()) == IMAGENET
    given = Normalize(IMAGENET, "NHWC", "int8", quantised)(torch.from_numpy(picture()[None].copy()))
    exact = (picture() / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    expected = np.clip(np.floor(exact / quantised[0] + quantised[1] + 0.5), -128, 127)
    assert given.dtype == torch.int8
    assert np.abs(given[0].numpy() - expected).max() <= 1 and (given[0].numpy() == expected).mean() > 0.999


def test_a_quantised_picture_that_is_nearly_pixels_is_those() -> None:
    image = torch.from_numpy(picture()[None].copy())
    prepare = Preprocess((0.5,) * 3, (0.5,) * 3)
    assert torch.equal(Normalize(prepare, "NHWC", "uint8", (1 / 128, 128))(image), image)
    off = Normalize(Preprocess(), "NHWC", "uint8", (0.96 / 255, 0))(image)
    assert not torch.equal(off, image) and int(off.max()) == 255


def test_a_batch_of_minus_one_is_free(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "a.onnx", Net(enlarged))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    onnx.save(model, path)
    convert(Conversion(path, classes=CLASSES), tmp_path / "a.vss")
    assert rollout(tmp_path / "a.vss") >= 0.999


def test_names_in_the_file_that_are_not_as_many_as_its_scores(tmp_path: Path) -> None:
    path = as_onnx(tmp_path / "a.onnx", Net(enlarged))
    model = onnx.load(path)
    model.metadata_props.add(key="names", value="['road', 'sky']")
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"scores of 5 classes, and its own files name 2: .* --classes 5"):
        convert(Conversion(path), tmp_path / "a.vss")
    assert len(convert(Conversion(path, classes=5), tmp_path / "a.vss").classes) == 5


@pytest.mark.parametrize(
    ("name", "other"), [("road 128 64 128", "background"), ("background 1 2 3", "foreground")]
)
def test_the_colour_of_the_only_class_stays(name: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(f"{name}\n")
    given = as_onnx(tmp_path / "a.onnx", Net(lambda scores: enlarged(scores)[:, :1]))
    manifest = convert(Conversion(given, classes=tmp_path / "classes.txt"), tmp_path / "a.vss")
    words = name.split()
    assert manifest.classes == (other, words[0])
    assert manifest.palette[1] == tuple(map(int, words[1:]))


@pytest.mark.parametrize("dtype", ["UINT16", "UINT32", "UINT64", "FLOAT"])
def test_ids_of_any_type_are_labels(dtype: str, tmp_path: Path) -> None:
    given = as_onnx(tmp_path / "a.onnx", Net(lambda scores: enlarged(scores).argmax(1)))
    model = onnx.load(str(given))
    output, kind = model.graph.output[0], getattr(onnx.TensorProto, dtype)
    model.graph.node.append(onnx.helper.make_node("Cast", [output.name], ["ids"], to=kind))
    output.name, output.type.tensor_type.elem_type = "ids", kind
    onnx.save(model, str(given))
    convert(Conversion(given, classes=CLASSES), tmp_path / "a.vss")
    expected = Net(lambda scores: enlarged(scores).argmax(1))(pixels())[0].numpy()
    assert (labels_of(tmp_path / "a.vss") == expected).mean() > 0.999
    if dtype == "FLOAT":
        with pytest.raises(ModelError, match=r"whole numbers from 0 to \d in ids, as class ids are"):
            convert(Conversion(given, classes=2), tmp_path / "b.vss")


def test_a_mask_of_floats_has_its_foreground_too(tmp_path: Path) -> None:
    given = as_onnx(tmp_path / "a.onnx", Net(lambda scores: mask(scores).float()))
    manifest = convert(Conversion(given, classes=2), tmp_path / "a.vss")
    assert (labels_of(tmp_path / "a.vss") == Net(mask)(pixels())[0].numpy() // 255).mean() > 0.999
    assert manifest.options["model"]["form"] == "a mask, 255 in the foreground"


def test_a_result_that_is_the_picture_itself_is_told(tmp_path: Path) -> None:
    given = as_onnx(tmp_path / "a.onnx", Net(enlarged))
    model = onnx.load(str(given))
    model.graph.output.append(model.graph.input[0])
    onnx.save(model, str(given))
    with pytest.raises(ModelError, match="gives x, which is its input or a weight, and no result"):
        convert(Conversion(given, classes=CLASSES), tmp_path / "a.vss")
