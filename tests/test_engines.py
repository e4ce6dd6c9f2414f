import builtins
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss import bundle, plugins
from edge_vss.bundle import GraphSpec, Manifest, TensorSpec
from edge_vss.converters.convert import convert
from edge_vss.converters.split import motions, pictures
from edge_vss.errors import EngineError, MissingExtra
from tests.conversion import SIZE, save_exported

ENGINES = ["onnxruntime", "numpy"]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("engines")
    manifest = convert(save_exported(folder), folder / "street.vss", classes=3, size=SIZE)
    return folder / "street.vss", manifest


def inputs(manifest: Manifest) -> dict[str, np.ndarray]:
    assert manifest.motion is not None
    labels = np.random.default_rng(0).integers(0, 3, (1, *SIZE)).astype(np.uint8)
    motion = motions(manifest.motion.grid, 1)[0].numpy()
    return {"image": pictures(SIZE, 1)[0].numpy(), "motion": motion, "key_labels": labels}


@pytest.mark.parametrize("role", ["key", "state"])
def test_both_engines_give_the_same(street: tuple[Path, Manifest], role: str) -> None:
    folder, manifest = street
    graph, given = manifest.graph(role), inputs(manifest)
    results = {name: plugins.find("engine", name)(folder / graph.file, graph)(given) for name in ENGINES}
    for spec in graph.outputs:
        fast, plain = (results[name][spec.name] for name in ENGINES)
        assert fast.dtype == plain.dtype == np.dtype(spec.dtype)
        assert fast.shape == plain.shape == spec.shape
        if fast.dtype == np.uint8:
            assert (fast == plain).mean() > 0.999
        else:
            np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_gives_only_what_the_manifest_names(street: tuple[Path, Manifest], engine: str) -> None:
    folder, manifest = street
    graph = manifest.graph("key")
    fewer = replace(graph, outputs=graph.outputs[:1])
    call = plugins.find("engine", engine)(folder / graph.file, fewer, threads=1)
    assert set(call(inputs(manifest))) == {"labels"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "image"),
        ({"image": np.zeros((1, 8, 8, 3), np.uint8)}, "key"),
        ({"image": np.zeros((1, *SIZE, 3), np.float32)}, "key"),
    ],
)
def test_a_wrong_tensor_is_an_engine_error(
    street: tuple[Path, Manifest], engine: str, change: dict[str, Any], message: str
) -> None:
    folder, manifest = street
    graph = manifest.graph("key")
    given = {name: value for name, value in (inputs(manifest) | change).items() if value is not None}
    with pytest.raises(EngineError, match=message) as caught:
        plugins.find("engine", engine)(folder / graph.file, graph)(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_file_is_an_engine_error(tmp_path: Path, street: tuple[Path, Manifest], engine: str) -> None:
    graph = street[1].graph("key")
    (tmp_path / "key.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"key\.onnx") as caught:
        plugins.find("engine", engine)(tmp_path / "key.onnx", graph)
    assert "\n" not in str(caught.value)


def wrong_specs(graph: GraphSpec) -> list[GraphSpec]:
    image, labels = graph.inputs[0], graph.outputs[0]
    return [
        replace(graph, inputs=(replace(image, name="picture"),)),
        replace(graph, inputs=(replace(image, shape=(1, 8, 8, 3)),)),
        replace(graph, inputs=()),
        replace(graph, outputs=(replace(labels, dtype="int64"),)),
        replace(graph, outputs=(TensorSpec("scores", (1, 3, 12, 16), "float32"),)),
    ]


@pytest.mark.parametrize("index", range(5))
def test_a_file_that_breaks_its_contract_is_refused(street: tuple[Path, Manifest], index: int) -> None:
    folder, manifest = street
    graph = wrong_specs(manifest.graph("key"))[index]
    with pytest.raises(EngineError, match="convert the model again"):
        plugins.find("engine", "onnxruntime")(folder / graph.file, graph)


@pytest.mark.parametrize(
    ("engine", "package", "extra"),
    [("onnxruntime", "onnxruntime", "onnxruntime"), ("numpy", "onnx", "convert")],
)
def test_a_missing_library_names_its_extra(
    street: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch, engine: str, package: str, extra: str
) -> None:
    load = plugins.find("engine", engine)
    folder, manifest = street
    graph = manifest.graph("key")
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=rf'pip install "edge-vss\[{extra}\]"'):
        load(folder / graph.file, graph)


def test_motion_that_is_not_a_number_does_no_harm(street: tuple[Path, Manifest]) -> None:
    folder, manifest = street
    graph, given = manifest.graph("state"), inputs(manifest)
    spoiled = {**given, "motion": np.full_like(given["motion"], np.nan)}
    call = plugins.find("engine", "onnxruntime")(folder / graph.file, graph)
    before = call(given)["labels"]
    # NaN as an index is the smallest integer on x86, which the gather refuses, and 0 on ARM.
    if platform.machine() in ("x86_64", "AMD64"):
        with pytest.raises(EngineError, match="state: ONNX Runtime failed") as caught:
            call(spoiled)
        assert "\n" not in str(caught.value)
    else:
        assert call(spoiled)["labels"].max() < 3
    assert np.array_equal(call(given)["labels"], before)


def test_the_fixture_is_a_valid_bundle(street: tuple[Path, Manifest]) -> None:
    assert bundle.read(street[0]) == street[1]
