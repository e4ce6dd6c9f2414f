import copy
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_vss import bundle
from edge_vss.bundle import GraphSpec, Manifest, MotionSpec, StateSpec, TensorSpec, writing
from edge_vss.errors import BundleError
from edge_vss.files import sha256

IMAGE = TensorSpec("image", (1, 16, 24, 3), "uint8")
LABELS = TensorSpec("labels", (1, 16, 24), "uint8")
CARRIED = TensorSpec("key_labels", (1, 16, 24), "uint8")
MOTION = TensorSpec("motion", (1, 2, 2, 3), "float32")


def manifest(folder: Path) -> Manifest:
    graphs = []
    for role, inputs, outputs, gmac in (
        ("key", (IMAGE,), (LABELS, CARRIED), 8.0),
        ("state", (CARRIED, MOTION), (LABELS,), 0.5),
    ):
        # The smallest ONNX files: a version, a producer and an empty graph. No engine is asked.
        content = bytes([8, 10, 18, len(role), *role.encode(), 58, 0])
        (folder / f"{role}.onnx").write_bytes(content)
        digest = sha256(folder / f"{role}.onnx")
        graphs.append(GraphSpec(role, f"{role}.onnx", digest, inputs, outputs, gmac))
    return Manifest(
        family="propagate",
        options={"carry": "labels"},
        target="onnx",
        source={"name": "model.pt", "sha256": "0" * 64},
        frame_size=(16, 24),
        classes=("road", "car"),
        palette=((1, 2, 3), (4, 5, 6)),
        ignore=None,
        graphs=tuple(graphs),
        state=(StateSpec("key_labels", (1, 16, 24), "uint8", 0.0),),
        routes={"start": ("key",), "key": ("key",), "nonkey": ("state",)},
        policy="interval:5",
        motion=MotionSpec((2, 3)),
    )


@pytest.fixture
def street(tmp_path: Path) -> Path:
    target = tmp_path / "street.vss"
    with bundle.building(target) as folder:
        bundle.write(folder, manifest(folder))
    return target


