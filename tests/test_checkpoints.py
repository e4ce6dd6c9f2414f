"""Checkpoints as training scripts write them: prefixes, several sets of weights, other formats, factories."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_vss import bundle
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.readers import _load as models
from edge_vss.converters.readers._factory import parsed
from edge_vss.converters.values import Network
from edge_vss.converters.verify import verify
from edge_vss.errors import ModelError, OptionError
from tests.helpers.conversion import CLASSES, SIZE, Net, factory_file, save_state_dict, trained
from tests.helpers.logs import listening


def load(path: Path | None, **options: Any) -> Network:
    return models.load_network(Conversion(path, **{"classes": CLASSES, "size": SIZE, **options}))


def scores(module: nn.Module, picture: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = module(picture)
    return result


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))


def prefixed(prefix: str, weights: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    found = trained().state_dict() if weights is None else weights
    return {prefix + key: value for key, value in found.items()}


def zeros() -> dict[str, Tensor]:
    return {key: torch.zeros_like(value) for key, value in trained().state_dict().items()}


# --- prefixes


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "net.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "seg.core.net.",
        "a.",
    ],
)
def test_a_prefix_of_all_names_is_taken_off(tmp_path: Path, picture: Tensor, prefix: str) -> None:
    path = save_state_dict(tmp_path, content={"state_dict": prefixed(prefix), "epoch": 3})
    network = load(path, factory=factory_file(tmp_path))
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    shown = prefix.replace("_orig_mod.", "")
    assert network.notes.get("prefix_removed", "") == shown


def test_what_torch_puts_inside_of_names_is_taken_out(tmp_path: Path, picture: Tensor) -> None:
    weights = {key.replace("first.", "first._orig_mod."): value for key, value in prefixed("model.").items()}
    weights = {
        key.replace("second.", "second._checkpoint_wrapped_module."): value for key, value in weights.items()
    }
    network = load(save_state_dict(tmp_path, content=weights), factory=factory_file(tmp_path))
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))


def test_a_network_that_wraps_what_the_file_holds(tmp_path: Path, picture: Tensor) -> None:
    (tmp_path / "wrap.py").write_text(
        "from torch import nn\nfrom network import Net\n\nclass Wrapped(nn.Module):\n"
        "    def __init__(self, classes):\n        super().__init__()\n        self.model = Net(classes)\n\n"
        "    def forward(self, x):\n        return self.model(x)\n"
    )
    factory_file(tmp_path)
    network = load(save_state_dict(tmp_path), factory=f"{tmp_path / 'wrap.py'}:Wrapped")
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    assert network.notes["prefix_added"] == "model."


def test_what_stands_beside_the_network_is_left_out_and_named(tmp_path: Path, picture: Tensor) -> None:
    content = {**prefixed("model."), "criterion.weight": torch.rand(3), "n_averaged": torch.tensor(4)}
    network = load(save_state_dict(tmp_path, content={"state_dict": content}), factory=factory_file(tmp_path))
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    assert network.notes["left_out"] == "criterion.weight, n_averaged"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**prefixed("model."), "model.aux.weight": torch.rand(3)}, r"1 unexpected \(model\.aux\.weight\)"),
        ({**prefixed(""), "aux.weight": torch.rand(3)}, r"1 unexpected \(aux\.weight\)"),
        ({key: value for key, value in prefixed("model.").items() if "second" not in key}, "2 missing"),
        (
            {**prefixed("net."), "net.second.bias": torch.rand(19)},
            r"has net\.second\.bias \(19,\), .* wants \(3,\)",
        ),
        ({"state_dict": {}, "optimizer": {"lr": 1}}, r"a dict without weights \(state_dict, optimizer\)"),
    ],
)
def test_weights_that_fit_in_no_way(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(save_state_dict(tmp_path, content=content), factory=factory_file(tmp_path))
    assert "\n" not in str(caught.value)


def test_one_layer_does_not_take_another_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "from torch import nn\n\nclass One(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 3, 1)\n\n    def forward(self, x):\n        return self.conv(x)\n"
    )
    path = save_state_dict(tmp_path, content=prefixed("other.", nn.Conv2d(3, 3, 1).state_dict()))
    with pytest.raises(ModelError, match=r"2 missing \(conv\.weight, conv\.bias\)"):
        load(path, factory=f"{tmp_path / 'one.py'}:One")


# --- several sets of weights


@pytest.mark.parametrize(
    ("content", "taken", "left"),
    [
        ({"state_dict": zeros(), "state_dict_ema": prefixed("module.")}, "state_dict_ema", "state_dict"),
        ({"model": zeros(), "ema": {"decay": 0.9, "shadow": prefixed("")}}, "ema.shadow", "model"),
        ({"params": zeros(), "params_ema": prefixed("")}, "params_ema", "params"),
        ({"model": zeros(), "model_ema": prefixed("")}, "model_ema", "model"),
        (
            {"state_dict": zeros(), "ema_state_dict": {**prefixed("module."), "steps": torch.tensor(9)}},
            "ema_state_dict",
            "state_dict",
        ),
        ({"generator": zeros(), "model_state": prefixed("net.")}, "model_state", "generator"),
        ({**prefixed("student.", zeros()), **prefixed("model_ema.")}, "model_ema", "student"),
        ({"state_dict": {**prefixed("a.", zeros()), **prefixed("ema.")}}, "state_dict.ema", "state_dict.a"),
    ],
)
def test_of_several_sets_one_is_taken_and_named(
    tmp_path: Path, picture: Tensor, content: Any, taken: str, left: str
) -> None:
    path = save_state_dict(tmp_path, content=content)
    with listening() as lines:
        network = load(path, factory=factory_file(tmp_path))
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    assert (network.notes["weights"], network.notes["weights_instead_of"]) == (taken, left)
    assert f"took {taken}; choose with --weights-key" in lines[0]
    other = load(path, factory=factory_file(tmp_path), weights_key=left)
    assert not scores(other.model, picture).any()
    assert other.notes["weights"] == left


def test_sets_that_do_not_fit_leave_no_choice(tmp_path: Path, picture: Tensor) -> None:
    momentum = {"first.weight": {"exp_avg": torch.rand(8, 3, 3, 3)}}
    content = {"discriminator": {"a.weight": torch.rand(3)}, "weights": prefixed(""), "optimizer": momentum}
    network = load(save_state_dict(tmp_path, content=content), factory=factory_file(tmp_path))
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    assert network.notes["weights"] == "weights" and "weights_instead_of" not in network.notes


def test_a_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = save_state_dict(tmp_path, content={"model": prefixed(""), "ema": prefixed("")})
    with pytest.raises(OptionError, match=r"--weights-key best: .* has ema, model"):
        load(path, factory=factory_file(tmp_path), weights_key="best")
    with pytest.raises(OptionError, match="only one set of weights, without a name"):
        load(save_state_dict(tmp_path), factory=factory_file(tmp_path), weights_key="ema")


def test_a_checkpoint_that_holds_itself_is_read(tmp_path: Path, picture: Tensor) -> None:
    content: dict[str, Any] = {"state_dict": prefixed("")}
    content["again"] = content
    network = load(save_state_dict(tmp_path, content=content), factory=factory_file(tmp_path))
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))


def test_of_several_modules_one_is_taken_and_named(tmp_path: Path, picture: Tensor) -> None:
    plain = Net()
    plain.load_state_dict(zeros())
    torch.save(
        {"model": plain, "ema": trained(), "loss": nn.CrossEntropyLoss(), "epoch": 1}, tmp_path / "m.pt"
    )
    network = load(tmp_path / "m.pt", trust_pickle=True)
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    assert (network.notes["weights"], network.notes["weights_instead_of"]) == ("ema", "model")
    other = load(tmp_path / "m.pt", trust_pickle=True, weights_key="model")
    assert not scores(other.model, picture).any()
    built = load(tmp_path / "m.pt", trust_pickle=True, factory=factory_file(tmp_path))
    assert torch.equal(scores(built.model, picture), scores(trained(), picture))


def test_verify_takes_the_same_weights_again(tmp_path: Path) -> None:
    path = save_state_dict(tmp_path, content={"model": prefixed(""), "ema": prefixed("", Net().state_dict())})
    conversion = Conversion(path, classes=3, size=SIZE, factory=factory_file(tmp_path), weights_key="model")
    manifest = convert(conversion, tmp_path / "a.vss")
    assert manifest.options["model"]["weights"] == "model"
    again = verify(tmp_path / "a.vss", Conversion(path, factory=factory_file(tmp_path)))
    assert again.measured and again.parity["rollout"]["labels_equal"] >= 0.999


# --- safetensors


@pytest.mark.parametrize("prefix", ["", "model."])
def test_safetensors(tmp_path: Path, picture: Tensor, prefix: str) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "weights.bin"
    weights = {key: value.half() if "second" in key else value for key, value in prefixed(prefix).items()}
    safetensors.save_file(weights, path, metadata={"format": "pt"})
    network = load(path, factory=factory_file(tmp_path))
    expected = Net()
    expected.load_state_dict({key.removeprefix(prefix): value.float() for key, value in weights.items()})
    assert torch.equal(scores(network.model, picture), scores(expected.eval(), picture))
    assert network.notes["kind"] == "state dict"


def test_damaged_safetensors_are_one_line(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(prefixed(""), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="a damaged safetensors file") as caught:
        load(path, factory=factory_file(tmp_path))
    assert "\n" not in str(caught.value)


# --- what is importable


def test_a_factory_finds_what_lies_beside_the_weights(tmp_path: Path) -> None:
    """Modules beside the weights and in the factory's folder are found, also while the factory runs."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "code").mkdir()
    factory_file(tmp_path / "weights")
    (tmp_path / "weights" / "network.py").rename(tmp_path / "weights" / "beside_weights.py")
    (tmp_path / "code" / "beside_code.py").write_text("CLASSES = 3\n")
    (tmp_path / "code" / "main.py").write_text(
        "def build():\n    from beside_code import CLASSES\n    from beside_weights import Net\n"
        "    return Net(CLASSES)\n"
    )
    path = save_state_dict(tmp_path / "weights")
    assert load(path, factory=f"{tmp_path / 'code' / 'main.py'}:build").notes["kind"] == "state dict"
    assert load(path, factory="beside_weights:build").notes["kind"] == "state dict"


