"""Networks with several outputs, and mattes: one bundle, one run of the encoder, and a map of each output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edge_vss import bundle, evaluate, load, open_source, run  # noqa: E402
from edge_vss.classes import ClassSet, find  # noqa: E402
from edge_vss.cli import app  # noqa: E402
from edge_vss.converters.conversion import Conversion, fingerprint  # noqa: E402
from edge_vss.converters.convert import convert  # noqa: E402
from edge_vss.converters.ops.warp import on_grid, warp_scores  # noqa: E402
from edge_vss.converters.readers._heads import safe_names  # noqa: E402
from edge_vss.converters.silence import quiet  # noqa: E402
from edge_vss.converters.verify import verify  # noqa: E402
from edge_vss.decisions import Prediction  # noqa: E402
from edge_vss.errors import EngineError, ModelError, OptionError  # noqa: E402
from edge_vss.runtimes.segmenter import Segmenter  # noqa: E402
from edge_vss.runtimes.sinks import SinkContext, open_sink  # noqa: E402
from edge_vss.runtimes.tools.ground_truth import read_labels  # noqa: E402
from tests.helpers.cli import CliRunner  # noqa: E402
from tests.helpers.heads import (  # noqa: E402
    BOTH,
    CAR,
    Matting,
    Mixed,
    Tuple,
    TwoHeads,
    save_all,
    save_onnx,
)
from tests.helpers.scene import CLASSES, HEIGHT, WIDTH  # noqa: E402

SIZE = (HEIGHT, WIDTH)
CAR_OR_NOT = ClassSet(("none", "car"), ((0, 0, 0), (255, 255, 0)), 255)
AREAS = ClassSet(CLASSES, ((60, 60, 60), (170, 120, 60), (40, 70, 200)), 255)


def scores(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """The smallest IoU of the classes in ``truth``."""
    return min(
        float(((prediction == i) & (truth == i)).sum() / ((prediction == i) | (truth == i)).sum())
        for i in np.unique(truth)
    )


def predictions(path: Path, video: Path, policy: str = "interval:5") -> list[Prediction]:
    session = load(path).session(policy)
    with open_source(video) as source:
        return [session.step(frame) for frame in source]


def truths(video: Path) -> list[NDArray[np.uint8]]:
    return [read_labels(video.parent / "truth" / f"{index}.png") for index in range(24)]


def check_two(found: list[Prediction], video: Path, names: tuple[str, str] = BOTH) -> None:
    """Both maps are right, on key frames and on those to which they were carried."""
    assert {prediction.decision.route for prediction in found} == {"start", "key", "nonkey"}
    for prediction, truth in zip(found, truths(video), strict=True):
        area, lane = (prediction.heads[name] for name in names)
        assert prediction.labels is area and list(prediction.heads) == list(names)
        assert area.dtype == lane.dtype == np.uint8
        assert scores(area, truth) > 0.75
        assert scores(lane, (truth == CAR).astype(np.uint8)) > 0.75
        # Both went along one motion: they agree on where the car is.
        assert scores(lane, (area == CAR).astype(np.uint8)) > 0.95


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def two(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an ONNX file: area and lane."""
    path = tmp_path_factory.mktemp("two") / "two.vss"
    classes = {"area": AREAS, "lane": CAR_OR_NOT}
    convert(Conversion(models / "two.onnx", classes=classes, output_name=BOTH), path)
    return path


