from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_vss as vss
from edge_vss import bundle
from edge_vss.errors import BundleError, OptionError
from edge_vss.runtimes.sources import open_source
from tests.helpers import toys
from tests.helpers.videos import encode, pan

onnx = pytest.importorskip("onnx", reason="the bundles here are made with onnx")
pytest.importorskip("onnxruntime", reason="the bundles here are run with onnxruntime")

SIZE, GRID = (48, 64), (12, 16)


def graphs(folder: Path) -> None:
    """The toy's graphs as ONNX: scores are block means; on the way, motion is added to them."""
    from onnx import TensorProto, helper

    def save(
        name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]
    ) -> None:
        graph = helper.make_graph(nodes, name, inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, str(folder / f"{name}.onnx"))

    value, node = helper.make_tensor_value_info, helper.make_node
    image = value("image", TensorProto.UINT8, (1, *SIZE, 3))
    scores = value("scores", TensorProto.FLOAT, (1, 2, *GRID))
    motion = value("motion", TensorProto.FLOAT, (1, 2, *GRID))
    labels = value("labels", TensorProto.UINT8, (1, *SIZE))
    blocks = helper.make_tensor("blocks", TensorProto.INT64, [5], [GRID[0], 4, GRID[1], 4, 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 3, 4])
    first = helper.make_tensor("first", TensorProto.INT64, [2], [0, 1])
    white = helper.make_tensor("white", TensorProto.FLOAT, [], [255.0])
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [4], [1.0, 1.0, 4.0, 4.0])
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])

    def to_labels(name: str) -> list[Any]:
        return [
            node("Resize", [name, "", "scale"], ["large"], mode="nearest"),
            node("ArgMax", ["large"], ["ids"], axis=1, keepdims=0),
            node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
        ]

    save(
        "key",
        [
            node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            node("Reshape", ["pixels", "blocks"], ["cut"]),
            node("ReduceMean", ["cut", "axes"], ["grey"], keepdims=0),
            node("Unsqueeze", ["grey", "first"], ["light"]),
            node("Sub", ["white", "light"], ["dark"]),
            node("Concat", ["dark", "light"], ["scores"], axis=1),
            *to_labels("scores"),
        ],
        [image],
        [labels, scores],
        [blocks, axes, first, white, scale],
    )
    save(
        "state",
        [
            node("ReduceSum", ["motion", "one"], ["shift"], keepdims=1),
            node("Add", ["scores", "shift"], ["moved"]),
            *to_labels("moved"),
        ],
        [scores, motion],
        [labels],
        [one, scale],
    )


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "toy.vss"
    folder.mkdir()
    graphs(folder)
    manifest = toys.manifest(SIZE, GRID, "interval:4")
    hashed = tuple(
        replace(graph, sha256=hashlib.sha256((folder / graph.file).read_bytes()).hexdigest())
        for graph in manifest.graphs
    )
    bundle.write(folder, replace(manifest, graphs=hashed))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("clip") / "v.mp4", pan(9, SIZE))


def test_the_readme_s_loop(street: Path, clip: Path) -> None:
    session = vss.load(street).session(policy=vss.Interval(5))
    routes = []
    with vss.open_source(clip) as source:
        for frame in source:
            prediction = session.step(frame)
            routes.append(prediction.decision.route)
            assert prediction.labels.shape == SIZE
            if prediction.decision.route != "nonkey":
                blocks = frame.image.reshape(12, 4, 16, 4, 3).mean((1, 3, 4))
                clear = np.abs(blocks - 127.5) > 1
                assert np.array_equal(prediction.labels[::4, ::4][clear], (blocks > 127.5)[clear])
    assert routes == ["start", *["nonkey"] * 4, "key", *["nonkey"] * 3]


def test_the_bundle_s_own_policy(street: Path, clip: Path) -> None:
    segmenter = vss.load(str(street))
    assert segmenter.engine == "onnxruntime"
    for policy, gaps in ((None, [0, 1, 2, 3] * 2 + [0]), ("interval:2", [0, 1] * 4 + [0])):
        session = segmenter.session(policy)
        with open_source(clip) as source:
            assert [session.step(frame).frames_since_key for frame in source] == gaps


def test_engines_agree(street: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for engine in ("onnxruntime", "numpy"):
        monkeypatch.setenv("EDGE_VSS_ENGINE", engine)
        segmenter = vss.load(street)
        assert segmenter.engine == engine
        session = segmenter.session()
        with open_source(clip) as source:
            results.append(np.stack([session.step(frame).labels for frame in source]))
    assert np.array_equal(results[0], results[1])
    # The argument goes before the environment.
    assert vss.load(street, engine="onnxruntime", threads=1).engine == "onnxruntime"


def test_results_are_the_caller_s_to_keep(street: Path, clip: Path) -> None:
    session = vss.load(street).session("interval:1", logits=True)
    with open_source(clip) as source:
        predictions = [session.step(frame) for frame in source]
    labels = [prediction.labels.copy() for prediction in predictions]
    logits = [np.asarray(prediction.logits).copy() for prediction in predictions]
    with open_source(clip) as source:
        for frame in source:
            session.step(frame)
    for prediction, label, logit in zip(predictions, labels, logits, strict=True):
        assert np.array_equal(prediction.labels, label)
        assert prediction.logits is not None
        assert np.array_equal(prediction.logits, logit)


def test_a_default_policy_that_is_not_known_is_the_bundle_s_fault(street: Path, tmp_path: Path) -> None:
    spoiled = tmp_path / "often.vss"
    shutil.copytree(street, spoiled)
    manifest = bundle.read(spoiled)
    bundle.write(spoiled, replace(manifest, policy="often"))
    with pytest.raises(BundleError, match=r"often\.vss: \"policy\" .* 'often': .*; convert the model again"):
        vss.load(spoiled)


def test_what_cannot_be_loaded(street: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        vss.load(tmp_path / "missing.vss")
    with pytest.raises(OptionError, match="no engine is called 'abacus'"):
        vss.load(street, engine="abacus")
    with pytest.raises(OptionError, match="threads"):
        vss.load(street, threads=-1)
    with pytest.raises(OptionError, match="no policy is spelled"):
        vss.load(street).session("sometimes")
    altered = tmp_path / "altered.vss"
    shutil.copytree(street, altered)
    with (altered / "state.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="altered"):
        vss.load(altered)
