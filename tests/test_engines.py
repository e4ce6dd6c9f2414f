"""One suite for every engine, ours or a third party's. Where torch is absent (a device, or the environment of
tflite-runtime) EDGE_VSS_BUNDLES names a folder that tests/engine_bundles.py has filled.
"""

import builtins
import json
import math
import os
import platform
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_vss import bundle, plugins
from edge_vss.bundle import GraphSpec, Manifest, TensorSpec
from edge_vss.cli import app
from edge_vss.errors import EngineError, MissingExtra, OptionError
from edge_vss.runtimes.engines import ENGINES as KINDS
from edge_vss.runtimes.engines import EngineDescription, EngineOptions, Tensor, as_array, giving_arrays
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame
from tests.benchmarks.copies import step_costs
from tests.helpers.cli import CliRunner
from tests.helpers.engine_bundles import NETWORKS, make, steps
from tests.helpers.videos import encode, pan

THEIRS = dict(entry.split(":") for entry in os.environ.get("EDGE_VSS_ENGINES", "").split())
"""A third party's engines under test, as NAME:TARGET."""
ENGINES = ["numpy", "onnxruntime", "openvino", "openvino on onnx", "tflite", *THEIRS]
TARGET = {"numpy": "onnx", "onnxruntime": "onnx", "openvino on onnx": "onnx", **THEIRS}
"""Engine → the target that it runs, where that is not its own."""
NEEDS = {"numpy": ("onnx",), "tflite": ("ai_edge_litert", "tflite_runtime")}