@pytest.fixture(scope="module")
def three(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a torch network's tuple: area, lane by index, and a matte; scores are carried."""
    path = tmp_path_factory.mktemp("three") / "three.vss"
    conversion = Conversion(
        models / "tuple.pt2", output_name=("0", "1"), matte="2", options={"carry": "scores"}
    )
    convert(conversion, path)
    return path


@pytest.fixture(scope="module")
def matting(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network that gives a matte alone."""
    path = tmp_path_factory.mktemp("matting") / "matting.vss"
    convert(Conversion(models / "matting.onnx", matte="alpha"), path)
    return path


def test_two_outputs_are_two_maps_of_one_run(two: Path, tiny_video: Path) -> None:
    manifest = bundle.read(two)
    assert manifest.version == "1.3" and manifest.classes == CLASSES
    assert [(h.name, h.tensor, h.kind, h.classes) for h in manifest.heads] == [
        ("area", "labels", "labels", CLASSES),
        ("lane", "labels_lane", "labels", ("none", "car")),
    ]
    assert manifest.routes == {"start": ("key",), "key": ("key",), "nonkey": ("state",)}
    # The encoder's convolution is there once, and each head's own.
    key = onnx.load(str(two / "key.onnx"))
    assert [node.op_type for node in key.graph.node].count("Conv") == 2
    for numbers in (*manifest.parity["graphs"].values(), manifest.parity["rollout"]):
        assert numbers["labels_equal"] == min(numbers["heads"].values()) >= 0.999
        assert list(numbers["heads"]) == list(BOTH)
    check_two(predictions(two, tiny_video), tiny_video)


def test_a_tuple_by_index_with_its_scores_and_a_matte_carried(three: Path, tiny_video: Path) -> None:
    manifest = bundle.read(three)
    assert [(h.name, h.tensor) for h in manifest.heads] == [
        ("0", "labels"),
        ("1", "labels_1"),
        ("2", "matte"),
    ]
    assert [state.name for state in manifest.state] == ["scores", "scores_1", "values_matte"]
    assert {state.dtype for state in manifest.state} == {"float32"}
    found = predictions(three, tiny_video)
    for prediction, truth in zip(found, truths(tiny_video), strict=True):
        assert scores(prediction.heads["0"], truth) > 0.75
        assert scores(prediction.heads["1"], (truth == CAR).astype(np.uint8)) > 0.75
        assert scores((prediction.heads["2"] > 127).astype(np.uint8), (truth == CAR).astype(np.uint8)) > 0.75
    # Softmax of well separated colours: some are in between at the edges, and the rest is sure.
    matte = found[0].heads["2"]
    assert matte.max() > 220 and matte.min() < 10 and len(np.unique(matte)) > 10


@pytest.mark.parametrize("form", ["exported program", "OpenVINO", "TFLite"])
def test_other_forms_of_the_same_network(
    form: str, models: Path, two: Path, tmp_path: Path, tiny_video: Path
) -> None:
    given = models / "dict.pt2"
    if form == "OpenVINO":
        ov = pytest.importorskip("openvino")
        given = tmp_path / "two.xml"
        ov.save_model(ov.Core().read_model(str(models / "two.onnx")), str(given), compress_to_fp16=False)
    if form == "TFLite":
        given = tmp_path / "two.tflite"
        with quiet():
            litert = pytest.importorskip("litert_torch")
            litert.convert(Tuple().eval(), (torch.zeros(1, 3, *SIZE),)).export(str(given))
    outputs: tuple[str, ...] = BOTH if form != "TFLite" else ("0", "1")
    manifest = convert(
        Conversion(given, output_name=outputs, classes=dict(zip(outputs, (AREAS, 2), strict=True))),
        tmp_path / "a.vss",
    )
    assert manifest.target == {"OpenVINO": "openvino", "TFLite": "tflite"}.get(form, "onnx")
    names = (manifest.heads[0].name, manifest.heads[1].name)
    assert names == outputs
    found = predictions(tmp_path / "a.vss", tiny_video)
    check_two(found, tiny_video, names)
    for ours, theirs in zip(found, predictions(two, tiny_video), strict=True):
        for name, other in zip(names, BOTH, strict=True):
            assert np.mean(ours.heads[name] == theirs.heads[other]) > 0.999


def test_a_matte_alone_is_kept_as_bytes_and_carried(matting: Path, tiny_video: Path) -> None:
    manifest = bundle.read(matting)
    assert manifest.classes == ("background", "foreground")
    assert [(h.name, h.tensor, h.kind) for h in manifest.heads] == [
        ("foreground", "labels", "labels"),
        ("alpha", "matte", "matte"),
    ]
    assert [(state.name, state.dtype) for state in manifest.state] == [("key_matte", "uint8")]
    network = Matting()
    with open_source(tiny_video) as source:
        frames = list(source)
    found = predictions(matting, tiny_video)
    for frame, prediction, truth in zip(frames, found, truths(tiny_video), strict=True):
        matte = prediction.heads["alpha"]
        assert np.array_equal(prediction.labels, (matte >= 128).astype(np.uint8))
        assert scores(prediction.labels, (truth == CAR).astype(np.uint8)) > 0.75
        picture = torch.from_numpy(frame.image).permute(2, 0, 1)[None] / 255
        values = torch.nn.functional.interpolate(network(picture), SIZE, mode="bilinear")
        expected = np.rint(255 * values[0, 0].numpy())
        apart = np.abs(matte - expected)
        # A key frame has the network's own numbers, and the others what moved along.
        assert apart.max() <= 1 if prediction.decision.route != "nonkey" else apart.mean() < 12


def test_a_matte_of_larger_frames_is_smooth_and_labels_are_not_mixed(three: Path) -> None:
    image = cv2.resize(
        np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8), (WIDTH * 2, HEIGHT * 2)
    )
    with open_source([np.asarray(image, np.uint8)]) as source:
        prediction = load(three).session().step(next(iter(source)))
    assert {values.shape for values in prediction.heads.values()} == {(2 * HEIGHT, 2 * WIDTH)}
    assert set(np.unique(prediction.heads["0"])) <= {0, 1, 2}
    small = load(three).graphs["key"]({"image": np.asarray(image)[::2, ::2][None].copy()})["matte"]
    assert len(np.unique(prediction.heads["2"])) > len(np.unique(np.asarray(small))) / 2


def test_each_map_comes_back_from_a_cropped_picture(three: Path) -> None:
    segmenter = load(three)
    head = replace(segmenter.manifest.heads[1], ignore=7)
    heads = (segmenter.manifest.heads[0], head, segmenter.manifest.heads[2])
    cropping = replace(segmenter, manifest=replace(segmenter.manifest, heads=heads, fit="crop"))
    with open_source([np.full((HEIGHT, 2 * WIDTH, 3), 200, np.uint8)]) as source:
        found = cropping.session().step(next(iter(source))).heads
    side = WIDTH // 2
    assert {values.shape for values in found.values()} == {(HEIGHT, 2 * WIDTH)}
    for name, outside in (("0", 255), ("1", 7), ("2", 0)):
        assert (found[name][:, :side] == outside).all() and (found[name][:, -side:] == outside).all()
        assert not (found[name][:, side:-side] == outside).all()


def test_every_sink_writes_every_map(three: Path, tiny_video: Path, tmp_path: Path) -> None:
    segmenter = load(three)
    with open_source(tiny_video) as source:
        context = SinkContext.of(segmenter.manifest, source.info)
        places = {"labels": "seen", "jsonl": "seen.jsonl", "video": "seen.mp4"}
        sinks = [open_sink(name, tmp_path / place, context) for name, place in places.items()]
        run(source, segmenter.session("interval:5"), sinks, limit=6)
    expected = predictions(three, tiny_video)[:6]
    lines = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    for index, (prediction, line) in enumerate(zip(expected, lines, strict=True)):
        name = f"{index:06d}.png"
        assert np.array_equal(read_labels(tmp_path / "seen" / name), prediction.labels)
        for head in ("1", "2"):
            assert np.array_equal(read_labels(tmp_path / "seen" / head / name), prediction.heads[head])
        assert list(line["heads"]) == ["0", "1", "2"] and line["heads"]["0"] == line["classes"]
        share = float((prediction.heads["1"] == 1).mean())
        assert line["heads"]["1"]["class 1"] == pytest.approx(share, abs=1e-6)
        assert line["heads"]["2"] == {
            "matte": pytest.approx(float(prediction.heads["2"].mean()) / 255, abs=1e-6)
        }
    with av.open(str(tmp_path / "seen.mp4")) as video:
        painted = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with open_source(tiny_video) as source:
        plain = next(iter(source)).image
    outside = expected[0].heads["2"] < 10
    # Outside of the matte it is dark; the caption is in the corner.
    outside[:24] = False
    assert painted[0][outside].mean() < 0.5 * plain[outside].mean()


def test_each_map_has_a_score_of_its_own(two: Path, tiny_video: Path, tmp_path: Path) -> None:
    lanes = tmp_path / "lanes"
    lanes.mkdir()
    for index, truth in enumerate(truths(tiny_video)):
        cv2.imwrite(str(lanes / f"{index}.png"), (truth == CAR).astype(np.uint8))
    segmenter = load(two)
    first = evaluate(segmenter, tiny_video, tiny_video.parent / "truth")
    named = evaluate(segmenter, tiny_video, tiny_video.parent / "truth", head="area")
    assert list(first.iou) == list(CLASSES) and first.iou == named.iou
    lane = evaluate(segmenter, tiny_video, lanes, head="lane")
    assert list(lane.iou) == ["none", "car"] and lane.miou > 90
    done = CliRunner().invoke(
        app,
        ["evaluate", str(two), str(tiny_video), "--head", "lane", "--truth", str(lanes), "--json", "-"],
    )
    assert json.loads(done.stdout)["iou"] == pytest.approx(lane.iou)
    with pytest.raises(OptionError, match="no head is called 'road': choose from area, lane"):
        evaluate(segmenter, tiny_video, lanes, head="road")


def test_a_matte_has_no_classes_to_score(matting: Path, tiny_video: Path) -> None:
    with pytest.raises(OptionError, match="alpha is a matte"):
        evaluate(load(matting), tiny_video, tiny_video.parent / "truth", head="alpha")


def test_verify_reads_the_same_outputs_again(three: Path, models: Path) -> None:
    found = verify(three, Conversion(models / "tuple.pt2"))
    assert found.measured and found.parity["rollout"]["labels_equal"] >= 0.999
    assert list(found.parity["rollout"]["heads"]) == ["0", "1", "2"]


def test_a_head_that_differs_is_found_though_the_others_agree(
    models: Path, two: Path, tmp_path: Path
) -> None:
    save_onnx(tmp_path / "two.onnx", TwoHeads(car=1.0), list(BOTH))
    manifest = json.loads((two / "manifest.json").read_text())
    changed = tmp_path / "changed.vss"
    changed.mkdir()
    for file in two.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    manifest["source"]["sha256"] = fingerprint(tmp_path / "two.onnx")
    (changed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"agrees with the model on \d"):
        verify(changed, Conversion(tmp_path / "two.onnx"))


def test_the_command_line_takes_outputs_classes_and_mattes(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.vss"
    (tmp_path / "lane.txt").write_text("none\nline\n")
    options = ["--output", "area", "--output", "lane", "--classes", "area=3"]
    options += ["--classes", f"lane={tmp_path / 'lane.txt'}", "--matte", "alpha"]
    done = CliRunner().invoke(app, ["convert", str(models / "three.onnx"), *options, "-o", str(out)])
    assert done.exit_code == 0, done.stderr
    assert "labels_lane" in done.stderr and "matte" in done.stderr
    assert [(h.name, h.classes) for h in bundle.read(out).heads] == [
        ("area", ("class 0", "class 1", "class 2")),
        ("lane", ("none", "line")),
        ("alpha", ()),
    ]
    shown = CliRunner().invoke(app, ["inspect", str(out), "--json", "-"])
    assert [head["tensor"] for head in json.loads(shown.stdout)["heads"]] == [
        "labels",
        "labels_lane",
        "matte",
    ]
    assert "labels_lane" in shown.stderr
    for wrong in (["--classes", "3", "--classes", "area=3"], ["--classes", "area=3", "--classes", "area=4"]):
        done = CliRunner().invoke(
            app, ["convert", str(models / "two.onnx"), *options[:4], *wrong, "-o", str(out)]
        )
        assert done.exit_code == 2 and "OUTPUT=SET" in done.stderr


@pytest.mark.parametrize("carry", ["labels", "scores"])
def test_labels_and_scores_of_two_sizes_in_one_bundle(carry: str, tmp_path: Path, tiny_video: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", Mixed(), ["ids:0", "car/1"])
    with pytest.raises(OptionError, match=r"--classes ids:0=\.\.\. is missing"):
        convert(Conversion(path, output_name=("ids:0", "car/1")), tmp_path / "a.vss")
    conversion = Conversion(
        path, output_name=("ids:0", "car/1"), classes={"ids:0": 2}, options={"carry": carry}
    )
    manifest = convert(conversion, tmp_path / "a.vss")
    assert [(h.name, h.tensor, h.classes) for h in manifest.heads] == [
        ("ids_0", "labels", ("class 0", "class 1")),
        ("car_1", "labels_car_1", ("background", "car_1")),
    ]
    assert manifest.motion is not None
    assert manifest.motion.grid == ((12, 16) if carry == "labels" else (48, 64))
    for prediction, truth in zip(
        predictions(tmp_path / "a.vss", tiny_video), truths(tiny_video), strict=True
    ):
        for values in prediction.heads.values():
            assert scores(values, (truth == CAR).astype(np.uint8)) > 0.75


def test_motion_on_another_grid_moves_as_far() -> None:
    motion = torch.zeros(1, 2, 12, 16)
    motion[:, 0], motion[:, 1] = 1.0, -0.5
    moved = on_grid(motion, (24, 48))
    assert moved.shape == (1, 2, 24, 48)
    assert torch.allclose(moved[:, 0], torch.tensor(3.0)) and torch.allclose(moved[:, 1], torch.tensor(-1.0))
    ramp = torch.arange(48.0).repeat(24, 1)[None, None]
    assert torch.allclose(warp_scores(ramp, moved)[0, 0, 5, 4:40], torch.arange(7.0, 43.0))


def test_names_of_outputs_become_names_of_folders() -> None:
    assert safe_names(["a", "A", "StatefulPartitionedCall:0", "../x", "", "a"]) == [
        "a",
        "A_2",
        "StatefulPartitionedCall_0",
        "x",
        "output",
        "a_3",
    ]


def test_generated_colours_of_two_heads_differ(three: Path) -> None:
    first, second, _ = bundle.read(three).heads
    assert first.palette == find("3").palette and not set(first.palette) & set(second.palette)


def test_a_saved_state_goes_on_with_both_maps(two: Path, tiny_video: Path, tmp_path: Path) -> None:
    segmenter = load(two)
    session = segmenter.session("interval:50")
    with open_source(tiny_video) as source:
        frames = list(source)
    for frame in frames[:4]:
        session.step(frame)
    session.state.save(tmp_path / "state")
    assert set(session.state) == {"key_labels", "key_labels_lane"}
    again = segmenter.session("interval:50")
    again.state.restore(tmp_path / "state")
    for name in session.state:
        assert np.array_equal(again.state[name], session.state[name])


def test_an_unknown_class_of_any_head_is_an_error(two: Path, tiny_video: Path) -> None:
    whole = load(two)

    def wrong(tensors: Any) -> Any:
        made = dict(whole.graphs["key"](tensors))
        made["labels_lane"] = np.full((1, *SIZE), 7, np.uint8)
        return made

    session = Segmenter(whole.manifest, {**whole.graphs, "key": wrong}).session()
    with (
        open_source(tiny_video) as source,
        pytest.raises(EngineError, match="class 7 in labels_lane at frame 0"),
    ):
        session.step(next(iter(source)))