def edit(street: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = street / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_read_gives_back_what_was_written(street: Path) -> None:
    read = bundle.read(street)
    assert replace(read, graphs=()) == replace(manifest(street), graphs=())
    assert read.graph("state").inputs == (CARRIED, MOTION)
    with pytest.raises(BundleError, match=r"no graph has the role 'nonkey' \(this bundle has key, state\)"):
        read.graph("nonkey")


def test_cost_is_averaged_over_the_policy(street: Path) -> None:
    # AR-Seg supplement Eq. 1 with L = 5: 1/5 of 8 and 4/5 of 0.5
    assert bundle.read(street).gmac_per_frame(0.2) == pytest.approx(2.0)
    assert bundle.read(street).gmac_per_frame(1.0) == 8.0


def test_keys_of_a_newer_minor_version_are_passed_over(street: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["version"] = "1.7"
        data["mood"] = {"deep": [1]}
        data["graphs"][0]["colour"] = "blue"

    edit(street, change)
    assert bundle.read(street).version == "1.7"


def setter(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


def deleter(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


WRONG: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (setter("version", value="2.0"), "bundle version 2.0 is not readable here .* upgrade edge-vss"),
    (setter("version", value="one"), "\"version\" is 'one'"),
    (setter("format", value="tar"), '"format" is'),
    (setter("version", value=99), '"version" is 99, and has to be a string: convert the model again'),
    (deleter("routes"), '"routes" is missing: convert the model again'),
    (setter("graphs", value=[]), r"no graph has the role 'key' \(this bundle has no graphs\): convert"),
    (deleter("graphs", 1, "inputs"), r'"graphs\[1\].inputs" is missing'),
    (deleter("graphs", 0, "inputs", 0, "dtype"), r'"graphs\[0\].inputs\[0\].dtype" is missing'),
    (setter("classes", value="road"), "\"classes\" is 'road', and has to be a list"),
    (setter("ignore", value=True), '"ignore" is True'),
    (setter("ignore", value=256), '"ignore" is 256'),
    (setter("palette", value=[[1, 2, 3]]), "2 classes with 1 colours"),
    (setter("palette", 0, value=[1, 2, 300]), '"palette" holds'),
    (setter("colour", value="BGR"), '"colour" is'),
    (setter("frame_size", value=[16]), '"frame_size" is'),
    (setter("frame_size", value=[16, 32]), "key: image .* elsewhere"),
    (setter("graphs", 0, "gmac", value=-1), "gmac"),
    (setter("graphs", 0, "gmac", value="NaN"), "gmac"),
    (setter("graphs", 0, "inputs", 0, "shape", value=[1, 0, 24, 3]), "static"),
    (setter("graphs", 0, "inputs", 0, "shape", value=[1, "H", 24, 3]), "shape"),
    (setter("graphs", 0, "outputs", 0, "dtype", value="object"), "dtype"),
    (setter("graphs", 0, "outputs", 1, "shape", value=[1, 8, 12]), "key: key_labels .* elsewhere"),
    (setter("graphs", 0, "outputs", 0, "name", value="mask"), 'the start route gives no "labels"'),
    (setter("graphs", 1, "inputs", 0, "name", value="feature"), "state reads 'feature' on the nonkey route"),
    (setter("graphs", 1, "role", value="key"), "two graphs have the same role"),
    (setter("routes", value={"key": ["key"]}), '"routes" has no "start"'),
    (setter("routes", "nonkey", value=["warp"]), "no graph has the role 'warp'"),
    (setter("motion", value=None), "state reads 'motion' on the nonkey route"),
    (setter("motion", "direction", value="reference to current"), "is not known"),
    (setter("state", value=[]), "reads 'key_labels' on the nonkey route"),
    (
        setter("graphs", 0, "outputs", value=[{"name": "labels", "shape": [1, 16, 24], "dtype": "uint8"}]),
        "no graph writes",
    ),
    (setter("graphs", 0, "file", value="../key.onnx"), "leaves the bundle"),
    (setter("graphs", 0, "file", value="/etc/passwd"), "leaves the bundle"),
    (setter("graphs", 0, "file", value="sub\\..\\key.onnx"), "leaves the bundle"),
    (setter("graphs", 0, "file", value="gone.onnx"), "gone.onnx of key is missing"),
    (setter("graphs", 0, "file", value="."), "has to end in .onnx"),
    (setter("graphs", 0, "file", value="key.ort"), "has to end in .onnx"),
    (setter("graphs", 0, "data", value="key.bin"), "\"data\" of key is 'key.bin', and has to be ''"),
    (setter("target", value="openvino"), "has to end in .xml"),
    (setter("options", value={"model": "untrained"}), '"options.model" is'),
    (setter("options", value={"model": {"high": 1}}), '"options.model.high" is 1'),
    (setter("options", value={"model": {"factory": []}}), r'"options.model.factory" is \[\]'),
    (setter("precision", value={}), '"precision.weights" is missing'),
    (setter("parity", value={"graphs": {"key": 1}}), '"parity.graphs.key" is 1'),
    (setter("parity", value={"rollout": {"max_abs": {"labels": "0"}}}), '"parity.rollout.max_abs.labels" is'),
    (setter("tools", value={"onnx": 1}), '"tools.onnx" is 1'),
    (setter("family", value="x" * 1001), '"family" has 1001 characters'),
    (setter("state", 0, "initial", value=0.5), "starts as 0.5, which uint8 cannot hold"),
    (setter("state", 0, "initial", value=256), "starts as 256, which uint8 cannot hold"),
    (setter("state", 0, "name", value="motion"), "called 'motion', which has a meaning of its own"),
    (setter("graphs", 0, "outputs", 1, "name", value="image"), "called 'image'"),
    (setter("routes", "key", value=["key"] * 65), "the route key has 65 entries"),
    (setter("graphs", 0, "sha256", value="0" * 64), "key.onnx is altered"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_broken_manifest_is_refused_in_one_line(
    street: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit(street, change)
    with pytest.raises(BundleError, match=message) as caught:
        bundle.read(street)
    assert "\n" not in str(caught.value)
    assert str(street) in str(caught.value)
    assert re.search(": (convert the|upgrade edge-vss|do not use|give a bundle)", str(caught.value))


def test_any_key_gone_or_of_another_type_is_a_bundle_error(street: Path) -> None:
    good = json.loads((street / "manifest.json").read_text())
    optional = {"ignore", "motion"}
    for key in good:
        values: list[Any] = [None, 7, "x", [], {}, [None], True]
        for wrong in values:
            data = copy.deepcopy(good) | {key: wrong}
            if (
                type(wrong) is type(good[key])
                or (wrong is None and key in optional)
                or (key, wrong) == ("ignore", 7)
            ):
                continue
            (street / "manifest.json").write_text(json.dumps(data))
            with pytest.raises(BundleError):
                bundle.read(street)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", "[" * 100_000])
def test_malformed_json_is_refused(street: Path, text: str) -> None:
    (street / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError):
        bundle.read(street)


def test_missing_and_foreign_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        bundle.read(tmp_path / "none.vss")
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        bundle.read(tmp_path)
    (tmp_path / "file.vss").write_text("")
    with pytest.raises(BundleError, match="is a file"):
        bundle.read(tmp_path / "file.vss")


def test_a_link_out_of_the_folder_is_refused(street: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (street / "key.onnx").rename(outside)
    (street / "key.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="is reached by a link"):
        bundle.read(street)


def test_hashes_can_be_left_unread(street: Path) -> None:
    (street / "key.onnx").write_bytes(b"other")
    assert bundle.read(street, check_hashes=False).family == "propagate"
    with pytest.raises(BundleError, match="altered"):
        bundle.read(street)


def test_write_refuses_what_read_would_refuse(tmp_path: Path) -> None:
    good = manifest(tmp_path)
    with pytest.raises(BundleError, match="no graph has the role"):
        bundle.write(tmp_path, replace(good, routes={"start": ("other",)}))
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), bundle.building(tmp_path / "a.vss") as folder:
        bundle.write(folder, manifest(folder))
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_bundle(street: Path) -> None:
    before = (street / "manifest.json").read_bytes()
    with pytest.raises(KeyboardInterrupt), bundle.building(street) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert (street / "manifest.json").read_bytes() == before
    assert [path.name for path in street.parent.iterdir()] == ["street.vss"]


def test_the_old_bundle_comes_back_if_the_swap_fails(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if ".building-" in self.name:
            raise OSError(errno.EIO, "input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    with pytest.raises(BundleError, match="input/output error"), bundle.building(street) as folder:
        bundle.write(folder, manifest(folder))
    assert bundle.read(street).family == "propagate"
    assert [path.name for path in street.parent.iterdir()] == ["street.vss"]


def test_a_whole_bundle_replaces_an_old_one(street: Path) -> None:
    with bundle.building(street) as folder:
        bundle.write(folder, replace(manifest(folder), policy="gop"))
    assert bundle.read(street).policy == "gop"
    assert [path.name for path in street.parent.iterdir()] == ["street.vss"]


def test_what_is_not_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="is not a bundle"), bundle.building(tmp_path / "photos"):
        pass
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"), bundle.building(tmp_path / "notes.txt"):
        pass
    assert (tmp_path / "photos" / "holiday.jpg").exists()


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    message = "No space left on device; free some space"
    with pytest.raises(BundleError, match=message) as caught, bundle.building(tmp_path / "a.vss"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_kill_leaves_a_hidden_folder_and_no_bundle(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom edge_vss import bundle\n"
        "with bundle.building(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'key.onnx').write_bytes(b'half')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.vss")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(".a.vss.building-")
    with bundle.building(tmp_path / "a.vss") as folder:
        bundle.write(folder, manifest(folder))
    assert bundle.read(tmp_path / "a.vss").target == "onnx"
    assert [path.name for path in tmp_path.iterdir()] == ["a.vss"]


def test_reading_a_bundle_needs_no_vendor_library() -> None:
    code = (
        "import sys, edge_vss.bundle, edge_vss.classes; "
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'cv2', 'av') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