Made = Callable[..., Path]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Engine (of ENGINES) and network → its bundle. Skips where the engine is not installed."""
    given = os.environ.get("EDGE_VSS_BUNDLES")
    folder = Path(given) if given else tmp_path_factory.mktemp("engines")

    def find(engine: str, network: str = "labels") -> Path:
        name = engine.partition(" ")[0]
        if name not in THEIRS and not any(find_spec(module) for module in NEEDS.get(name, (name,))):
            pytest.skip(f"{name} is not installed")
        target = TARGET.get(engine, engine)
        if not given:
            pytest.importorskip("torch", reason="the converter's half is not installed")
        if target == "tflite" and not given and find_spec("litert_torch") is None:
            pytest.skip("litert-torch is not installed: nothing writes TFLite")
        return make(folder, network, target)

    return find


@pytest.fixture(scope="module")
def street(made: Made) -> tuple[Path, Manifest]:
    path = made("onnxruntime")
    return path, bundle.read(path)


def compiled(engine: str, folder: Path, graph: GraphSpec, **options: Any) -> Any:
    load = KINDS.find(engine.partition(" ")[0]).call
    return giving_arrays(load(folder / graph.file, graph, EngineOptions(**options)))


def inputs(manifest: Manifest) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    assert manifest.motion is not None
    given = {"image": rng.integers(0, 256, (1, *manifest.frame_size, 3), np.uint8)}
    given["motion"] = rng.uniform(-2, 2, (1, 2, *manifest.motion.grid)).astype(np.float32)
    for state in manifest.state:
        high = 3 if state.dtype == "uint8" else 2
        given[state.name] = rng.integers(0, high, state.shape).astype(state.dtype)
    return given


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("engine", ENGINES)
def test_twelve_frames_are_labelled_as_torch_labels_them(made: Made, engine: str, network: str) -> None:
    path = made(engine, network)
    segmenter = load(path, engine.partition(" ")[0])
    expected = np.load(path.parent / f"{network}.npz")
    manifest = segmenter.manifest
    state: dict[str, Tensor] = dict(manifest.initial_state())
    equal = []
    for step, route in enumerate(steps(manifest)):
        tensors: dict[str, Tensor] = {
            "image": expected[f"image{step}"],
            "motion": expected[f"motion{step}"],
            **state,
        }
        for role in manifest.routes[route]:
            outputs = segmenter.graphs[role](tensors)
            for spec in manifest.graph(role).outputs:
                assert outputs[spec.name].dtype == spec.dtype and outputs[spec.name].shape == spec.shape
            tensors |= outputs
        # What one step gave goes into the next one as the engine keeps it.
        state = manifest.next_state(tensors)
        equal.append((as_array(tensors["labels"]) == expected[f"labels{step}"]).mean())
    assert np.mean(equal) >= 0.999, equal


@pytest.mark.parametrize("network", ["lmanet", "tv3s"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "tflite"])
def test_every_verb_works_on_networks_with_a_memory(
    made: Made, tmp_path: Path, engine: str, network: str
) -> None:
    path, clip = str(made(engine, network)), str(encode(tmp_path / "v.mp4", pan(9, (64, 96))))
    labels = tmp_path / "labels"
    ran = invoke("run", path, clip, "--policy", "interval:2", "--save-labels", str(labels))
    assert ran["frames"] == 9 and ran["keyframes"] == 5
    scored = invoke("evaluate", path, clip, "--truth", str(labels), "--policy", "interval:2")
    assert scored["miou"] == pytest.approx(100)
    timed = invoke("profile", path, clip, "--policy", "interval:3")
    assert timed["frames"] == 9 and timed["baseline"]["key_share"] == 1


def invoke(*command: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*command, "--json", "-"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_gives_only_what_the_manifest_names(made: Made, engine: str) -> None:
    folder = made(engine)
    manifest = bundle.read(folder)
    fewer = replace(manifest.graph("key"), outputs=manifest.graph("key").outputs[:1])
    assert set(compiled(engine, folder, fewer, threads=1)(inputs(manifest))) == {"labels"}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_call_gave_is_the_callers(made: Made, engine: str) -> None:
    folder = made(engine)
    manifest = bundle.read(folder)
    call, given = compiled(engine, folder, manifest.graph("key")), inputs(manifest)
    first = call(given)
    kept = {name: array.copy() for name, array in first.items()}
    second = call({**given, "image": 255 - given["image"]})
    assert any(not np.array_equal(second[name], kept[name]) for name in kept)
    for name, array in first.items():
        assert np.array_equal(array, kept[name])
        array[...] = 0
    for name, array in call(given).items():
        assert np.array_equal(array, kept[name])


@pytest.mark.parametrize("engine", ENGINES)
def test_two_sessions_on_one_bundle_do_not_disturb_each_other(made: Made, engine: str) -> None:
    segmenter = load(made(engine), engine.partition(" ")[0])
    image = inputs(segmenter.manifest)["image"][0]
    pair = []
    for flip in (0, 255):
        with open_source([np.roll(image ^ flip, 2 * i, 1) for i in range(4)], motion="none") as source:
            pair.append(list(source))
    alone = [labelled(segmenter, frames) for frames in pair]
    sessions = [segmenter.session("interval:2") for _ in pair]
    for step in range(4):
        for session, frames, expected in zip(sessions, pair, alone, strict=True):
            assert np.array_equal(session.step(frames[step]).labels, expected[step])


def labelled(segmenter: Segmenter, frames: list[Frame]) -> list[np.ndarray]:
    session = segmenter.session("interval:2")
    return [session.step(frame).labels for frame in frames]


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_share_a_graph(made: Made, engine: str) -> None:
    folder = made(engine)
    manifest = bundle.read(folder)
    call, given = compiled(engine, folder, manifest.graph("key"), threads=1), inputs(manifest)
    pictures = [np.roll(given["image"], shift, 2) for shift in range(8)]
    expected = [call({"image": picture})["labels"] for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: call({"image": picture})["labels"], pictures * 4))
    for labels, wanted in zip(found, expected * 4, strict=True):
        assert np.array_equal(labels, wanted)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "image"),
        ({"image": np.zeros((1, 8, 8, 3), np.uint8)}, "key"),
        ({"image": np.zeros((1, 48, 64, 3), np.float32)}, "key"),
    ],
)
def test_a_wrong_tensor_is_an_engine_error(
    made: Made, engine: str, change: dict[str, Any], message: str
) -> None:
    folder = made(engine)
    manifest = bundle.read(folder)
    given = {name: value for name, value in (inputs(manifest) | change).items() if value is not None}
    with pytest.raises(EngineError, match=message) as caught:
        compiled(engine, folder, manifest.graph("key"))(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 11, 0.5])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_file_is_an_engine_error(tmp_path: Path, made: Made, engine: str, keep: float) -> None:
    folder = made(engine)
    graph = bundle.read(folder).graph("key")
    whole = (folder / graph.file).read_bytes()
    content = b"not a graph" if keep == 11 else whole[: int(len(whole) * keep)]
    (tmp_path / graph.file).write_bytes(content)
    if graph.data:
        (tmp_path / graph.data).write_bytes((folder / graph.data).read_bytes())
    with pytest.raises(EngineError, match=graph.file) as caught:
        compiled(engine, tmp_path, graph)
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
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "numpy"])
def test_a_file_that_breaks_its_contract_is_refused(made: Made, engine: str, index: int) -> None:
    folder = made(engine)
    graph = wrong_specs(bundle.read(folder).graph("key"))[index]
    with pytest.raises(EngineError, match="convert the model again"):
        compiled(engine, folder, graph)


@pytest.mark.parametrize(
    ("engine", "package", "extra"),
    [
        ("onnxruntime", "onnxruntime", "onnxruntime"),
        ("numpy", "onnx", "convert"),
        ("openvino", "openvino", "openvino"),
        ("tflite", "ai_edge_litert", "tflite"),
    ],
)
def test_a_missing_library_names_its_extra(
    made: Made, monkeypatch: pytest.MonkeyPatch, engine: str, package: str, extra: str
) -> None:
    folder = made(engine)
    graph = bundle.read(folder).graph("key")
    load = KINDS.find(engine).call
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in (package, "tflite_runtime"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=rf'pip install "edge-vss\[{extra}\]"'):
        load(folder / graph.file, graph)


def test_motion_that_is_not_a_number_does_no_harm(street: tuple[Path, Manifest]) -> None:
    folder, manifest = street
    graph, given = manifest.graph("state"), inputs(manifest)
    spoiled = {**given, "motion": np.full_like(given["motion"], np.nan)}
    call = compiled("onnxruntime", folder, graph)
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


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_provider_that_is_not_there_is_named_with_those_that_are(made: Made, engine: str) -> None:
    with pytest.raises(EngineError, match=r"no .*warp.* here: it has .*cpu"):
        load(made(engine), engine, provider="warp")
    assert load(made(engine), engine, provider="CPU").engine == engine


@pytest.mark.parametrize("engine", ["onnxruntime", "tflite", "numpy"])
def test_an_option_that_an_engine_does_not_have_is_refused(made: Made, engine: str) -> None:
    with pytest.raises(OptionError, match=f"{engine} has no choice of hint"):
        load(made(engine), engine, hint="throughput")


def test_openvino_takes_a_hint(made: Made) -> None:
    path = made("openvino")
    assert load(path, hint="throughput").engine == "openvino"
    with pytest.raises(OptionError, match="no hint is called 'speed': choose one of latency, throughput"):
        load(path, hint="speed")


def test_openvino_keeps_what_it_compiled(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made("openvino")
    monkeypatch.setenv("EDGE_VSS_CACHE", str(tmp_path / "cache"))
    load(path)
    assert list((tmp_path / "cache" / "openvino").rglob("*.blob"))
    monkeypatch.setenv("EDGE_VSS_CACHE", "")
    assert load(path).engine == "openvino"


@pytest.mark.parametrize(("engine", "target"), [("tflite", "onnx"), ("onnxruntime", "tflite")])
def test_an_engine_that_does_not_run_the_target_says_which_it_runs(
    made: Made, engine: str, target: str
) -> None:
    path = made({"onnx": "onnxruntime"}.get(target, target))
    with pytest.raises(OptionError, match=f"{engine} runs .*, and this bundle is for {target}"):
        load(path, engine)


def test_the_old_tflite_runtime_is_refused_beside_numpy_2(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_vss.runtimes.engines import tflite

    path = made("tflite")
    if int(np.__version__.partition(".")[0]) < 2:
        pytest.skip("NumPy is older than 2 here")
    for name in ("compiled_model", "interpreter"):
        monkeypatch.setitem(sys.modules, f"ai_edge_litert.{name}", None)
    monkeypatch.setattr(tflite, "_has_old_runtime", lambda: True)
    with pytest.raises(EngineError, match=r"tflite-runtime does not work with NumPy 2.*ai-edge-litert"):
        load(path)


def test_a_third_partys_engine_is_found_by_its_entry_point(
    street: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def engine(path: Path, graph: GraphSpec, options: EngineOptions) -> Callable[..., Any]:
        asked.append((path.name, graph.role, options.threads))
        return lambda tensors: {}

    class Point:
        name = "theirs"

        @staticmethod
        def load() -> Any:
            return SimpleNamespace(load=engine, DESCRIPTION=EngineDescription(("onnx",), (), (), ""))

    monkeypatch.setattr(
        plugins, "entry_points", lambda group, name=None: [Point] if "engine" in group else []
    )
    assert load(street[0], "theirs", threads=3).engine == "theirs"
    assert asked == [("key.onnx", "key", 3), ("state.onnx", "state", 3)]


WITH_MEMORY = [("onnxruntime", "lmanet"), ("openvino", "tv3s"), ("tflite", "lmanet")]


@pytest.mark.parametrize(("engine", "network"), WITH_MEMORY)
def test_state_is_not_copied_between_steps(made: Made, engine: str, network: str) -> None:
    segmenter = load(made(engine, network), engine)
    manifest = segmenter.manifest
    assert manifest.motion is not None
    # A picture and motion go in, labels and checks are read: that is all, of what takes memory.
    fed = math.prod((*manifest.frame_size, 3)) + 2 * 4 * math.prod(manifest.motion.grid)
    read = math.prod(manifest.frame_size)
    copied, allocated = step_costs(segmenter, "key")
    state = sum(tensor.nbytes for tensor in manifest.state)
    assert copied <= (2 * fed + read if engine == "tflite" else 0)
    assert state > 2 * fed + read, "the network has too little state to tell"
    assert allocated < read + 50_000


@pytest.mark.parametrize("engine", ENGINES)
def test_what_calls_gave_stays_as_it_is(made: Made, engine: str) -> None:
    segmenter = load(made(engine, "scores"), engine.partition(" ")[0])
    fed = inputs(segmenter.manifest)
    call = segmenter.graphs["key"]
    kept: list[tuple[Tensor, np.ndarray]] = []
    for shift in range(12):
        given = call({"image": np.roll(fed["image"], 5 * shift, 2)})
        kept += [(tensor, as_array(tensor).copy()) for tensor in given.values()]
        # Some go, so that their memory is used again, and some stay.
        del kept[:: 5 if shift % 2 else 7]
    assert len(kept) > 10
    for tensor, before in kept:
        assert np.array_equal(as_array(tensor), before)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_view_keeps_what_it_shows(made: Made, engine: str) -> None:
    folder = made(engine, "scores")
    manifest = bundle.read(folder)
    call, fed = compiled(engine, folder, manifest.graph("key")), inputs(manifest)
    rows = [call({"image": np.roll(fed["image"], shift, 2)})["labels"][0, 3:9] for shift in range(9)]
    expected = [
        call({"image": np.roll(fed["image"], shift, 2)})["labels"][0, 3:9].copy() for shift in range(9)
    ]
    for row, wanted in zip(rows, expected, strict=True):
        assert np.array_equal(row, wanted)


def test_memory_is_used_again_when_nobody_holds_it(street: tuple[Path, Manifest]) -> None:
    folder, manifest = street
    call, fed = compiled("onnxruntime", folder, manifest.graph("key")), inputs(manifest)
    places = {call(fed)["labels"].ctypes.data for _ in range(20)}
    assert len(places) == 1
    held = [call(fed)["labels"] for _ in range(20)]
    assert len({labels.ctypes.data for labels in held}) == 20


@pytest.mark.parametrize("network", ["scores", "lmanet"])
def test_outputs_may_stay_on_a_device(made: Made, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The CPU's own memory stands for an accelerator's: ONNX Runtime handles both the same way.
    from edge_vss.runtimes.engines import onnxruntime

    path = made("onnxruntime", network)
    frames = list(open_source(list(np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8))))
    usual = load(path, "onnxruntime").session()
    expected = [usual.step(frame).labels for frame in frames]
    monkeypatch.setitem(onnxruntime.DEVICES, "cpu", "cpu")
    session = load(path, "onnxruntime").session()
    for frame, labels in zip(frames, expected, strict=True):
        assert np.array_equal(session.step(frame).labels, labels)
    assert not any(isinstance(tensor, np.ndarray) for tensor in session.state.tensors.values())
    for name, array in usual.state.items():
        assert np.array_equal(session.state[name], array)


def test_graphs_of_one_tflite_file_run_at_the_same_time(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key graph waits inside its call until the state graph has run."""
    # tflite-runtime, the older package, has no calls by name to wait inside of.
    CompiledModel = pytest.importorskip("ai_edge_litert.compiled_model").CompiledModel
    segmenter = load(made("tflite", "scores"), "tflite")
    fed, done, inside = inputs(segmenter.manifest), threading.Event(), threading.Event()
    run = CompiledModel.run_by_name

    def waiting(self: Any, role: str, *buffers: Any) -> None:
        if role == "key":
            inside.set()
            assert done.wait(60)
        run(self, role, *buffers)

    monkeypatch.setattr(CompiledModel, "run_by_name", waiting)
    with ThreadPoolExecutor(1) as pool:
        key = pool.submit(segmenter.graphs["key"], fed)
        assert inside.wait(60)
        segmenter.graphs["state"](fed)
        done.set()
        key.result()
