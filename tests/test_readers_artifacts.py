"""Networks that exist only as an artifact: OpenVINO and TFLite files as they are."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch

from edge_vss import bundle, load, open_source
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.verify import verify
from edge_vss.errors import ModelError, OptionError
from tests.helpers.conversion import SIZE, Outputs, factory_file, save_exported, save_onnx, trained
from tests.helpers.videos import encode, pan

FORMS = ("scores", "dict", "channels last", "labels", "labels with a channel", "logit")


def as_openvino(folder: Path, model: Path, name: str = "model.xml") -> Path:
    ov = pytest.importorskip("openvino")
    ov.save_model(ov.Core().read_model(model), folder / name, compress_to_fp16=False)
    return folder / name


def as_tflite(folder: Path, module: torch.nn.Module, last: bool = False) -> Path:
    """A TFLite file as its author would have exported it, with channels last where that is asked for."""
    pytest.importorskip("litert_torch", exc_type=ImportError)
    from edge_vss.bundle import TensorSpec
    from edge_vss.converters.targets.tflite import export
    from edge_vss.converters.values import Part

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> Any:
            return self.module(x.permute(0, 3, 1, 2))

    shape = (1, *SIZE, 3) if last else (1, 3, *SIZE)
    chosen = Last() if last else module
    with torch.no_grad():
        out = chosen(torch.rand(shape))
    given = TensorSpec("x", shape, "float32")
    made = tuple(
        TensorSpec(f"y{index}", tuple(each.shape), str(each.dtype)[6:])
        for index, each in enumerate(out if isinstance(out, tuple) else (out,))
    )
    export([Part("main", chosen.eval(), (given,), made)], folder, {})
    return (folder / "graphs.tflite").rename(folder / "given.tflite")


def rollout(path: Path) -> float:
    found: float = bundle.read(path).parity["rollout"]["labels_equal"]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_an_openvino_model_becomes_the_key_graph(tmp_path: Path, form: str) -> None:
    module = trained() if form == "scores" else trained(Outputs(form))
    classes = 2 if form == "logit" else 3
    options: dict[str, Any] = {"output_names": ["aux", "out"]} if form == "dict" else {}
    given = as_openvino(tmp_path, save_onnx(tmp_path, module, **options))
    chosen = "out" if form == "dict" else None
    means = (0.4, 0.5, 0.6)
    out = tmp_path / "a.vss"
    manifest = convert(Conversion(given, classes=classes, mean=means, bgr=True, output_name=chosen), out)
    assert manifest.target == "openvino" and manifest.frame_size == SIZE
    assert manifest.options["model"]["kind"] == "OpenVINO" and rollout(out) >= 0.999
    # Of the same network in torch, the labels are the same.
    twin = tmp_path / "twin.vss"
    network = trained() if form == "scores" else trained(Outputs(form))
    convert(
        Conversion(
            save_exported(tmp_path, network), classes=classes, mean=means, bgr=True, output_name=chosen
        ),
        twin,
    )
    clip = encode(tmp_path / "clip.mp4", pan(6, SIZE))
    assert labels(out, clip) == pytest.approx(labels(twin, clip), abs=0)
    if form in ("scores", "dict"):
        assert manifest.graph("key").gmac == pytest.approx(bundle.read(twin).graph("key").gmac)
    again = verify(out, Conversion(given))
    assert again.parity["rollout"]["labels_equal"] >= 0.999


def labels(path: Path, clip: Path) -> Any:
    session = load(path).session("interval:3")
    with open_source(clip) as source:
        return np.stack([session.step(frame).labels for frame in source])


@pytest.mark.parametrize("carry", ["labels", "scores"])
@pytest.mark.parametrize("last", [False, True])
def test_a_float_tflite_model_becomes_the_key_graph(tmp_path: Path, last: bool, carry: str) -> None:
    given = as_tflite(tmp_path, trained(), last)
    out, twin = tmp_path / "a.vss", tmp_path / "twin.vss"
    manifest = convert(Conversion(given, classes=3, mean=(0.4, 0.5, 0.6), options={"carry": carry}), out)
    assert manifest.target == "tflite" and rollout(out) >= 0.999
    assert {graph.file for graph in manifest.graphs} == {"graphs.tflite"}
    convert(
        Conversion(save_exported(tmp_path), classes=3, mean=(0.4, 0.5, 0.6), options={"carry": carry}), twin
    )
    clip = encode(tmp_path / "clip.mp4", pan(6, SIZE))
    assert (labels(out, clip) == labels(twin, clip)).mean() > 0.999


@pytest.mark.parametrize("form", ["labels", "labels with a channel", "channels last"])
def test_what_a_tflite_model_gives_is_understood(tmp_path: Path, form: str) -> None:
    given = as_tflite(tmp_path, trained(Outputs(form)))
    convert(Conversion(given, classes=3), tmp_path / "a.vss")
    assert rollout(tmp_path / "a.vss") >= 0.999


def test_a_quantised_tflite_model_goes_on_with_real_numbers(tmp_path: Path) -> None:
    given = as_tflite(tmp_path, trained(), last=True)
    pytest.importorskip("ai_edge_quantizer", exc_type=ImportError)
    from ai_edge_quantizer import quantizer, recipe

    from edge_vss.converters.silence import quiet

    with quiet():
        work = quantizer.Quantizer(str(given), recipe.static_wi8_ai8())
        rng = np.random.default_rng(0)
        names = list(as_runner(given).get_input_details())
        samples = [{names[0]: rng.random((1, *SIZE, 3), np.float32)} for _ in range(8)]
        result = work.quantize(work.calibrate({"main": samples}, num_threads=1))
    given.write_bytes(bytes(result.quantized_model))
    manifest = convert(Conversion(given, classes=3, options={"carry": "scores"}), tmp_path / "a.vss")
    assert manifest.graph("key").outputs[1].dtype == "float32" and rollout(tmp_path / "a.vss") >= 0.999


def as_runner(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path)).get_signature_runner("main")


@pytest.fixture(scope="module")
def deeplab(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("litert_torch", exc_type=ImportError)
    given = data / "tflite" / "deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite"
    out = tmp_path_factory.mktemp("deeplab") / "deeplab.vss"
    convert(Conversion(given, classes="cityscapes"), out)
    return given, out


def test_a_real_int8_network_finds_its_expected_mask(deeplab: tuple[Path, Path], data: Path) -> None:
    picture = data / "tflite" / "cityscapes_segmentation"
    image = cv2.imread(f"{picture}.bmp")
    mask = cv2.imread(f"{picture}_mask.bmp", cv2.IMREAD_UNCHANGED)
    assert image is not None and mask is not None
    with open_source([np.ascontiguousarray(image[..., ::-1])], motion="none") as source:
        found = load(deeplab[1]).session().step(next(iter(source))).labels
    assert (found == mask).mean() >= 0.92


def test_a_real_int8_network_takes_its_pixels_as_they_are(deeplab: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="takes uint8 pictures and scales them itself"):
        convert(Conversion(deeplab[0], classes="cityscapes", mean=(0.5, 0.5, 0.5)), tmp_path / "a.vss")
    with pytest.raises(ModelError, match="was exported for 513x513 and does not take 360x480"):
        convert(Conversion(deeplab[0], classes="cityscapes", size=(360, 480)), tmp_path / "a.vss")


@pytest.mark.parametrize(
    ("kind", "target"),
    [("openvino", "onnx"), ("openvino", "tflite"), ("tflite", "openvino"), ("onnx", "tflite")],
)
def test_a_given_graph_stays_what_it_is(tmp_path: Path, kind: str, target: str) -> None:
    if kind == "tflite":
        given = as_tflite(tmp_path, trained())
    else:
        given = save_onnx(tmp_path)
        given = as_openvino(tmp_path, given) if kind == "openvino" else given
    with pytest.raises(ModelError, match=f"cannot be written for the target {target}: convert with --target"):
        convert(Conversion(given, classes=3, target=target), tmp_path / "a.vss")
    assert not (tmp_path / "a.vss").exists()


def test_a_model_for_an_edge_tpu_is_refused_with_the_reason(tmp_path: Path) -> None:
    given = as_tflite(tmp_path, trained())
    from ai_edge_litert import schema_py_generated as schema

    from edge_vss.converters.targets import _flatbuffer as flatbuffer

    model = flatbuffer.read(given)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "edgetpu-custom-op"
    model.operatorCodes.append(code)
    flatbuffer.write(given, model)
    with pytest.raises(ModelError, match=r"compiled for an Edge TPU.*before that step"):
        convert(Conversion(given, classes=3), tmp_path / "a.vss")


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_damaged_files_are_model_errors(tmp_path: Path, keep: float) -> None:
    for given in (as_tflite(tmp_path, trained()), as_openvino(tmp_path, save_onnx(tmp_path))):
        content = given.read_bytes()
        given.write_bytes(content[: int(len(content) * keep)])
        with pytest.raises(ModelError) as caught:
            convert(Conversion(given, classes=3), tmp_path / "a.vss")
        assert given.name in str(caught.value) and "\n" not in str(caught.value)


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    given = as_openvino(tmp_path, save_onnx(tmp_path))
    given.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"and its \.bin beside it"):
        convert(Conversion(given, classes=3), tmp_path / "a.vss")


def test_factories_are_for_state_dicts(tmp_path: Path) -> None:
    given = as_openvino(tmp_path, save_onnx(tmp_path))
    with pytest.raises(OptionError, match="is a whole model"):
        convert(Conversion(given, classes=3, factory=factory_file(tmp_path)), tmp_path / "a.vss")


@pytest.mark.parametrize(
    ("kind", "target"), [("onnx", "onnx"), ("onnx", "openvino"), ("openvino", "openvino")]
)
def test_an_artifact_is_written_in_int8_and_fp16(tmp_path: Path, kind: str, target: str) -> None:
    if target == "openvino":
        pytest.importorskip("nncf", exc_type=ImportError)
    given = save_onnx(tmp_path)
    if kind == "openvino":
        given = as_openvino(tmp_path, given)
    clip = encode(tmp_path / "drive.mp4", pan(48, SIZE))
    for precision in ("int8", "fp16"):
        options: dict[str, Any] = {"calibrate": clip} if precision == "int8" else {}
        conversion = Conversion(given, classes=3, target=target, precision=precision, **options)
        manifest = convert(conversion, tmp_path / f"{precision}.vss")
        assert manifest.precision["weights"] == precision
        assert manifest.precision["against_fp32"]["labels_equal"] > 0.85


def test_a_tflite_model_is_written_in_int8(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer", exc_type=ImportError)
    given = as_tflite(tmp_path, trained())
    clip = encode(tmp_path / "drive.mp4", pan(48, SIZE))
    conversion = Conversion(given, classes=3, target="tflite", precision="int8", calibrate=clip)
    assert convert(conversion, tmp_path / "a.vss").precision["against_fp32"]["labels_equal"] > 0.85


def test_each_set_of_operators_is_imported_once(tmp_path: Path) -> None:
    convert(Conversion(save_onnx(tmp_path), classes=3), tmp_path / "a.vss")
    imports = onnx.load(tmp_path / "a.vss" / "key.onnx").opset_import
    assert len({entry.domain for entry in imports}) == len(imports)


def test_what_is_quantised_already_is_not_quantised_again(tmp_path: Path) -> None:
    model = onnx.load(save_onnx(tmp_path))
    (image,) = model.graph.input
    scale, zero = np.array(1 / 255, np.float32), np.array(0, np.uint8)
    for name, value in (("scale", scale), ("zero", zero)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    for node in model.graph.node:
        node.input[:] = ["rounded" if name == image.name else name for name in node.input]
    there = onnx.helper.make_node("QuantizeLinear", [image.name, "scale", "zero"], ["low"])
    back = onnx.helper.make_node("DequantizeLinear", ["low", "scale", "zero"], ["rounded"])
    for node in (back, there):
        model.graph.node.insert(0, node)
    onnx.save(model, tmp_path / "low.onnx")
    clip = encode(tmp_path / "drive.mp4", pan(48, SIZE))
    conversion = Conversion(tmp_path / "low.onnx", classes=3, precision="int8", calibrate=clip)
    with pytest.raises(ModelError, match="key is quantised already: leave --precision int8 out"):
        convert(conversion, tmp_path / "a.vss")
    assert not (tmp_path / "a.vss").exists()
