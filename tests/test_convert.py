import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_vss import bundle
from edge_vss.bundle import Manifest
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.inputs import pictures
from edge_vss.converters.targets import TARGETS
from edge_vss.errors import BundleError, EdgeVssError, ModelError, OptionError
from edge_vss.files import sha256
from edge_vss.runtimes.engines import ENGINES, giving_arrays
from tests.helpers.conversion import (
    SIZE,
    Net,
    Outputs,
    ScriptedDict,
    factory_file,
    save_exported,
    save_onnx,
    save_script,
    save_state_dict,
    trained,
)


def make(folder: Path, model: Path, force: bool = False, **options: Any) -> Manifest:
    conversion = Conversion(model, **{"classes": 3, "size": SIZE, **options})
    return convert(conversion, folder / "street.vss", force=force)


def call(folder: Path, manifest: Manifest, role: str, **tensors: np.ndarray) -> dict[str, np.ndarray]:
    graph = manifest.graph(role)
    return giving_arrays(ENGINES.find("onnxruntime").call(folder / graph.file, graph))(tensors)


def key_labels(size: tuple[int, int], image: torch.Tensor) -> np.ndarray:
    """What the network and a bilinear upsampling give, by torch alone."""
    with torch.no_grad():
        scores = trained()(image.permute(0, 3, 1, 2) / 255)
        larger = torch.nn.functional.interpolate(scores, size, mode="bilinear", align_corners=False)
    labels: np.ndarray = larger.argmax(1).to(torch.uint8).numpy()
    return labels


@pytest.mark.parametrize("kind", ["state dict", "exported program", "TorchScript", "ONNX"])
def test_every_kind_of_model_gives_the_same_bundle(tmp_path: Path, kind: str) -> None:
    save: dict[str, Any] = {
        "state dict": save_state_dict,
        "exported program": save_exported,
        "TorchScript": save_script,
        "ONNX": save_onnx,
    }
    options: dict[str, Any] = {"factory": factory_file(tmp_path)} if kind == "state dict" else {}
    manifest = make(tmp_path, save[kind](tmp_path), **options)
    assert bundle.read(tmp_path / "street.vss") == manifest
    assert manifest.options["model"]["kind"] == kind
    assert sorted(path.name for path in (tmp_path / "street.vss").iterdir()) == [
        "key.onnx",
        "manifest.json",
        "state.onnx",
    ]
    assert manifest.parity["rollout"]["labels_equal"] > 0.999
    assert manifest.parity["graphs"]["key"]["max_abs"]["scores"] < 1e-4
    assert manifest.gmac_per_frame(1.0) == pytest.approx((24 * 32 * 8 * 27 + 12 * 16 * 3 * 72) / 1e9)
    image = pictures(SIZE, 1, seed=9)[0]
    found = call(tmp_path / "street.vss", manifest, "key", image=image.numpy())
    assert (found["labels"] == key_labels(SIZE, image)).mean() > 0.999
    assert len(np.unique(found["labels"])) == 3
    np.testing.assert_array_equal(found["key_labels"], found["labels"])


def test_the_manifest_and_the_artifacts_say_the_same(tmp_path: Path) -> None:
    manifest = make(tmp_path, save_exported(tmp_path), classes="3", policy="gop")
    assert manifest.source["sha256"] == sha256(tmp_path / "model.pt2")
    for graph in manifest.graphs:
        model = onnx.load(tmp_path / "street.vss" / graph.file)
        held = json.loads(model.metadata_props[0].value)
        assert held["role"] == graph.role
        assert held["frame_size"] == list(SIZE)
        assert held["classes"] == list(manifest.classes)
        assert held["policy"] == manifest.policy == "gop"
    assert str(tmp_path) not in (tmp_path / "street.vss" / "manifest.json").read_text()


def test_carried_scores_with_logits(tmp_path: Path) -> None:
    manifest = make(tmp_path, save_exported(tmp_path), options={"carry": "scores"}, logits=True)
    folder = tmp_path / "street.vss"
    assert manifest.motion is not None and manifest.motion.grid == (12, 16)
    key = call(folder, manifest, "key", image=pictures(SIZE, 1)[0].numpy())
    np.testing.assert_array_equal(key["logits"], key["scores"])
    still = np.zeros((1, 2, 12, 16), np.float32)
    state = call(folder, manifest, "state", scores=key["scores"], motion=still)
    np.testing.assert_array_equal(state["labels"], key["labels"])
    np.testing.assert_array_equal(state["logits"], key["scores"])
    assert manifest.parity["graphs"]["state"]["max_abs"]["logits"] < 1e-4


