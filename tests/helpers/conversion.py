"""Small trained models in every form that `convert` reads, and what they compute."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = (48, 64)
CLASSES = 3


class Net(nn.Module):
    """Two convolutions and a BatchNorm: scores (1, classes, H / 4, W / 4), or upsampled to (H, W)."""

    def __init__(self, classes: int = CLASSES, upsample: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, classes, 3, stride=2, padding=1)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.second(F.relu(self.norm(self.first(x))))
        if self.upsample:
            scores = F.interpolate(scores, x.shape[2:], mode="bilinear", align_corners=True)
        return scores


class Outputs(nn.Module):
    """The same, giving what ``form`` says."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.net, self.form = Net(), form

    def forward(self, x: Tensor) -> Any:
        scores = self.net(x)
        labels = scores.argmax(1)
        forms = {
            "dict": {"out": scores, "aux": scores * 2},
            "nested": {"decode": (scores, {"feature": x})},
            "tuple": (x.mean((2, 3)), scores),
            "softmax": scores.softmax(1),
            "channels last": scores.permute(0, 2, 3, 1),
            "labels": labels,
            "labels with a channel": labels.unsqueeze(1).to(torch.int32),
            "logit": scores[:, :1],
            "probability": scores[:, :1].sigmoid(),
            "nothing": [],
        }
        return forms[self.form]


class ScriptedDict(nn.Module):
    """Two outputs by name, in the way TorchScript can compile."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        scores = self.net(x)
        return {"aux": scores * -1, "out": scores}


class Remembers(nn.Module):
    """Writes what it saw into a buffer and adds it to the next result."""

    memory: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.register_buffer("memory", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x) + self.memory
        self.memory.copy_(x.mean())
        return scores


FACTORY = """
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, classes, 3, stride=2, padding=1)

    def forward(self, x):
        return self.second(F.relu(self.norm(self.first(x))))

def build(classes):
    return Net(classes)

def fixed():
    return Net(3)

def nonsense():
    return 7

def broken():
    raise ValueError("no such backbone")
"""


def trained(module: nn.Module | None = None, seed: int = 7) -> nn.Module:
    """A network with random weights and BatchNorm statistics that are not the initial ones, in eval mode."""
    network = module if module is not None else Net()
    torch.manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            spread = 0.02 if "bias" in name else 0.3
            tensor.copy_(
                torch.rand_like(tensor) + 0.1 if "var" in name else torch.randn_like(tensor) * spread
            )
    return network.eval()


def factory_file(folder: Path) -> str:
    """A file that builds the same network, for ``--model``."""
    path = folder / "network.py"
    path.write_text(FACTORY)
    return f"{path}:build"


def save_state_dict(folder: Path, name: str = "weights.pt", **keep: Any) -> Path:
    path = folder / name
    torch.save(keep.get("content", trained().state_dict()), path)
    return path


def save_exported(folder: Path, module: nn.Module | None = None) -> Path:
    path = folder / "model.pt2"
    program = torch.export.export(module if module is not None else trained(), (torch.rand(1, 3, *SIZE),))
    torch.export.save(program, path)
    return path


def save_script(folder: Path, module: nn.Module | None = None, trace: bool = False) -> Path:
    path = folder / "script.pt"
    network = module if module is not None else trained()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and people have files of it
        script = torch.jit.trace(network, (torch.rand(1, 3, *SIZE),)) if trace else torch.jit.script(network)  # type: ignore[no-untyped-call]
        script.save(str(path))
    return path


def save_onnx(
    folder: Path, module: nn.Module | None = None, name: str = "model.onnx", **options: Any
) -> Path:
    """ONNX by way of the tracing exporter, which can write any opset."""
    path = folder / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module if module is not None else trained(),
            (torch.rand(1, 3, *SIZE),),
            str(path),
            dynamo=False,
            **{"opset_version": 17, "input_names": ["image"], **options},
        )
    return path
