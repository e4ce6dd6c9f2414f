"""Reading a state's file: what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.errors import OptionError, StateFileError
from edge_vss.runtimes._state_file import MAGIC, Snapshot, read, write
from tests.helpers.state_files import MANIFEST, NBYTES, TENSORS, content_of_a_file, forged, header_of, saved

EXAMPLES = 10_000 if os.environ.get("EDGE_VSS_SOAK") else 300


@pytest.fixture
def whole() -> bytes:
    return content_of_a_file()


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all of hypothesis's examples."""
    return tmp_path_factory.mktemp("fuzz") / "bad"


def refused(path: Path, error: type[OptionError] = StateFileError) -> str:
    with pytest.raises(OptionError) as caught:
        read(path, MANIFEST)
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.isprintable() and str(path) in message and len(message) < 400
    return message


def test_what_was_written_is_read(tmp_path: Path) -> None:
    tensors, size = read(saved(tmp_path / "s"), MANIFEST)
    assert size == (48, 64)
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype and np.array_equal(tensors[name], array)
        assert tensors[name].flags.writeable and tensors[name].flags.aligned
    assert os.listdir(tmp_path) == ["s"]


def test_arrays_that_lie_otherwise_in_memory_are_stored_alike(tmp_path: Path) -> None:
    turned = {**TENSORS, "scores": np.asfortranarray(TENSORS["scores"].astype(">f4"))}
    write(tmp_path / "t", Snapshot(MANIFEST, turned, (48, 64)))
    assert (tmp_path / "t").read_bytes() == saved(tmp_path / "s").read_bytes()


def moments(whole: bytes) -> list[int]:
    """Places in a file: all kinds of its header's bytes, and some of the tensors'."""
    start = len(whole) - NBYTES
    return [*range(0, start, 3), *range(start - 2, start + 3), *range(start, len(whole), 97), len(whole) - 1]


def test_every_byte_counts(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "bad"
    for place in moments(whole):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        refused(path)


def test_every_length_counts(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "bad"
    for length in moments(whole):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + b"\0")
    assert "bytes where" in refused(path)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 60_000,
        b'{"model":' * 7_000,
        b"9" * 60_000,
        b"[]",
        b"null",
        b"\xff\xfe",
        b"",
        b'{"model": {}, "model": {}, "size": [1, 1], "tensors": [], "sha256": ""}',
        b'{"model": {}, "size": [1, NaN], "tensors": [], "sha256": ""}',
        b'{"model": {}, "size": [1, 1e999], "tensors": [], "sha256": ""}',
    ],
    ids=lambda text: repr(text[:12]),
)
def test_headers_that_are_none(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad"
    path.write_bytes(forged(None, b"", text))
    assert "its header is damaged" in refused(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", [-5, True]),
        ("size", [0, 64]),
        ("size", [48, 64, 3]),
        ("size", [48, 1 << 40]),
        ("size", [48.0, 64]),
        ("size", "48x64"),
        ("size", None),
        ("model", []),
        ("sha256", 7),
        ("tensors", {}),
        ("tensors", [7]),
        ("tensors", [{"name": "scores", "dtype": "object", "shape": [1]}]),
        ("tensors", [{"name": "scores", "dtype": "float32", "shape": [1 << 50]}]),
        ("tensors", [{"name": "scores", "dtype": "float32", "shape": [-1]}]),
        ("tensors", [{"name": ["scores"], "dtype": "float32", "shape": [1]}]),
    ],
)
def test_headers_that_lie_about_the_form(tmp_path: Path, whole: bytes, name: str, value: object) -> None:
    path = tmp_path / "bad"
    header = {**header_of(whole), name: value}
    path.write_bytes(forged(header, b"") if name == "sha256" else forged(header, whole[-NBYTES:]))
    if name == "sha256":
        packed = json.dumps(header).encode()
        path.write_bytes(forged(None, whole[-NBYTES:], packed))
    assert "its header is damaged" in refused(path)


def test_tensors_that_are_not_the_bundles_are_refused_by_name(tmp_path: Path, whole: bytes) -> None:
    path, header, body = tmp_path / "bad", header_of(whole), whole[-NBYTES:]
    specs = header["tensors"]
    for tensors, message in (
        (specs[1:], "scores is missing"),
        ([{**specs[0], "shape": [1, 2, 12, 17]}, *specs[1:]], "scores is float32"),
        ([{**specs[0], "dtype": "float64"}, *specs[1:]], "scores is float64"),
    ):
        path.write_bytes(forged({**header, "tensors": tensors}, body))
        assert message in refused(path, OptionError)
    for tensors in (specs[::-1], [*specs, specs[0]], [*specs, {**specs[0], "name": "../../etc/passwd"}]):
        path.write_bytes(forged({**header, "tensors": tensors}, body))
        assert "other tensors" in refused(path)


