"""docs/bundle.md, its schema and its vectors: right for the runtime, and enough for a reader of one's own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vss import bundle
from edge_vss.bundle import json_fields, reading, rules
from edge_vss.decisions import Decision, Track
from edge_vss.errors import BundleError, EngineError
from edge_vss.motion_field import MotionField
from edge_vss.runtimes.engines import ENGINES
from edge_vss.runtimes.operations import own_way
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.tracing.root_map import Tracer
from edge_vss.video import Frame, Size
from tests.helpers import vectors
from tests.helpers.reader import ExactTracer, GridTracer, Reader, grid_of, rollout
from tests.helpers.warps import spec
from tests.test_bundle import WRONG
from tests.test_bundle import street as street  # a fixture

DOCS = Path(__file__).parents[1] / "docs"
BUNDLES = sorted(vectors.BUNDLES)
ENGINES_OF_ONNX = [name for name in ENGINES.names() if "onnx" in ENGINES.find(name).description.targets]


class Still:
    """A picture that is there already."""

    device = "cpu"

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.nbytes = pixels.nbytes

    def rgb(self, size: Size | None = None) -> NDArray[np.uint8]:
        assert size in (None, self.pixels.shape[:2])
        return self.pixels

    def luma(self) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.pixels[..., 1])


def frame(index: int, pixels: NDArray[np.uint8], displacement: NDArray[np.float32] | None = None) -> Frame:
    field = None
    if displacement is not None:
        shape = displacement.shape[1:]
        field = MotionField(displacement, np.ones(shape, np.bool_), np.ones(shape, np.int8), 8)
    return Frame(index, index / 25, "P", (pixels.shape[0], pixels.shape[1]), Still(pixels), motion=field)


def need(engine: str) -> None:
    if not ENGINES.find(engine).description.installed:
        pytest.skip(f"{engine} is not installed")


@pytest.mark.parametrize("engine", ENGINES_OF_ONNX)
@pytest.mark.parametrize("name", BUNDLES)
def test_every_engine_gives_the_vectors_from_their_motion(name: str, engine: str) -> None:
    need(engine)
    routes, arrays = vectors.load()
    path = vectors.FOLDER / f"{name}.vss"
    try:
        graphs = load(path, engine, threads=1).graphs
    except EngineError as error:
        if "GridSample" in str(error):
            pytest.skip("this OpenVINO reads no GridSample of opset 20")
        raise
    manifest = json.loads((path / "manifest.json").read_text())
    found = rollout(Reader(manifest, graphs), routes, arrays["image"], arrays["displacement"])
    assert np.array_equal(found["labels"], arrays[f"{name}/labels"])
    for state in ("scores", "seen"):
        assert np.abs(found[state] - arrays[f"{name}/{state}"]).max() < 1e-5


@pytest.mark.parametrize("name", BUNDLES)
def test_the_runtime_gives_the_vectors_from_their_displacements(name: str) -> None:
    need("onnxruntime")
    routes, arrays = vectors.load()
    told = iter(routes)

    def policy(frame: Frame, track: Track) -> Decision:
        return Decision(next(told), "as the vectors say")

    session = load(vectors.FOLDER / f"{name}.vss", "onnxruntime", threads=1).session(policy)
    for index, pixels in enumerate(arrays["image"]):
        if not index:
            next(told)  # a first frame is not asked about
        made = session.step(frame(index, pixels, arrays["displacement"][index]))
        assert made.decision.route == routes[index]
        # OpenCV before 5 samples at whole 32nds of a cell, where mode grid wants parts of pixels.
        if name == "exact":
            assert np.array_equal(made.labels, arrays["exact/labels"][index])
        assert (made.labels == arrays[f"{name}/labels"][index]).mean() > 0.97
        apart = np.abs(session.state["seen"] - arrays[f"{name}/seen"][index])
        assert apart.max() < (1e-5 if name == "exact" else 0.2)


@pytest.mark.parametrize("sampling", ["centres", "corners"])
@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    grid=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 99),
)
def test_both_modes_trace_as_a_reader_of_the_norm_does(
    sampling: str, size: Size, grid: Size, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    readers: dict[str, GridTracer | ExactTracer] = {"grid": GridTracer(size), "exact": ExactTracer(size)}
    tracers = {mode: Tracer(mode) for mode in readers}
    pixels = np.zeros((*size, 3), np.uint8)
    for tracer in tracers.values():
        tracer.anchor(frame(0, pixels))
    for index in range(1, 5):
        displacement = rng.normal(0, 3, (2, *grid_of(size))).astype(np.float32)
        for mode in readers:
            readers[mode].follow(displacement)
            tracers[mode].follow(frame(index, pixels, displacement))
    for mode, allowed_px in (("exact", 1e-3), ("grid", 0.5)):
        wanted = readers[mode].motion(grid, sampling)[0] * (np.array(size[::-1]) / grid[::-1])[:, None, None]
        found = tracers[mode].root(grid, sampling) * (np.array(size[::-1]) / grid[::-1])[:, None, None]
        assert np.abs(found - wanted).max() < allowed_px


def test_the_vectors_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    vectors.make(tmp_path)
    made = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(vectors.FOLDER): path for path in vectors.FOLDER.rglob("*") if path.is_file()}
    assert made.keys() == kept.keys() - {Path("README.md")}
    for name, path in made.items():
        assert path.read_bytes() == kept[name].read_bytes(), name


def test_the_vectors_of_the_standard_operation() -> None:
    _, arrays = vectors.load()
    labels, motion, moved = (arrays[f"warp_labels/{name}"] for name in ("labels", "motion", "moved"))
    own = own_way(spec((35, 61), (5, 8)))
    assert own is not None
    for given_, expected in zip(motion, moved, strict=True):
        assert (own({"key0": labels, "motion": given_[None]})["labels0"][0] == expected).all()


def test_the_vectors_tell_right_from_wrong() -> None:
    routes, arrays = vectors.load()
    assert set(routes) == {"start", "key", "nonkey"}
    for name in BUNDLES:
        labels = arrays[f"{name}/labels"]
        assert all((labels[index] != labels[index - 1]).any() for index in range(2, len(routes)))
        moved = arrays[f"{name}/motion"]
        assert not moved[0].any() and moved[1:4].any(axis=(1, 2, 3)).all()
    assert (arrays["grid/labels"] != arrays["exact/labels"]).any()


@pytest.fixture(scope="module")
def accepts() -> Callable[[Any], bool]:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((DOCS / "bundle.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    valid: Callable[[Any], bool] = jsonschema.Draft202012Validator(schema).is_valid
    return valid


def test_the_schema_accepts_what_is_read(accepts: Callable[[Any], bool], street: Path) -> None:
    for path in (street, *(vectors.FOLDER / f"{name}.vss" for name in BUNDLES)):
        data = json.loads((path / "manifest.json").read_text())
        assert accepts(data)
        # A newer minor version has keys that this one does not know.
        assert accepts(data | {"version": "1.99", "more": 1})
        old = data | {"version": "1.0"}
        del old["precision"]
        assert accepts(old) and bundle.parse(old)


def test_norm_schema_and_reader_have_the_same_limits() -> None:
    schema = json.loads((DOCS / "bundle.schema.json").read_text())
    norm = " ".join((DOCS / "bundle.md").read_text().split())
    top, inner = schema["properties"], schema["$defs"]
    graphs, state, routes = (rules.MOST[name] for name in ("graphs", "state", "routes"))
    assert (top["graphs"]["maxItems"], top["state"]["maxItems"]) == (graphs, state)
    assert top["routes"]["maxProperties"] == routes
    assert top["routes"]["additionalProperties"]["maxItems"] == rules.MOST_ROLES
    assert inner["tensors"]["maxItems"] == rules.MOST_TENSORS
    assert inner["text"]["maxLength"] == json_fields.MOST_TEXT
    assert inner["dtype"]["enum"] == list(json_fields.DTYPES)
    assert (
        f"{graphs} graphs, {state} state tensors, {routes} routes, {rules.MOST_TENSORS} inputs or "
        f"{rules.MOST_TENSORS} outputs of a graph, or {rules.MOST_ROLES} roles on a route"
    ) in norm
    assert f", or {rules.MOST['heads']} heads" in norm and top["heads"]["maxItems"] == rules.MOST["heads"]
    assert f"more than {rules.MOST_BYTES >> 30} GiB together" in norm
    assert f"more than {json_fields.MOST_DEEP} lists and objects within each other" in norm
    assert f"at most {reading.MANIFEST_BYTES >> 20} MB" in norm
    assert f"| `version` | string | `{bundle.VERSION}`" in norm


NOT_FOR_A_SCHEMA = (
    "no graph has the role 'warp'",
    "elsewhere",
    "classes with",
    "the start route gives no",
    "on the nonkey route",
    "two graphs have",
    "no graph writes",
    "gone.onnx",
    "missing",
    "has to end in",
    '"data" of key',
    "altered",
    "cannot hold",
    "called 'image'",
)
"""What the norm says and a schema cannot: how parts fit together, and what lies in the folder."""


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_the_schema_refuses_what_is_refused(
    accepts: Callable[[Any], bool], street: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    data = json.loads((street / "manifest.json").read_text())
    change(data)
    beyond = any(part in message for part in NOT_FOR_A_SCHEMA) and '" is missing' not in message
    assert accepts(data) == beyond


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.data())
def test_what_the_schema_refuses_the_reader_refuses(
    accepts: Callable[[Any], bool], data: st.DataObject
) -> None:
    changed = copy.deepcopy(json.loads((vectors.FOLDER / "grid.vss" / "manifest.json").read_text()))
    place = changed
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(st.sampled_from([None, True, -1, 0, 1, 1.5, "", "x", [], {}, [1], {"a": 1}]))
    if not accepts(changed):
        with pytest.raises(BundleError):
            bundle.parse(changed)
