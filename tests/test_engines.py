"""One suite for every engine, ours or a third party's. Where torch is absent (a device, or the environment of
tflite-runtime) EDGE_VSS_BUNDLES names a folder that tests/engine_bundles.py has filled.
"""

import builtins
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_vss import bundle, plugins
from edge_vss.bundle import GraphSpec, Manifest, TensorSpec
from edge_vss.cli import app
from edge_vss.cli._hushed import without_reports
from edge_vss.errors import EngineError, MissingExtra, OptionError
from edge_vss.runtimes.engines import ENGINES as KINDS
from edge_vss.runtimes.engines import EngineDescription, EngineOptions, Tensor, as_array
from edge_vss.runtimes.operations import own_way
from edge_vss.runtimes.operations.warp_labels import NAME as WARP_LABELS
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.video import Frame
from tests.helpers.cli import CliRunner
from tests.helpers.engine_bundles import NETWORKS, steps
from tests.helpers.engine_choice import ENGINES, Made, compiled, inputs
from tests.helpers.videos import encode, pan
from tests.helpers.warps import labels_of, motions


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


def test_motion_that_is_not_a_number_does_no_harm(labels_bundle: tuple[Path, Manifest]) -> None:
    folder, manifest = labels_bundle
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


def test_the_fixture_is_a_valid_bundle(labels_bundle: tuple[Path, Manifest]) -> None:
    assert bundle.read(labels_bundle[0]) == labels_bundle[1]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_provider_that_is_not_there_is_named_with_those_that_are(made: Made, engine: str) -> None:
    with pytest.raises(EngineError, match=r"no .*warp.* here: it has .*cpu"):
        load(made(engine), engine, provider="warp")
    assert load(made(engine), engine, provider="CPU").engine == engine


@pytest.mark.parametrize("engine", ["onnxruntime", "tflite", "numpy"])
def test_an_option_that_an_engine_does_not_have_is_refused(made: Made, engine: str) -> None:
    with pytest.raises(OptionError, match=f"{engine} has no choice of hint"):
        load(made(engine), engine, hint="throughput")


def test_tflite_reports_nothing_where_nothing_is_wrong(made: Made, tmp_path: Path) -> None:
    clip = encode(tmp_path / "v.mp4", pan(7))
    command = [sys.executable, "-m", "edge_vss", "run", str(made("tflite")), str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("7 frames;") and not done.stdout


def test_what_the_library_warns_of_is_shown_while_an_engine_is_held_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with without_reports("tflite", debug=False):
        os.write(2, b"noise")
        plugins.LOG.warning("a choice no longer runs")
    assert capfd.readouterr().err == "warning: a choice no longer runs\n"


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
    labels_bundle: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
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
    assert load(labels_bundle[0], "theirs", threads=3).engine == "theirs"


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_bytes(engine: str, made: Made) -> None:
    path = made(engine)
    manifest = bundle.read(path)
    graph = manifest.graph("state")
    assert graph.operation == WARP_LABELS
    own = own_way(graph)
    assert own is not None
    call = compiled(engine, path, graph)
    size, grid = manifest.frame_size, manifest.motion.grid if manifest.motion else (0, 0)
    for name, motion in motions(size, grid).items():
        tensors: dict[str, Tensor] = {"key_labels": labels_of(size) % 3, "motion": motion}
        assert (call(tensors)["labels"] == own(tensors)["labels"]).all(), name