@pytest.mark.parametrize("value", ["\x1b]0;owned\x07", "x" * 5000, [[[[]]]], {"a": 1}, None, 4.0, True, "4"])
def test_models_of_another_kind_are_shown_safely(tmp_path: Path, whole: bytes, value: object) -> None:
    header = header_of(whole)
    for name in ("family", "--memory", "frame_size"):
        path = tmp_path / "bad"
        path.write_bytes(forged({**header, "model": {**header["model"], name: value}}, whole[-NBYTES:]))
        assert "is the state of" in refused(path, OptionError)


def test_content_that_no_state_has(tmp_path: Path, whole: bytes) -> None:
    path, header, body = tmp_path / "bad", header_of(whole), bytearray(whole[-NBYTES:])
    path.write_bytes(forged(header, bytes(body)))
    read(path, MANIFEST)
    path.write_bytes(forged(header, bytes(body[:-9]) + b"\x02" + bytes(body[-8:])))
    assert "seen holds what is neither true nor false" in refused(path)
    body[:4] = np.float32(np.nan).tobytes()
    path.write_bytes(forged(header, bytes(body)))
    assert "scores holds NaN" in refused(path)


def test_old_files_and_other_archives_are_refused_unread(tmp_path: Path) -> None:
    old = tmp_path / "old"
    with old.open("wb") as file:
        np.savez(file, edge_vss_state=np.array("{}"), seen=np.zeros(1, np.float32))
    assert "it is of another version" in refused(old)
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("edge_vss_state.npy", bytes(1 << 24))
    assert "it is of another version" in refused(bomb)
    later = tmp_path / "later"
    later.write_bytes(MAGIC[:-1] + b"3" + bytes(100))
    assert "it is of another version" in refused(later)
    for content in (b"", b"not a state", bytes(4096), MAGIC, MAGIC + b"\xff" * 36):
        later.write_bytes(content)
        refused(later)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path, OptionError)
    os.mkfifo(tmp_path / "pipe")
    assert "no plain file" in refused(tmp_path / "pipe", OptionError)
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert "no plain file" in refused(tmp_path / "zero", OptionError)
    assert "there is no state file" in refused(tmp_path / "nosuch", OptionError)
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert "cannot be read" in refused(tmp_path / "round", OptionError)
    with pytest.raises(OptionError, match="cannot be read"):
        read(tmp_path / "nul\0", MANIFEST)


HUGE = """
import resource, sys
from pathlib import Path
from tests.helpers.state_files import MANIFEST
from edge_vss.errors import StateFileError
from edge_vss.runtimes._state_file import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read(Path(path), MANIFEST)
    except StateFileError as error:
        print(error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown // 1024 if sys.platform == "darwin" else grown)
"""


def test_a_file_of_any_size_takes_no_memory(tmp_path: Path, whole: bytes) -> None:
    padded, headed = tmp_path / "padded", tmp_path / "headed"
    for path, start in ((padded, whole), (headed, MAGIC + b"\xff\xff\xff\xff" + bytes(32))):
        path.write_bytes(start)
        os.truncate(path, 1 << 36)
    done = subprocess.run(
        [sys.executable, "-c", HUGE, str(padded), str(headed)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *lines, grown = done.stdout.splitlines()
    assert len(lines) == 2 and int(grown) < 8192, "in KiB"


@settings(derandomize=True, deadline=None, max_examples=EXAMPLES, database=None)
@given(data=st.data())
def test_changed_files_are_refused_in_one_line(data: st.DataObject, bad: Path) -> None:
    """Bytes cut out, doubled, changed and put in; with the header's hash made right again in half of them."""
    content = bytearray(content_of_a_file())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 16))
        content[place : place + length] = data.draw(st.binary(max_size=24))
    start = len(MAGIC) + 4 + 32
    if data.draw(st.booleans()) and len(content) > start:
        length = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 4], "little")
        content[len(MAGIC) + 4 : start] = hashlib.sha256(content[start : start + length]).digest()
    bad.write_bytes(content)
    try:
        tensors, _ = read(bad, MANIFEST)
    except OptionError as error:
        assert str(error).isprintable()
    else:
        # Only the frames' size may differ, and the names of a model that this bundle does not look at.
        assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=EXAMPLES, database=None)
@given(name=st.sampled_from(["model", "size", "tensors", "name", "dtype", "shape"]), value=JSON)
def test_forged_headers_are_refused_in_one_line(name: str, value: object, bad: Path) -> None:
    whole = content_of_a_file()
    header = header_of(whole)
    if name in header:
        header[name] = value
    else:
        header["tensors"][0][name] = value
    bad.write_bytes(forged(header, whole[-NBYTES:]))
    with pytest.raises(OptionError) as caught:
        read(bad, MANIFEST)
    assert str(caught.value).isprintable()
