"""What an exported program may say before torch turns it into Python code."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.converters.conversion import Conversion
from edge_vss.converters.readers._load import load_network
from edge_vss.converters.readers._program import checked_copy
from edge_vss.converters.readers._program_text import check_program
from edge_vss.converters.readers._protobuf import looks_like_onnx
from edge_vss.errors import ModelError
from tests.helpers.conversion import SIZE, Outputs, save_exported, save_onnx, trained

PATH = Path("model.pt2")


@pytest.mark.parametrize(
    "size",
    [
        "s0",
        "2*s77 + 1",
        "Add(FloorDiv(Add(Symbol('s0', positive=True, integer=True), Integer(-1)), Integer(4)), Integer(1))",
        "Max(1, s0//2)",
        "Pow(Symbol('s0', integer=True), Integer(-1))",
        "Eq(Mod(s0, 32), 0)",
        "s0**2",
    ],
)
def test_sizes_that_torch_writes(size: str) -> None:
    check_program({"expr_str": size, "range_constraints": {"s0": {}}}, PATH)


@pytest.mark.parametrize(
    "size",
    [
        "__import__('os').system('true')",
        "s0.__class__",
        "().__class__",
        "Symbol('s0').func",
        "preview(s0)",
        "Symbol('__import__(1)')",
        "9**9**9",
        "Pow(10, 10**10)",
        "LShift(1, 100000000000)",
        "Pow(Pow(Pow(9, 16), 16), 16)",
        "factorial(10**9)",
        "s0!",
        "[x for x in s0]",
        "(lambda: s0)()",
        "f'{s0}'",
        "s0[0]",
        "s0 if s0 else s1",
        "(" * 3000,
        "-" * 1999 + "1",
        "9" * 1999,
        "",
        7,
    ],
)
def test_sizes_that_it_does_not_write(size: Any) -> None:
    with pytest.raises(ModelError, match="which could run any code") as caught:
        check_program({"expr_str": size}, PATH)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("target", "torch.ops.aten.conv2d.default"),
        ("target", "torch.ops.aten.__and__.Scalar"),
        ("target", "torch.ops.higher_order.cond"),
        ("target", "_operator.getitem"),
        ("target", "torch.sym_max"),
        ("name", "conv2d_1"),
        ("name", ""),
        ("parameter_name", "backbone.layer1.0.conv1.weight"),
        ("in_spec", json.dumps([1, {"type": "builtins.dict", "context": '["x", "y"]', "children_spec": []}])),
    ],
)
def test_what_a_graph_needs(key: str, value: str) -> None:
    check_program({"graph": {key: value}}, PATH)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("target", "_operator.attrgetter"),
        ("target", "_operator.methodcaller"),
        ("target", "_operator.call"),
        ("target", "torch.ops.load_library"),
        ("target", "torch.ops.load_library.__call__.x"),
        ("target", "torch.ops.aten.from_file.default"),
        ("target", "torch.ops.aten.x.__class__"),
        ("target", "torch.hub.load"),
        ("target", "math.__loader__"),
        ("target", "#extension:anything"),
        ("as_operator", "torch.os.system"),
        ("name", "x, y=print()"),
        ("forward_arg_names", ["x", "y=1"]),
        ("buffer_name", 'x"); print("'),
        ("in_spec", json.dumps([1, {"context": '["x=print()"]'}])),
        ("out_spec", "((("),
        ("anything", '{"__enum__": true}'),
        ("anything", '{"default_factory_module": "os"}'),
    ],
)
def test_what_no_graph_needs(key: str, value: Any) -> None:
    with pytest.raises(ModelError, match="which could run any code"):
        check_program({"graph": [{key: value}]}, PATH)


def test_guards_are_left_out() -> None:
    content: dict[str, Any] = {"guards_code": ["__import__('os')"]}
    check_program(content, PATH)
    assert content == {"guards_code": []}


def test_a_program_of_pytorch_2_6_loads(tmp_path: Path) -> None:
    from torch._export.serde.schema import SCHEMA_VERSION

    module = trained()
    with zipfile.ZipFile(save_exported(tmp_path, module)) as archive:
        graph = archive.read("model/models/model.json")
    old = tmp_path / "old.pt2"
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))
        archive.writestr("serialized_exported_program.json", graph)
        program = torch.export.load(tmp_path / "model.pt2")
        for name, content in (
            ("state_dict", dict(program.state_dict)),
            ("constants", {}),
            ("example_inputs", program.example_inputs),
        ):
            kept = io.BytesIO()
            torch.save(content, kept)
            archive.writestr(f"serialized_{name}.pt", kept.getvalue())
        archive.writestr("something_else", b"left out")
    network = load_network(Conversion(old, classes=3))
    picture = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(network.model(picture), module(picture))


@pytest.mark.parametrize("form", ["dict", "nested", "tuple"])
def test_a_checked_copy_computes_the_same(tmp_path: Path, form: str) -> None:
    path = save_exported(tmp_path, trained(Outputs(form)))
    checked_copy(path, tmp_path / "copy.pt2")
    picture = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        first, second = (torch.export.load(p).module()(picture) for p in (path, tmp_path / "copy.pt2"))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@given(st.integers(0, 30_000), st.binary(min_size=1, max_size=40))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_damage_anywhere_is_a_model_error_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, at: int, damage: bytes
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(_good(tmp_path_factory))
    at %= len(content) - len(damage)
    content[at : at + len(damage)] = damage
    (folder / "model.pt2").write_bytes(content)
    try:
        checked_copy(folder / "model.pt2", folder / "copy.pt2")
    except ModelError as error:
        assert "\n" not in str(error)


_KEPT: list[bytes] = []


def _good(factory: pytest.TempPathFactory) -> bytes:
    if not _KEPT:
        _KEPT.append(save_exported(factory.mktemp("good")).read_bytes())
    return _KEPT[0]


@given(st.binary(max_size=512))
@settings(derandomize=True)
def test_any_bytes_can_be_asked_whether_they_are_onnx(start: bytes) -> None:
    assert looks_like_onnx(start) in (True, False)


def test_onnx_is_recognised_by_its_first_bytes(tmp_path: Path) -> None:
    content = save_onnx(tmp_path).read_bytes()
    for length in (16, 64, 512):
        assert looks_like_onnx(content[:length])
    assert not looks_like_onnx(b"\x08\x07" + bytes(range(200)))
