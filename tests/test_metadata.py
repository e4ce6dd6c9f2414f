"""Class names, pixels and tasks that a model's own file says."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.readers import _load as models
from edge_vss.converters.readers._metadata import class_names, of_model_info, of_texts
from edge_vss.converters.readers._tflite_metadata import said_by
from edge_vss.converters.values import Network
from edge_vss.errors import ModelError
from tests.helpers.conversion import SIZE, save_onnx, save_script, trained

NAMES = ("road", "traffic light", "car")
PLACE = Path("net")


def load(path: Path, **options: Any) -> Network:
    return models.load_network(Conversion(path, **options))


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("{0: 'road', 1: 'traffic light', 2: 'car'}", NAMES),
        ('{"2": "car", "0": "road", "1": "traffic light"}', NAMES),
        ("['road', 'traffic light', 'car']", NAMES),
        ('["road", "traffic light", "car"]', NAMES),
        ({0: "road", 1: "traffic light", 2: "car"}, NAMES),
        ("{0: 'road', 2: 'car'}", None),
        ("{'a': 'road'}", None),
        ("[]", None),
        ("3", None),
        ("road, car", None),
        ("['" + "x" * 300 + "']", None),
        ("[" * 5000, None),
        ("__import__('os').getcwd()", None),
        (None, None),
    ],
)
def test_class_names(value: object, names: tuple[str, ...] | None) -> None:
    found = class_names(value)
    assert (None if found is None else found.names) == names


def onnx_saying(folder: Path, entries: dict[str, str], **options: Any) -> Path:
    path = save_onnx(folder, **options)
    model = onnx.load(path)
    for key, value in entries.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
    return path


ULTRALYTICS = {"author": "Ultralytics", "task": "semantic", "names": str(dict(enumerate(NAMES)))}


def test_onnx_of_ultralytics(tmp_path: Path) -> None:
    free = {"image": {2: "height", 3: "width"}}
    path = onnx_saying(tmp_path, {**ULTRALYTICS, "imgsz": "[48, 64]"}, dynamic_axes=free)
    network = load(path)
    assert (network.size, network.classes.names) == ((48, 64), NAMES)
    assert network.notes["from_model"] == "3 class names"
    other = load(path, size=(32, 64), classes=3)
    assert other.size == (32, 64) and other.classes.names[0] == "class 0"
    assert "from_model" not in other.notes


def test_a_task_in_the_metadata_is_refused(tmp_path: Path) -> None:
    path = onnx_saying(tmp_path, {**ULTRALYTICS, "task": "segment"})
    with pytest.raises(ModelError, match=r"an instance segmentor.*its metadata says segment"):
        load(path, classes=3)


@pytest.mark.parametrize(
    ("form", "span", "expected"),
    [
        ("Bgr8", "NominalRange_0_255", Preprocess(scale=1.0, bgr=True)),
        ("Rgb8", "Normalized_1_1", Preprocess((0.5,) * 3, (0.5,) * 3)),
        ("Bgr8", "", Preprocess(bgr=True)),
    ],
)
def test_onnx_that_says_what_its_pictures_are(
    tmp_path: Path, form: str, span: str, expected: Preprocess
) -> None:
    entries = {"Image.BitmapPixelFormat": form, "Image.NominalPixelRange": span}
    path = onnx_saying(tmp_path, entries)
    network = load(path, classes=3)
    assert network.preprocess == expected
    assert network.notes["from_model"] == "mean, std, scale, bgr"
    means = (25.5, 51.0, 76.5) if expected.scale == 1 else (0.1, 0.2, 0.3)
    mine = load(path, classes=3, bgr=False, mean=means)
    assert mine.preprocess == Preprocess(means, expected.std, expected.scale, False)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"mean_values": "123.675 116.28 103.53", "scale_values": "58.395 57.12 57.375",
          "reverse_input_channels": "YES"},
         Preprocess((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1.0)),
        ({"scale_values": "255.0"}, Preprocess(std=(255.0,) * 3, scale=1.0)),
        ({"scale_values": "[255.0]", "reverse_input_channels": "True"},
         Preprocess(std=(255.0,) * 3, scale=1.0)),
        ({"mean_values": "1, 2, 3", "reverse_input_channels": "NO"},
         Preprocess((1.0, 2.0, 3.0), (1.0,) * 3, 1.0, True)),
        ({"reverse_input_channels": "False"}, Preprocess(bgr=True)),
        ({"embedded_processing": "True", "mean_values": "1 2 3"}, Preprocess(bgr=True)),
        ({"labels": "a b"}, None),
    ],
)  # fmt: skip
def test_model_info(info: dict[str, str], expected: Preprocess | None) -> None:
    assert of_model_info(PLACE, info).preprocess == expected


def test_model_info_that_makes_no_sense() -> None:
    for text in ("1 2", "one two three"):
        with pytest.raises(ModelError, match=r"says mean_values .* no three numbers: give --mean"):
            of_model_info(PLACE, {"mean_values": text})


def test_openvino_with_model_info(tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    model = ov.Core().read_model(save_onnx(tmp_path))
    info = {"labels": "road traffic_light car", "mean_values": "120 110 100", "model_type": "Segmentation"}
    for key, value in {**info, "scale_values": "60 50 40", "reverse_input_channels": "NO"}.items():
        model.set_rt_info(value, ["model_info", key])
    ov.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    network = load(tmp_path / "net.xml")
    assert network.classes.names == ("road", "traffic_light", "car")
    assert network.preprocess == Preprocess((120, 110, 100), (60, 50, 40), 1.0, True)
    assert network.notes["from_model"] == "3 class names, mean, std, scale, bgr"
    image = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    swapped = image.flip(3).permute(0, 3, 1, 2).float()
    wanted = (swapped - torch.tensor([120.0, 110, 100]).view(1, 3, 1, 1)) / torch.tensor([60.0, 50, 40]).view(
        1, 3, 1, 1
    )
    torch.testing.assert_close(network.before(image), wanted)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_of_ultralytics(tmp_path: Path) -> None:
    path = save_script(tmp_path, trace=True)
    for task, refused in (("semantic", False), ("detect", True)):
        module = torch.jit.load(path)  # type: ignore[no-untyped-call]
        said = {"task": task, "names": {str(i): name for i, name in enumerate(NAMES)}, "imgsz": list(SIZE)}
        torch.jit.save(module, tmp_path / "net.pt", _extra_files={"config.txt": json.dumps(said)})
        if refused:
            with pytest.raises(ModelError, match="a detector"):
                load(tmp_path / "net.pt")
        else:
            network = load(tmp_path / "net.pt")
            assert (network.size, network.classes.names) == (SIZE, NAMES)


# --- TFLite


def tflite_metadata(labels: str, mean: list[float], std: list[float]) -> bytes:
    """As ``metadata_schema.fbs`` lays it out."""
    import flatbuffers

    builder = flatbuffers.Builder(0)

    def table(*fields: tuple[int, str, Any]) -> int:
        builder.StartObject(9)
        for slot, kind, value in fields:
            if kind == "byte":
                builder.PrependInt8Slot(slot, value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return int(builder.EndObject())

    def vector(*offsets: int) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    numbers = [builder.CreateNumpyVector(np.array(values, np.float32)) for values in (mean, std)]
    options = table((0, "", numbers[0]), (1, "", numbers[1]))
    unit = table((0, "byte", 1), (1, "", options))
    units = vector(unit)
    name = builder.CreateString(labels)
    files = vector(table((0, "", name), (2, "byte", 2)))
    taken, given = vector(table((4, "", units))), vector(table((6, "", files)))
    graphs = vector(table((2, "", taken), (3, "", given)))
    builder.Finish(table((3, "", graphs)), b"M001")
    return bytes(builder.Output())


def tflite(folder: Path) -> Path:
    pytest.importorskip("litert_torch", exc_type=ImportError)
    from edge_vss.bundle import TensorSpec
    from edge_vss.converters.targets.tflite import export
    from edge_vss.converters.values import Part

    specs = TensorSpec("x", (1, 3, *SIZE), "float32"), TensorSpec("y", (1, 3, 12, 16), "float32")
    export([Part("main", trained(), (specs[0],), (specs[1],))], folder, {})
    return folder / "graphs.tflite"


def described(path: Path, content: bytes, name: str = "TFLITE_METADATA") -> None:
    from ai_edge_litert import schema_py_generated as schema

    from edge_vss.converters.targets import _flatbuffer as flatbuffer

    model = flatbuffer.read(path)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(content)
    model.buffers.append(buffer)
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    flatbuffer.write(path, model)


def test_tflite_with_metadata(tmp_path: Path) -> None:
    path = tflite(tmp_path)
    plain = path.read_bytes()
    described(path, tflite_metadata("labelmap.txt", [127.5], [127.5, 120, 110]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labelmap.txt", "\n".join(NAMES) + "\n")
    network = load(path)
    assert network.classes.names == NAMES
    assert network.preprocess == Preprocess((127.5,) * 3, (127.5, 120.0, 110.0), 1.0)
    assert network.notes["from_model"] == "3 class names, mean, std, scale, bgr"
    mine = load(path, classes=3, std=(1.0, 1.0, 1.0))
    assert mine.classes.names[0] == "class 0" and mine.preprocess.std == (1.0, 1.0, 1.0)
    # What cannot be read is left out, and the model is as good as one without.
    path.write_bytes(plain)
    described(path, b"\xff" * 40)
    assert said_by(path).classes is None
    path.write_bytes(plain)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadata.json", json.dumps({"task": "pose"}))
    with pytest.raises(ModelError, match="a pose estimator"):
        load(path, classes=3)


def test_a_size_of_one_number() -> None:
    assert of_texts(PLACE, {"imgsz": "640"}).size == (640, 640)
    assert of_texts(PLACE, {"imgsz": "[640, 'x']"}).size is None
