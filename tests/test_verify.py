import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edge_vss import bundle
from edge_vss.bundle import Manifest
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.verify import verify
from edge_vss.errors import BundleError, EngineError, ModelError
from edge_vss.files import sha256
from tests.helpers.conversion import SIZE, factory_file, save_exported, save_state_dict, trained


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    convert(Conversion(save_exported(folder), classes=3, size=SIZE), folder / "street.vss")
    return folder


@pytest.fixture
def street(tmp_path: Path, converted: Path) -> Path:
    shutil.copytree(converted, tmp_path / "copy")
    return tmp_path / "copy" / "street.vss"


def rewrite(street: Path, role: str, change: object = None, **fields: object) -> None:
    """Alter a graph and set its hash right again, as someone with bad luck or bad intent might."""
    manifest = bundle.read(street)
    path = street / manifest.graph(role).file
    model = onnx.load(path)
    if callable(change):
        change(model)
    onnx.save(model, path)
    graphs = tuple(
        replace(graph, sha256=sha256(path)) if graph.role == role else graph for graph in manifest.graphs
    )
    altered: Manifest = replace(manifest, graphs=graphs, **fields)  # type: ignore[arg-type]
    bundle.write(street, altered)


def test_a_good_bundle(street: Path) -> None:
    report = verify(street)
    assert report.hashes == "ok"
    assert report.graphs == {"key": "ok", "state": "ok"}
    assert report.labels == (0, 1, 2)
    assert report.measured is False
    assert report.parity == bundle.read(street).parity
    json.dumps(report.to_json())


def test_numbers_are_measured_against_the_model(street: Path) -> None:
    report = verify(street, Conversion(street.parent / "model.pt2"))
    assert report.measured is True
    assert report.parity == bundle.read(street).parity


def test_a_state_dict_is_measured_through_its_factory(tmp_path: Path) -> None:
    factory = factory_file(tmp_path)
    convert(
        Conversion(save_state_dict(tmp_path), classes=3, size=SIZE, factory=factory, mean=(0.4, 0.4, 0.4)),
        tmp_path / "a.vss",
    )
    assert bundle.read(tmp_path / "a.vss").options["model"]["factory"] == "network.py:build"
    report = verify(tmp_path / "a.vss", Conversion(tmp_path / "weights.pt", factory=factory))
    assert report.parity["rollout"]["labels_equal"] > 0.999


def test_another_model_is_refused(street: Path) -> None:
    other = save_exported(street.parent, trained(seed=8))
    with pytest.raises(ModelError, match=r"is not the file this bundle was made from \(model\.pt2\)"):
        verify(street, Conversion(other))


def test_an_altered_graph_is_refused(street: Path) -> None:
    with (street / "key.onnx").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"xyz")
    with pytest.raises(BundleError, match=r"key\.onnx is altered"):
        verify(street)


def test_wrong_numbers_under_a_right_hash_are_found(street: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith("second.weight"):
                weights = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(-weights, tensor.name))

    rewrite(street, "key", change)
    verify(street)
    with pytest.raises(ModelError, match="the converted key agrees with the model on"):
        verify(street, Conversion(street.parent / "model.pt2"))


def test_nan_is_found(street: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith("second.bias"):
                bias = onnx.numpy_helper.to_array(tensor).copy()
                bias[0] = float("nan")
                tensor.CopyFrom(onnx.numpy_helper.from_array(bias, tensor.name))

    rewrite(street, "key", change)
    with pytest.raises(EngineError, match="the start route gives NaN"):
        verify(street)


def test_a_graph_of_another_contract_is_found(street: Path) -> None:
    rewrite(street, "key", classes=("a", "b", "c"))
    with pytest.raises(BundleError, match="the manifest differ in classes"):
        verify(street)
    rewrite(street, "key", lambda model: model.metadata_props.pop())
    with pytest.raises(BundleError, match=r"key\.onnx carries no contract"):
        verify(street)
