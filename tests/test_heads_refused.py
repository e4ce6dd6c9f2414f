"""Several outputs: what is told of before the export, what is refused, and what the norm says of heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from edge_vss import bundle  # noqa: E402
from edge_vss.cli import app  # noqa: E402
from edge_vss.converters.conversion import Conversion  # noqa: E402
from edge_vss.converters.convert import convert  # noqa: E402
from edge_vss.converters.readers import _load  # noqa: E402
from edge_vss.errors import BundleError, ModelError, OptionError  # noqa: E402
from tests.helpers.cli import CliRunner  # noqa: E402
from tests.helpers.heads import BOTH, save_all, save_onnx  # noqa: E402


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def manifest(models: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the manifest of two heads says, as JSON."""
    path = tmp_path_factory.mktemp("two") / "two.vss"
    convert(Conversion(models / "two.onnx", output_name=BOTH), path)
    return (path / "manifest.json").read_text()


@pytest.mark.parametrize("file", ["dict.pt2", "two.onnx"])
@pytest.mark.parametrize("classes", [None, 2, 3, 7])
def test_several_outputs_are_told_of_before_all_that_takes_long(
    file: str, classes: int | None, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise AssertionError("the model was exported before the user was asked")

    monkeypatch.setattr(_load, "check_stateless", late)
    shapes = r"area float32 \(1, 3, 48, 64\), lane float32 \(1, 2, 48, 64\)"
    with pytest.raises((ModelError, AssertionError)) as raised:
        convert(Conversion(models / file, classes=classes), tmp_path / "a.vss")
    if classes in (2, 3):  # one output alone has so many channels
        assert raised.type is AssertionError
    else:
        assert raised.match(f"with --output from {shapes}" if classes is None else shapes)


def test_the_output_that_fits_is_taken_and_the_other_is_named(models: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["convert", str(models / "two.onnx"), "--classes", "3", "-o", str(tmp_path / "a.vss")]
    )
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "the output area is taken; lane float32 (1, 2, 48, 64) is left: --output takes several" in said
    manifest = json.loads((tmp_path / "a.vss" / "manifest.json").read_text())
    assert manifest["version"] == "1.2" and "heads" not in manifest


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no such output": ({"output_name": ("area", "road")}, "no output 'road': choose --output from area"),
    "no such matte": ({"output_name": "area", "matte": "x"}, "no output 'x': choose --matte from area"),
    "twice": ({"output_name": ("area", "0")}, "area is named twice"),
    "classes of another": (
        {"output_name": BOTH, "classes": {"area": 3, "road": 2}},
        "--classes road=... is for an output that --output does not name",
    ),
    "too many classes": (
        {"output_name": BOTH, "classes": {"lane": 5}},
        r"lane is float32 \(1, 2, 48, 64\), neither scores \(1, 5, h, w\).*--classes lane=... \(5 given\)",
    ),
    "one set for both": ({"output_name": BOTH, "classes": 3}, r"lane is .*--classes lane=... \(3 given\)"),
    "many channels": ({"output_name": "area", "matte": "lane"}, r"--matte lane is float32 \(1, 2, 48, 64\)"),
    "logits": ({"output_name": BOTH, "logits": True}, "--logits gives the scores of one output"),
    "carry": ({"output_name": BOTH, "options": {"carry": "all"}}, "--carry 'all': choose labels or scores"),
    "another family": (
        {"output_name": BOTH, "family": "arseg", "options": {"variant": "camvid-bise18"}},
        "family arseg gives one label map, and --output and --matte ask for area, lane",
    ),
    "another family, a matte": ({"matte": "lane", "family": "lmanet"}, "family lmanet gives one label map"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_in_a_line(case: str, models: Path, tmp_path: Path) -> None:
    options, message = WRONG[case]
    with pytest.raises((OptionError, ModelError), match=message) as raised:
        convert(Conversion(models / "two.onnx", **options), tmp_path / "a.vss")
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_numbers_beyond_one_are_no_matte(tmp_path: Path) -> None:
    network = torch.nn.Conv2d(3, 1, 1)
    torch.nn.init.constant_(network.weight, 4.0)
    path = save_onnx(tmp_path / "net.onnx", network, ["alpha"])
    with pytest.raises(ModelError, match=r"in alpha, and a matte is 0 to 1: give it a sigmoid"):
        convert(Conversion(path, matte="alpha"), tmp_path / "a.vss")


Change = Callable[[dict[str, Any]], object]
BROKEN: dict[str, tuple[Change, str]] = {
    "two names": (lambda m: m["heads"][1].update(name="AREA"), "two heads have one name or one tensor"),
    "two tensors": (lambda m: m["heads"][1].update(tensor="labels"), "two heads have one name"),
    "a way out": (lambda m: m["heads"][1].update(name="../lane"), "wants a name of letters"),
    "dots": (lambda m: m["heads"][1].update(name=".."), "wants a name of letters"),
    "no name": (lambda m: m["heads"][1].update(name=""), "wants a name of letters"),
    "not the first": (lambda m: m["heads"].reverse(), "the first head is the tensor 'labels_lane'"),
    "another tensor": (lambda m: m["heads"][1].update(tensor="key_labels_lane"), "wants labels"),
    "nothing gives it": (lambda m: m["heads"][1].update(tensor="labels_x"), 'route gives no "labels_x"'),
    "no classes": (lambda m: m["heads"][1].update(classes=[], palette=[]), "'lane': 0 classes"),
    "colours": (lambda m: m["heads"][1].update(palette=[[0, 0, 0]]), "2 classes with 1 colours"),
    "other classes": (lambda m: m.update(classes=["a", "b", "c"]), "the first head has other classes"),
    "ignore": (lambda m: m["heads"][1].update(ignore=256), "'lane': \"ignore\" is 256"),
    "a matte with classes": (
        lambda m: m["heads"][1].update(kind="matte", tensor="matte_lane"),
        "'lane': a matte has no classes",
    ),
    "no tensor": (lambda m: m["heads"][1].pop("tensor"), '"heads\\[1\\].tensor" is missing'),
    "many": (lambda m: m.update(heads=m["heads"] * 9), '"heads" has 18 entries, and 16 is the most'),
    "no list": (lambda m: m.update(heads=3), '"heads" is 3, and has to be a list'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_heads_that_break_the_norm_are_refused(case: str, manifest: str) -> None:
    change, message = BROKEN[case]
    data = json.loads(manifest)
    bundle.parse(data)
    change(data)
    with pytest.raises(BundleError, match=message):
        bundle.parse(data)


def test_a_head_of_a_kind_that_came_later_is_left_out(manifest: str) -> None:
    data = json.loads(manifest)
    data["heads"][1]["kind"] = "depth"
    assert [head.name for head in bundle.parse(data).heads] == ["area"]


def test_the_schema_knows_heads(manifest: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    docs = Path(__file__).resolve().parent.parent / "docs"
    valid = jsonschema.Draft202012Validator(json.loads((docs / "bundle.schema.json").read_text())).is_valid
    data = json.loads(manifest)
    assert valid(data)
    for name in ("a way out", "dots", "no name", "another tensor", "ignore", "no tensor", "many", "no list"):
        broken = json.loads(manifest)
        BROKEN[name][0](broken)
        assert not valid(broken), name
