"""Every way in gives the numbers of the network it was saved from."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from edge_vss.converters.conversion import Preprocess
from edge_vss.errors import ModelError, OptionError
from tests.helpers.conversion import (
    CLASSES,
    SIZE,
    Net,
    Outputs,
    factory_file,
    save_exported,
    save_onnx,
    save_script,
    save_state_dict,
    trained,
)
from tests.helpers.networks import load, scores_of


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def expected(image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = trained()(image.permute(0, 3, 1, 2) / 255)
    return result


# --- every way in gives the numbers of the network it was saved from; the name of the file plays no part


def test_state_dict(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor) -> None:
    network = load(save_state_dict(tmp_path, "weights.onnx"), factory=factory_file(tmp_path))
    assert network.notes["kind"] == "state dict"
    torch.testing.assert_close(scores_of(network, image), expected)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_checkpoints_and_prefixes(
    tmp_path: Path, image: torch.Tensor, expected: torch.Tensor, wrapper: str, prefix: str
) -> None:
    weights = {prefix + key: value for key, value in trained().state_dict().items()}
    path = save_state_dict(tmp_path, content={wrapper: weights, "epoch": 3, "best": 0.7})
    network = load(path, factory=factory_file(tmp_path))
    torch.testing.assert_close(scores_of(network, image), expected)


def test_legacy_file_of_torch_save(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor) -> None:
    path = tmp_path / "old.pth"
    torch.save(trained().state_dict(), path, _use_new_zipfile_serialization=False)
    torch.testing.assert_close(scores_of(load(path, factory=factory_file(tmp_path)), image), expected)


def test_weights_saved_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: torch.Tensor, expected: torch.Tensor
) -> None:
    with monkeypatch.context() as saving:  # the tag is all that tells a file written on CUDA from others
        saving.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        path = save_state_dict(tmp_path)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(path, weights_only=True)
    torch.testing.assert_close(scores_of(load(path, factory=factory_file(tmp_path)), image), expected)


def test_factory_of_a_package(tmp_path: Path) -> None:
    path = save_state_dict(tmp_path)
    assert load(path, factory="tests.helpers.conversion:Net").notes["kind"] == "state dict"


def test_exported_program_says_its_size(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor) -> None:
    network = load(save_exported(tmp_path).rename(tmp_path / "model.pt"), size=None)
    assert (network.notes["kind"], network.size) == ("exported program", SIZE)
    torch.testing.assert_close(scores_of(network, image), expected)


def test_exported_program_of_free_size(tmp_path: Path) -> None:
    free = {"x": {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}}
    program = torch.export.export(trained(), (torch.rand(1, 3, *SIZE),), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "free.pt2")
    assert load(tmp_path / "free.pt2", size=(32, 40)).output.shape == (1, CLASSES, 8, 10)
    with pytest.raises(OptionError, match="--size is missing"):
        load(tmp_path / "free.pt2", size=None)


@pytest.mark.parametrize("trace", [False, True])
def test_torchscript(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor, trace: bool) -> None:
    network = load(save_script(tmp_path, trace=trace))
    assert network.notes["kind"] == "TorchScript"
    torch.testing.assert_close(scores_of(network, image), expected)


@pytest.mark.parametrize("opset", [11, 17, 20])
def test_onnx(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor, opset: int) -> None:
    network = load(save_onnx(tmp_path, opset_version=opset).rename(tmp_path / "model.pt"), size=None)
    assert (network.notes["kind"], network.size) == ("ONNX", SIZE)
    torch.testing.assert_close(scores_of(network, image), expected, atol=1e-5, rtol=1e-5)


def test_onnx_of_free_size_with_external_data(
    tmp_path: Path, image: torch.Tensor, expected: torch.Tensor
) -> None:
    free = {"image": {0: "batch", 2: "height", 3: "width"}}
    path = save_onnx(tmp_path, dynamic_axes=free)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    torch.testing.assert_close(scores_of(load(path), image), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="any size: say which with --size"):
        load(path, size=None)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights\.bin"):
        load(path)


def test_onnx_with_functions_of_its_own(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor) -> None:
    from onnx import helper

    path = save_onnx(tmp_path)
    model = onnx.load(path)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    body = [helper.make_node("Relu", ["a"], ["b"])]
    opset = helper.make_opsetid("", model.opset_import[0].version)
    model.functions.append(helper.make_function("own", "Positive", ["a"], ["b"], body, [opset]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    relu.op_type, relu.domain = "Positive", "own"
    model.ir_version = 8
    onnx.save(model, path)
    torch.testing.assert_close(scores_of(load(path), image), expected, atol=1e-5, rtol=1e-5)


def test_onnx_that_takes_the_picture_itself(tmp_path: Path, image: torch.Tensor) -> None:
    class Whole(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.permute(0, 3, 1, 2).float() / 255)

    module = trained(Whole())
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(module, (image,), str(tmp_path / "whole.onnx"), opset_version=17, dynamo=False)
    with torch.no_grad():
        expected = module(image)
    found = scores_of(load(tmp_path / "whole.onnx"), image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(OptionError, match="leave --mean, --std and --scale out"):
        load(tmp_path / "whole.onnx", mean=(0.5, 0.5, 0.5))


def test_pickled_module_only_with_trust(tmp_path: Path, image: torch.Tensor, expected: torch.Tensor) -> None:
    torch.save(trained(), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"tests\.helpers\.conversion\.Net.* --trust-pickle"):
        load(tmp_path / "module.pt")
    network = load(tmp_path / "module.pt", trust_pickle=True)
    torch.testing.assert_close(scores_of(network, image), expected)


def test_the_pickle_does_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ModelError, match="could run any code"):
        load(tmp_path / "trap.pt", factory=factory_file(tmp_path))
    assert not (tmp_path / "sprung").exists()


def test_preprocessing(tmp_path: Path, image: torch.Tensor) -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    path, factory = save_state_dict(tmp_path), factory_file(tmp_path)
    network = load(path, factory=factory, mean=mean, std=std, scale=1.0, bgr=True)
    swapped = image.flip(3).permute(0, 3, 1, 2).double()
    wanted = (swapped - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    torch.testing.assert_close(network.before(image), wanted.float(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": (123.7, 116.3, 103.5)}, "means from 0 to 255 want --scale 1"),
        ({"std": (1.0, 0.0, 1.0)}, "have to be above 0"),
        ({"mean": (0.5,)}, "three numbers each"),
        ({"scale": float("nan")}, "have to be above 0"),
        ({"std": (1.0, float("inf"), 1.0)}, "have to be above 0"),
        ({"mean": (0.5, float("nan"), 0.5)}, "are finite"),
    ],
)
def test_senseless_preprocessing_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Preprocess(**values)


# --- outputs of every form


@pytest.mark.parametrize(
    ("form", "name", "shape"),
    [
        ("tuple", None, (1, 3, 12, 16)),
        ("dict", "aux", (1, 3, 12, 16)),
        ("dict", "0", (1, 3, 12, 16)),
        ("dict", "-1", (1, 3, 12, 16)),
        ("nested", "decode.0", (1, 3, 12, 16)),
        ("softmax", None, (1, 3, 12, 16)),
        ("channels last", None, (1, 3, 12, 16)),
        ("labels", None, (1, 12, 16)),
        ("labels with a channel", None, (1, 12, 16)),
    ],
)
def test_outputs(tmp_path: Path, form: str, name: str | None, shape: tuple[int, ...]) -> None:
    network = load(save_exported(tmp_path, trained(Outputs(form))), output_name=name)
    assert network.output.shape == shape
    assert network.output.name == ("labels" if "labels" in form else "scores")


def test_one_score_per_pixel(tmp_path: Path, image: torch.Tensor) -> None:
    found = {}
    for form in ("logit", "probability"):
        network = load(save_exported(tmp_path, trained(Outputs(form))), classes=2)
        assert network.notes["form"] == f"one {form}: class 1 where it is high, class 0 elsewhere"
        found[form] = scores_of(network, image).argmax(1)
    with torch.no_grad():
        logit = trained()(image.permute(0, 3, 1, 2) / 255)[:, 0]
    assert 0 < (logit > 0).float().mean() < 1
    assert torch.equal(found["logit"], (logit > 0).long())
    assert torch.equal(found["probability"], (logit > 0).long())


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("dict", {}, r"choose one with --output from out float32 \(1, 3, 12, 16\), aux float32"),
        ("dict", {"output_name": "main"}, "no output 'main': choose --output from out"),
        ("dict", {"output_name": "2"}, "no output '2'"),
        ("tuple", {"output_name": "0"}, r"output 0 is float32 \(1, 3\), neither scores \(1, 3, h, w\)"),
        ("softmax", {"classes": 19}, r"check --classes \(19 given\)"),
        ("labels", {"classes": 2}, "gives the label 2 in 0: --classes has only 2"),
        ("logit", {"classes": 3}, "neither scores"),
        ("nothing", {}, "the model gives no tensor"),
    ],
)
def test_outputs_that_do_not_fit(tmp_path: Path, form: str, options: dict[str, Any], message: str) -> None:
    torch.save(trained(Outputs(form)), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=message) as caught:
        load(tmp_path / "model.pt", trust_pickle=True, **options)
    assert "\n" not in str(caught.value)


def test_a_module_saved_in_training_mode_is_evaluated(
    tmp_path: Path, image: torch.Tensor, expected: torch.Tensor
) -> None:
    torch.save(trained().train(), tmp_path / "module.pt")
    torch.testing.assert_close(scores_of(load(tmp_path / "module.pt", trust_pickle=True), image), expected)
    torch.testing.assert_close(scores_of(load(save_script(tmp_path, trained().train())), image), expected)
