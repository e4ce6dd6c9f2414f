"""A folder of segmentation_models.pytorch, read without the network.

``save_pretrained`` writes ``config.json``, the arguments that the network was made with, and the weights. The
package has the networks. What they expect of their pixels follows from the encoder, or from the
transformation that some folders bring.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_vss.classes import from_names
from edge_vss.converters.conversion import Preprocess
from edge_vss.converters.readers import _weights as weights
from edge_vss.converters.readers._folder import CONFIG, Folder, read_json, read_text
from edge_vss.converters.silence import quiet
from edge_vss.errors import MissingExtra, ModelError, one_line
from edge_vss.video import Size

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TRANSFORM = "albumentations_config_eval.json"
"""What albumentations saves beside a network: resizing and normalisation, as for evaluation."""
MOST_CLASSES = 255
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
OTHERS = (("inception", HALVES), ("xception", HALVES), ("dpn", DPN))
"""How an encoder's name begins → its mean and std, where these are not ImageNet's. The package asks the hub
for them since version 0.4."""


def is_folder(path: Path) -> bool:
    """Whether a path looks like a folder that `open_folder` reads."""
    config = read_text(path / CONFIG) if (path / CONFIG).is_file() else ""
    return '"encoder_name"' in config and '"model_type"' not in config


def open_folder(path: Path) -> Folder:
    """Read a folder. Nothing is fetched, and no code in the folder is run.

    Raises MissingExtra without the package, ModelError for a folder that is incomplete, of a network that the
    package does not have, or that takes no RGB picture.
    """
    config = read_json(path / CONFIG)
    kind, encoder = config.get("_model_class"), config.get("encoder_name")
    if not isinstance(kind, str) or not isinstance(encoder, str):
        raise ModelError(
            f"{path / CONFIG} does not say which network it is (_model_class): save it with "
            'segmentation_models_pytorch 0.3.4 or newer, or add it, such as "_model_class": "Unet"'
        )
    if config.get("in_channels", 3) != 3:
        raise ModelError(
            f"{path} takes pictures of {config['in_channels']} channels: it has to take RGB, 3 channels"
        )
    count = config.get("classes", 1)
    if not isinstance(count, int) or not 1 <= count <= MOST_CLASSES:
        raise ModelError(f"{path} has {count} classes: a label map has room for 1 to {MOST_CLASSES}")
    file = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise ModelError(f"{path} has no weights ({WEIGHTS[0]}): download the folder again, with all files")
    network = _network(path, kind, config)
    _give(network, file, kind)
    transform = _transform(path)
    prepare = _of_transform(transform) or _of_encoder(encoder, str(config.get("encoder_weights")))
    size = _resized(transform) or _made_for(network)
    classes = from_names(["foreground"]) if count == 1 else None
    return Folder(kind, network.eval(), prepare, size, classes, _multiple(network))


def _network(path: Path, kind: str, config: Mapping[str, Any]) -> Any:
    try:
        with quiet():
            import segmentation_models_pytorch as smp
    except ImportError as error:
        package = error.name or "segmentation_models_pytorch"
        raise MissingExtra(
            package, "convert-smp", "reading a folder of segmentation_models.pytorch"
        ) from None
    except Exception as error:  # of a torchvision that was built for another torch
        raise ModelError(
            f"{path} needs segmentation_models_pytorch, and importing it fails ({one_line(error)}): install "
            "the torchvision that belongs to this torch"
        ) from None
    known = {name: value for name, value in vars(smp).items() if hasattr(value, "save_pretrained")}
    if kind not in known:
        names = ", ".join(sorted(name for name in known if not name.startswith("_")))
        raise ModelError(
            f"{path} is a {kind}, which segmentation_models_pytorch {smp.__version__} has not: it has {names}"
        )
    wanted = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with quiet():
            # The weights come from the folder; the package would fetch those of the encoder.
            return known[kind](**{**wanted, "encoder_weights": None})
    except Exception as error:  # whatever a config trips over
        raise ModelError(
            f"{path} cannot be built as a {kind} ({one_line(error, named=True)}): it was saved by another "
            "version of segmentation_models_pytorch"
        ) from None


def _give(network: Any, file: Path, kind: str) -> None:
    found = weights.read(file)
    try:
        # Not `fill`: the package brings names of its older versions up to date here.
        network.load_state_dict(found, strict=True)
    except Exception as error:
        raise ModelError(
            f"{file} is not made for the {kind} of its folder ({one_line(error)}): download it again"
        ) from None


def _of_encoder(encoder: str, trained_on: str) -> Preprocess:
    bare = encoder.removeprefix("tu-").removeprefix("timm-")
    if encoder.startswith("tu-"):
        import timm

        known = timm.models.get_pretrained_cfg(bare, allow_unregistered=True)
        mean, std = (IMAGENET[0], IMAGENET[1]) if known is None else (known.mean, known.std)
    else:
        usual = HALVES if trained_on == "advprop" else IMAGENET
        mean, std = next((values for start, values in OTHERS if bare.startswith(start)), usual)
    return Preprocess(tuple(map(float, mean)), tuple(map(float, std)))


def _transform(path: Path) -> list[Mapping[str, Any]]:
    if not (path / TRANSFORM).is_file():
        return []
    whole = read_json(path / TRANSFORM).get("transform")
    steps = whole.get("transforms", [whole]) if isinstance(whole, Mapping) else []
    return [step for step in steps if isinstance(step, Mapping)]


def _name(step: Mapping[str, Any]) -> str:
    return str(step.get("__class_fullname__", "")).rpartition(".")[2]


def _of_transform(steps: list[Mapping[str, Any]]) -> Preprocess | None:
    for step in steps:
        if _name(step) == "Normalize" and step.get("normalization", "standard") == "standard":
            mean, std = (tuple(float(value) for value in step[key]) for key in ("mean", "std"))
            return Preprocess(mean, std, 1 / float(step.get("max_pixel_value", 255.0)))
    return None


def _resized(steps: list[Mapping[str, Any]]) -> Size | None:
    sizes = [
        (step["height"], step["width"])
        for step in steps
        if _name(step) in ("Resize", "CenterCrop") and {"height", "width"} <= step.keys()
    ]
    return (int(sizes[-1][0]), int(sizes[-1][1])) if sizes else None


def _made_for(network: Any) -> Size | None:
    """The only size that an encoder takes; None where it takes others too."""
    patches = getattr(getattr(network.encoder, "model", None), "patch_embed", None)
    size = getattr(patches, "img_size", None)
    if not size or not getattr(patches, "strict_img_size", False):
        return None
    return int(size[0]), int(size[1])


def _multiple(network: Any) -> int:
    if not getattr(network, "requires_divisible_input_shape", True):
        return 1
    return int(getattr(network.encoder, "output_stride", 32))