@pytest.mark.parametrize(("save", "form"), [(save_exported, "labels"), (save_onnx, "labels with a channel")])
def test_label_maps(tmp_path: Path, save: Any, form: str) -> None:
    manifest = make(tmp_path, save(tmp_path, trained(Outputs(form))))
    image = pictures(SIZE, 1)[0]
    with torch.no_grad():
        small = trained()(image.permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    found = call(tmp_path / "street.vss", manifest, "key", image=image.numpy())["labels"]
    np.testing.assert_array_equal(found, small.repeat(4, 1).repeat(4, 2))


def test_a_network_that_upsamples_by_itself(tmp_path: Path) -> None:
    module = trained(Net(upsample=True))
    manifest = make(tmp_path, save_exported(tmp_path, module))
    image = pictures(SIZE, 1)[0]
    with torch.no_grad():
        expected = module(image.permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    found = call(tmp_path / "street.vss", manifest, "key", image=image.numpy())["labels"]
    assert (found == expected).mean() > 0.999


@pytest.mark.parametrize("save", [save_exported, save_onnx, save_script])
def test_one_of_several_outputs(tmp_path: Path, save: Any) -> None:
    names = {"output_names": ["aux", "out"]} if save is save_onnx else {}
    manifest = make(tmp_path, save(tmp_path, trained(ScriptedDict()), **names), output_name="out")
    assert manifest.options["model"]["output"] == "out"
    image = pictures(SIZE, 1)[0]
    found = call(tmp_path / "street.vss", manifest, "key", image=image.numpy())["labels"]
    assert (found == key_labels(SIZE, image)).mean() > 0.999


def test_preprocessing_is_in_the_graph(tmp_path: Path) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    manifest = make(tmp_path, save_onnx(tmp_path), mean=mean, std=std, bgr=True)
    image = pictures(SIZE, 1)[0]
    x = (image.flip(3).permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(
        std
    ).view(1, 3, 1, 1)
    with torch.no_grad():
        scores = torch.nn.functional.interpolate(trained()(x), SIZE, mode="bilinear")
    found = call(tmp_path / "street.vss", manifest, "key", image=image.numpy())["labels"]
    assert (found == scores.argmax(1).numpy()).mean() > 0.999
    assert manifest.options["model"]["preprocess"]["bgr"] is True


def test_odd_sizes(tmp_path: Path) -> None:
    factory = factory_file(tmp_path)
    manifest = make(tmp_path, save_state_dict(tmp_path), size=(45, 61), factory=factory)
    assert manifest.motion is not None and manifest.motion.grid == (6, 8)
    image = pictures((45, 61), 1)[0]
    found = call(tmp_path / "street.vss", manifest, "key", image=image.numpy())["labels"]
    assert (found == key_labels((45, 61), image)).mean() > 0.999


# --- what goes wrong leaves nothing behind


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": 19}, ModelError, "check --classes"),
        ({"classes": "nosuchset"}, OptionError, "no class set"),
        ({"family": "magic"}, OptionError, "no family is called 'magic'"),
        ({"target": "abacus"}, OptionError, "no target is called 'abacus'"),
        ({"policy": "sometimes"}, OptionError, "sometimes"),
        ({"size": (4, 64)}, OptionError, "--size 4x64"),
        ({"size": (90, 120)}, ModelError, "use --size 48x64"),
        ({"options": {"depth": 3}}, OptionError, "no option 'depth'"),
        ({"mean": (1, 2)}, OptionError, "three numbers"),
    ],
)
def test_wrong_options(
    tmp_path: Path, options: dict[str, Any], error: type[EdgeVssError], message: str
) -> None:
    model = save_exported(tmp_path)
    with pytest.raises(error, match=message) as caught:
        make(tmp_path, model, **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_an_export_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_exported(tmp_path)
    export = TARGETS.find("onnx").call

    def wrong(parts: Any, folder: Path, metadata: Any) -> Any:
        written = export(parts, folder, metadata)
        name = written[0].file
        graph = onnx.load(folder / name)
        for tensor in graph.graph.initializer:
            if tensor.name.endswith("second.weight"):
                weights = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(weights[::-1].copy(), tensor.name))
        onnx.save(graph, folder / name)
        return written

    monkeypatch.setattr("edge_vss.converters.targets.onnx.export", wrong)
    with pytest.raises(ModelError, match=r"the converted key agrees with the model on \d+\.\d+% of labels"):
        make(tmp_path, model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_an_old_bundle_stays_unless_forced(tmp_path: Path) -> None:
    model = save_exported(tmp_path)
    make(tmp_path, model)
    with pytest.raises(BundleError, match="replace it with --force"):
        make(tmp_path, model)
    with pytest.raises(ModelError):
        make(tmp_path, model, classes=19, force=True)
    assert bundle.read(tmp_path / "street.vss").policy == "interval:5"
    make(tmp_path, model, force=True, policy="interval:9")
    assert bundle.read(tmp_path / "street.vss").policy == "interval:9"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(BundleError, match="is not a bundle"):
        convert(Conversion(model, classes=3), tmp_path / "photos", force=True)


CONVERT = """
import sys
from pathlib import Path
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
convert(Conversion(sys.argv[1], classes=3), sys.argv[2])
"""


def test_a_killed_conversion_leaves_no_half_bundle(tmp_path: Path) -> None:
    model, output = save_exported(tmp_path), tmp_path / "street.vss"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CONVERT, str(model), str(output)], stderr=subprocess.DEVNULL
    )
    building: list[Path] = []
    while not building and process.poll() is None:
        building = list(tmp_path.glob(".street.vss.building-*"))
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert set(tmp_path.iterdir()) == {model, *building}
    assert len(building) == 1