def test_a_module_beside_the_weights_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "sched.py").write_text("raise SystemExit('it ran')")
    folder = tmp_path / "code"
    folder.mkdir()
    path = folder / "main.py"
    path.write_text("import sched\nfrom tests.helpers.conversion import Net as build\n")
    assert load(save_state_dict(tmp_path), factory=f"{path}:build").notes["kind"] == "state dict"


# --- arguments of the factory


@pytest.mark.parametrize(
    ("text", "place", "name", "arguments", "keywords"),
    [
        ("net.py:ESPNet(p=2,q=8)", "net.py", "ESPNet", (), {"p": 2, "q": 8}),
        ("a/b.py:f(1, [2, 3], s='x:y(z)')", "a/b.py", "f", (1, [2, 3]), {"s": "x:y(z)"}),
        ("C:\\nets\\net.py:build", "C:\\nets\\net.py", "build", (), {}),
        ("package.module:Net()", "package.module", "Net", (), {}),
        ("net.py:Net(w=-0.5, d={'a': (1, None)}, t=True)", "net.py", "Net", (),
         {"w": -0.5, "d": {"a": (1, None)}, "t": True}),
    ],
)  # fmt: skip
def test_how_a_factory_is_written(
    text: str, place: str, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    found = parsed(text)
    assert (found.place, found.name, found.arguments, found.keywords) == (place, name, arguments, keywords)


@pytest.mark.parametrize(
    "text",
    [
        "net.py:Net(p=q)", "net.py:Net(__import__('os').system('true'))", "net.py:Net(*[1])",
        "net.py:Net(**{'a': 1})", "net.py:Net(p=2", "net.py:Net)(", "net.py:Net(1)(2)",
        "net.py:Net(1).other()", "net.py:Net(" + "[" * 999, "net.py:Net(a=1, a=2)",
    ],
)  # fmt: skip
def test_arguments_are_literals_and_nothing_else(tmp_path: Path, text: str) -> None:
    with pytest.raises(OptionError) as caught:
        load(save_state_dict(tmp_path), factory=text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000


WIDE = """
from torch import nn

class Wide(nn.Module):
    def __init__(self, width, *, classes=20, bias=True):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, width, 1), nn.Conv2d(width, classes, 1, bias=bias)

    def forward(self, x):
        return self.b(self.a(x))
"""


@pytest.mark.parametrize(
    ("call", "shapes"),
    [("(8)", (8, 3)), ("(width=5)", (5, 3)), ("(width=5, bias=False)", (5, 3)), ("(4, classes=3)", (4, 3))],
)
def test_arguments_reach_the_factory(tmp_path: Path, call: str, shapes: tuple[int, int]) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    weights = {"a.weight": torch.rand(shapes[0], 3, 1, 1), "a.bias": torch.rand(shapes[0])}
    weights["b.weight"] = torch.rand(shapes[1], shapes[0], 1, 1)
    if "False" not in call:
        weights["b.bias"] = torch.rand(shapes[1])
    factory = f"{tmp_path / 'wide.py'}:Wide{call}"
    manifest = convert(
        Conversion(save_state_dict(tmp_path, content=weights), classes=3, size=SIZE, factory=factory),
        tmp_path / "a.vss",
    )
    assert manifest.options["model"]["factory"] == f"wide.py:Wide{call}"


def test_arguments_that_a_factory_does_not_take(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    for call in ("(8, 9)", "(depth=3)", "(1, width=3)"):
        with pytest.raises(OptionError, match=r"wide\.py:Wide\(.* failed \(TypeError: "):
            load(save_state_dict(tmp_path), factory=f"{tmp_path / 'wide.py'}:Wide{call}")


# --- a factory that gives a trained network


def trained_file(folder: Path) -> str:
    torch.save(trained().state_dict(), folder / "own.pth")
    factory_file(folder)
    (folder / "own.py").write_text(
        "import torch\nfrom pathlib import Path\nfrom network import Net\n\n"
        "def trained():\n    net = Net(3)\n"
        "    net.load_state_dict(torch.load(Path(__file__).parent / 'own.pth'))\n    return net\n"
    )
    return f"{folder / 'own.py'}:trained"


def test_a_factory_with_its_own_weights(tmp_path: Path, picture: Tensor) -> None:
    factory = trained_file(tmp_path)
    network = load(None, factory=factory, own_weights=True)
    assert torch.equal(scores(network.model, picture), scores(trained(), picture))
    conversion = Conversion(size=SIZE, factory=factory, own_weights=True)
    manifest = convert(conversion, tmp_path / "a.vss")
    notes = manifest.options["model"]
    assert manifest.source["name"] == notes["factory"] == "own.py:trained"
    assert notes["own_weights"] is True and "untrained" not in notes
    # Nobody named the classes.
    assert manifest.classes == ("class 0", "class 1", "class 2")
    assert notes["classes"] == "3, counted: name them with --classes"
    assert verify(tmp_path / "a.vss", Conversion(factory=factory)).measured
    with pytest.raises(OptionError, match=r"--model is missing: .* own\.py:trained"):
        verify(tmp_path / "a.vss", Conversion())


def test_a_factory_without_weights_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"gives other weights at each call \(first\.weight\)"):
        load(None, factory=factory_file(tmp_path), own_weights=True)


def test_verify_does_not_take_a_network_without_weights_for_the_model(tmp_path: Path) -> None:
    factory = factory_file(tmp_path)
    convert(Conversion(save_state_dict(tmp_path), classes=3, size=SIZE, factory=factory), tmp_path / "a.vss")
    with pytest.raises(OptionError, match=r"was made from weights\.pt: give that file too"):
        verify(tmp_path / "a.vss", Conversion(factory=factory))
    convert(Conversion(classes=3, size=SIZE, factory=factory), tmp_path / "b.vss")
    assert verify(tmp_path / "b.vss", Conversion(factory=factory)).measured
    assert bundle.read(tmp_path / "b.vss").options["model"]["untrained"] is True
