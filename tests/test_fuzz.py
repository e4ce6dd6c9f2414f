"""Whatever a stranger made of a manifest, a class list or a label map: it is read, or fails as documented.

The examples are the same in every run. With EDGE_VSS_SOAK=1 there are a hundred times as many, and new ones.
"""

from __future__ import annotations

import copy
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_vss import bundle, classes
from edge_vss.errors import BundleError, OptionError, SourceError
from edge_vss.runtimes.tools.ground_truth import read_labels
from tests.test_bundle import manifest
from tests.test_ground_truth import png

SOAK = os.environ.get("EDGE_VSS_SOAK") == "1"
fuzzed = settings(
    derandomize=not SOAK,
    max_examples=20_000 if SOAK else 200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.just(10**400)
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.sampled_from(
        ["", ".", "..", "key.onnx", "image", "labels", "motion", "key", "state", "uint8", "exact"]
    ),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("fuzz") / "street.vss"
    with bundle.building(target) as folder:
        bundle.write(folder, manifest(folder))
    return target


@pytest.fixture(scope="module")
def good(street: Path) -> Any:
    return json.loads((street / "manifest.json").read_text())


def places(data: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a manifest."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [prefix] * bool(prefix) + [way for key, value in inner for way in places(value, (*prefix, key))]


def read(street: Path, content: bytes) -> None:
    """Read a bundle with this manifest, twice where it is good; a refusal is one line."""
    (street / "manifest.json").write_bytes(content)
    try:
        found = bundle.read(street)
    except BundleError as error:
        said = str(error)
        assert said.isprintable() and len(said) < 4000
        return
    assert all(
        array.shape == state.shape
        for state, array in zip(found.state, found.initial_state().values(), strict=True)
    )
    assert found.gmac_per_frame(0.5) >= 0
    bundle.write(street, found)
    assert bundle.read(street) == found


@fuzzed
@given(st.data())
def test_a_manifest_with_anything_in_any_place(street: Path, good: Any, data: st.DataObject) -> None:
    changed = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(places(changed)))
        holder = changed
        for key in way:
            holder = holder[key]
        action = data.draw(st.sampled_from(["set", "remove", "twice"]))
        if action == "set":
            holder[last] = data.draw(JSON)
        elif action == "remove":
            del holder[last]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
    read(street, json.dumps(changed).encode())


@fuzzed
@given(st.data())
def test_a_manifest_of_damaged_bytes(street: Path, good: Any, data: st.DataObject) -> None:
    content = bytearray(json.dumps(good).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    read(street, bytes(content))


@fuzzed
@given(st.one_of(st.binary(max_size=300), TEXTS.map(lambda text: text.encode(errors="surrogatepass"))))
def test_a_class_list_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    try:
        found = classes.find(str(tmp_path / "names.txt"))
    except OptionError as error:
        assert str(error).isprintable()
        return
    assert 1 <= len(found) <= 255 and len(found.palette) == len(found.names) == len(set(found.names))
    assert all(0 <= value <= 255 for colour in found.palette for value in colour)


@fuzzed
@given(TEXTS)
def test_a_class_set_of_any_name(name: str) -> None:
    try:
        assert 1 <= len(classes.find(name)) <= 255
    except OptionError as error:
        assert str(error).isprintable()


@fuzzed
@given(st.data())
def test_a_label_map_of_damaged_parts(tmp_path: Path, data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(0, 40), st.integers(0, 40)))
    depth, colour = data.draw(
        st.sampled_from([(1, 3), (2, 3), (4, 3), (8, 3), (8, 0), (8, 0), (3, 3), (16, 0)])
    )
    rows = size[0] + data.draw(st.integers(-1, 1))
    pixels = bytes(max(rows, 0) * (1 + -(-size[1] * depth // 8)))
    content = bytearray(png(size, zlib.compress(pixels), depth, colour, data.draw(st.integers(0, 1))))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (tmp_path / "0.png").write_bytes(content)
    try:
        labels = read_labels(tmp_path / "0.png")
    except SourceError as error:
        assert str(error).isprintable()
        return
    width, height = struct.unpack(">II", content[16:24])
    assert labels.shape == (height, width) and labels.dtype == np.uint8
