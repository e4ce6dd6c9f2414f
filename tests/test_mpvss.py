"""Family mpvss: streams against the networks themselves, its options, the ways its files come in, what is
refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

pytest.importorskip("transformers", reason="the segmentor's modules come from transformers")

from edge_vss import bundle
from edge_vss.cli import app
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.families import split
from edge_vss.converters.families.mpvss import enlarged
from edge_vss.converters.networks import mask2former
from edge_vss.converters.networks.mask2former import Mask2Former, built
from edge_vss.converters.networks.mpvss_flow import MEAN, Flow, FlowShape
from edge_vss.converters.ops.warp_masks import warp_masks
from edge_vss.converters.readers._untrained_weights import fill
from edge_vss.converters.verify import verify
from edge_vss.errors import ModelError, OptionError
from edge_vss.runtimes.segmenter import load
from edge_vss.runtimes.sources import open_source
from tests.helpers.cli import CliRunner
from tests.helpers.mpvss import NAMES, SHAPE, flow, flow_file, folder, model
from tests.helpers.videos import encode, pan

SIZE = (64, 96)
PIXELS = (torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225]))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A segmentor's folder and a flow's file."""
    place = tmp_path_factory.mktemp("mpvss")
    return folder(place / "net"), flow_file(place / "flow.pth")


def conversion(files: tuple[Path, Path], size: tuple[int, int] = SIZE, **options: Any) -> Conversion:
    logits = options.pop("logits", False)
    return Conversion(
        files[0], family="mpvss", size=size, logits=logits, options={"flow": files[1], **options}
    )


def in_torch(images: list[Any], interval: int, drift: bool, exact: bool) -> list[Tensor]:
    """Scores at the padded size, as the paper's text computes them: with the library's own network."""
    net, moves, found = model(), flow(), []
    key: dict[str, Tensor] = {}
    for index, image in enumerate(images):
        down, across = (-extent % 32 for extent in image.shape[:2])
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

        def padded(x: Tensor, right: int = across, below: int = down) -> Tensor:
            return functional.pad(x, (0, right, 0, below))

        mean, std = (x.reshape(1, 3, 1, 1) for x in PIXELS)
        small = functional.interpolate(
            padded(pixels - torch.tensor(MEAN).reshape(1, 3, 1, 1)), scale_factor=0.5, mode="bilinear"
        )
        with torch.no_grad():
            if index % interval == 0:
                answer = net(padded((pixels - mean) / std))
                states = net.model(padded((pixels - mean) / std), output_hidden_states=True)
                key = {
                    "masks": answer.masks_queries_logits,
                    "classes": answer.class_queries_logits.softmax(-1)[..., :-1],
                    "queries": states.transformer_decoder_intermediate_states[-1][:, 0],
                    "small": small,
                }
                masks = key["masks"]
            else:
                moved = enlarged(moves(small, key["small"], key["queries"]))
                masks = warp_masks(key["masks"], moved, drift=drift)
            size = (4 * masks.shape[2], 4 * masks.shape[3])
            if exact:
                masks = functional.interpolate(masks, size, mode="bilinear")
            scores = torch.einsum("bqc,bqhw->bchw", key["classes"], masks.sigmoid())
            found.append(functional.interpolate(scores, size, mode="bilinear"))
    return found


@pytest.mark.parametrize(
    ("size", "align", "semantic"),
    [
        ((70, 101), "published", "exact"),
        (SIZE, "exact", "quarter"),
    ],
)
def test_a_stream_is_what_the_networks_give_for_every_frame(
    tmp_path: Path, files: tuple[Path, Path], size: tuple[int, int], align: str, semantic: str
) -> None:
    """Twelve frames: three key frames, and masks that always move from the last of them. Sides that are no
    multiple of 32 are filled with zeros and cut again."""
    manifest = convert(conversion(files, size, align=align, semantic=semantic), tmp_path / "m.vss")
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    clip = encode(tmp_path / "v.mp4", pan(12, (96, 128)))
    session, images, labels = load(tmp_path / "m.vss").session(), [], []
    assert not session.wants_motion
    routes = []
    with open_source(clip) as source:
        for frame in source:
            images.append(frame.picture.rgb(size))
            prediction = session.step(frame)
            labels.append(prediction.labels)
            routes.append(prediction.decision.route)
    assert routes == ["start", *["nonkey"] * 4, "key", *["nonkey"] * 4, "key", "nonkey"]
    wanted = in_torch(images, 5, align == "published", semantic == "exact")
    expected = np.stack([w.argmax(1)[0, : size[0], : size[1]].numpy().astype(np.uint8) for w in wanted])
    whole = [cv_nearest(one, labels[0].shape) for one in expected]
    assert (np.stack(whole) == np.stack(labels)).mean() >= 0.999
    assert len(np.unique(expected)) > 1, "pictures of one class compare nothing"
    still = in_torch(images[:1] * 4, 5, align == "published", semantic == "exact")
    assert not torch.equal(wanted[3], still[0])


def cv_nearest(labels: Any, shape: tuple[int, ...]) -> Any:
    import cv2

    return cv2.resize(labels, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)


def test_routes_and_state(tmp_path: Path, files: tuple[Path, Path]) -> None:
    made = split(conversion(files, (70, 101)))
    assert made.routes == {"start": ("key",), "key": ("key",), "nonkey": ("nonkey", "state")}
    assert made.policy == "interval:5" and made.motion is None and made.classes.names == NAMES
    assert {state.name: state.shape for state in made.state} == {
        "masks": (1, 10, 24, 32),
        "classes": (1, 10, 5),
        "queries": (10, 32),
        "key_picture": (1, 3, 48, 64),
    }
    assert made.options == {"align": "published", "semantic": "quarter", "logits": False}


def test_scores_come_along_where_they_are_wanted(files: tuple[Path, Path]) -> None:
    image = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    for semantic, extents in (("quarter", (16, 24)), ("exact", (64, 96))):
        made = split(conversion(files, logits=True, semantic=semantic))
        key, state = made.part("key"), made.part("state")
        with torch.no_grad():
            found = dict(zip([s.name for s in key.outputs], key.module(image), strict=True))
            still = torch.zeros(10, 2, 8, 12)
            moved = state.module(found["masks"], found["classes"], still)
        assert found["logits"].shape == (1, 5, *extents) and not key.hidden
        shown = dict(zip([s.name for s in state.outputs], moved, strict=True))
        assert shown["logits"].shape == found["logits"].shape
        assert torch.equal(found["logits"].argmax(1).to(torch.uint8), found["labels"]) or semantic != "exact"


def test_a_bundle_is_verified_with_both_files(tmp_path: Path, files: tuple[Path, Path]) -> None:
    out = tmp_path / "m.vss"
    convert(conversion(files, align="exact"), out)
    assert verify(out, Conversion(files[0], options={"flow": files[1]})).measured
    with pytest.raises(OptionError, match=r"--flow is missing: this bundle was made from flow\.pth too"):
        verify(out, Conversion(files[0]))
    other = flow_file(tmp_path / "other.pth", replace(SHAPE, inner=32))
    with pytest.raises(ModelError, match=r"other\.pth is not the file this bundle was made from"):
        verify(out, Conversion(files[0], options={"flow": other}))


def test_the_command_line(tmp_path: Path, files: tuple[Path, Path]) -> None:
    out, clip = tmp_path / "m.vss", encode(tmp_path / "v.mp4", pan(6, SIZE))
    command = ["convert", str(files[0]), "--family", "mpvss", "--flow", str(files[1]), "--size", "64x96"]
    done = CliRunner().invoke(app, [*command, "-o", str(out)])
    assert done.exit_code == 0, done.output
    for verb in ("run", "profile"):
        done = CliRunner().invoke(app, [verb, str(out), str(clip)])
        assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint of both networks as detectron2 writes it, and what is in it."""
    segmentor, moves = Mask2Former(built(mask2former.VARIANTS["r50"], 7)), Flow(FlowShape())
    for network in (segmentor, moves):
        fill(network)
    state = {k: v.half() if v.is_floating_point() else v for k, v in segmentor.state_dict().items()}
    state |= {f"motion.{key}": value.half() for key, value in moves.state_dict().items()}
    path = tmp_path_factory.mktemp("published") / "mpvss_r50.pth"
    unused = {"criterion.empty_weight": torch.ones(8)}
    torch.save(
        {"model": state | unused, "optimizer": {"state": {}}, "scheduler": {}, "iteration": 90000}, path
    )
    return path, state


def test_one_checkpoint_of_both(published: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = published
    made = split(Conversion(path, family="mpvss", size=SIZE, options={"variant": "r50"}))
    assert len(made.classes) == 7 and made.source["name"] == "mpvss_r50.pth" and made.notes == {}
    modules: list[Any] = [made.part(role).module for role in ("key", "nonkey")]
    key, between = modules
    found = {**key.segmentor.state_dict(), **{f"motion.{k}": v for k, v in between.flow.state_dict().items()}}
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(found[name], value.float()), name
    # The backbone is known by its weights.
    assert split(Conversion(path, family="mpvss", size=SIZE)).options["variant"] == "r50"


def test_a_checkpoint_of_the_zoo(tmp_path: Path, published: tuple[Path, dict[str, Tensor]]) -> None:
    """A pickle of numpy arrays, with the names of the head's first version."""
    _, state = published
    old = {
        key.replace("pixel_decoder.", "").replace("query_feat", "static_query"): value.numpy()
        for key, value in state.items()
        if not key.startswith("motion.")
    }
    path, apart = tmp_path / "model_final.pkl", tmp_path / "flow.pth"
    with path.open("wb") as file:
        pickle.dump({"model": old, "__author__": "someone", "matching_heuristics": True}, file)
    torch.save({key: value for key, value in state.items() if key.startswith("motion.")}, apart)
    asked = Conversion(path, family="mpvss", size=SIZE, options={"variant": "r50", "flow": apart})
    with pytest.raises(ModelError, match=r"is a pickle, .* pass --trust-pickle if you trust it"):
        convert(asked, tmp_path / "m.vss")
    made = split(replace(asked, trust_pickle=True))
    name, key = "sem_seg_head.predictor.query_feat.weight", made.part("key").module
    assert torch.equal(key.get_submodule("segmentor").state_dict()[name], state[name].float())
    assert made.notes["flow"]["name"] == "flow.pth"


def test_checkpoints_that_do_not_fit(tmp_path: Path, published: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = published

    def refused(message: str, changed: dict[str, Tensor] | None = None, **asked: Any) -> None:
        place = path
        if changed is not None:
            place = tmp_path / "changed.pth"
            torch.save({"model": changed}, place)
        options = {"variant": "r50", **asked.pop("options", {})}
        with pytest.raises((ModelError, OptionError), match=message) as caught:
            split(Conversion(place, family="mpvss", size=SIZE, options=options, **asked))
        assert "\n" not in str(caught.value)

    refused("holds r50, and --variant says swin-t: give --variant r50", options={"variant": "swin-t"})
    refused("no variant is called 'r18': family mpvss has r50, r101, swin-t", options={"variant": "r18"})
    refused("--classes has 19 classes, and .* scores 7", classes="cityscapes")
    refused("--mean is fixed by the variant", mean=(0.5, 0.5, 0.5))
    refused("--align 'none': choose published or exact", options={"align": "none"})
    refused("--semantic 'full': choose quarter or exact", options={"semantic": "full"})
    still = {key: value for key, value in state.items() if not key.startswith("motion.")}
    refused(r"has no flow network \(motion\.…\): give --flow FILE, or convert with --family propagate", still)
    refused(
        "has no .*class_embed.weight: .*, but a flow: give it as --flow",
        dict(set(state.items()) - set(still.items())),
    )
    gone, name = dict(state), "sem_seg_head.pixel_decoder.mask_features.bias"
    del gone[name]
    refused(f"1 missing \\({name}\\); check --variant", gone)
    refused(r"1 unexpected \(backbone\.more\)", state | {"backbone.more": torch.zeros(1)})
    refused(
        r"the flow of MPVSS: 1 unexpected \(decoder\.more\)", state | {"motion.decoder.more": torch.zeros(1)}
    )


def test_flows_that_do_not_fit(tmp_path: Path, files: tuple[Path, Path]) -> None:
    other = flow_file(tmp_path / "other.pth", replace(SHAPE, queries=12))
    with pytest.raises(
        ModelError, match=r"takes 12 queries of 32 channels, and .* has 10 of 32: give the flow"
    ):
        split(conversion((files[0], other)))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "none.pth")
    with pytest.raises(ModelError, match=r"none\.pth is no flow network of MPVSS \(there is no encoder"):
        split(conversion((files[0], tmp_path / "none.pth")))
    with pytest.raises(ModelError, match="has no flow network"):
        split(Conversion(files[0], family="mpvss", size=SIZE))
    with pytest.raises(OptionError, match="the folder's config says which network it is"):
        split(conversion(files, variant="r50"))
    with pytest.raises(OptionError, match="the flow needs 64 pixels each way"):
        split(conversion(files, (32, 96)))
    with pytest.raises(OptionError, match="--size is missing"):
        split(replace(conversion(files), size=None))


def test_a_folder_of_another_network_is_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    import transformers

    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=32, num_attention_heads=[1, 1, 2, 2]
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "net")
    with pytest.raises(
        ModelError, match=r"is a segformer, and family mpvss needs a Mask2Former.*--family propagate"
    ):
        split(conversion((tmp_path / "net", files[1])))


def test_without_weights(tmp_path: Path) -> None:
    made = split(Conversion(family="mpvss", classes="cityscapes", size=SIZE, options={"variant": "r50"}))
    assert made.notes == {"untrained": True} and made.source["name"] == "untrained r50"
    with pytest.raises(OptionError, match="--variant is missing: family mpvss has r50"):
        split(Conversion(family="mpvss", classes="cityscapes"))


def test_masks_are_carried_by_the_streams_vectors(tmp_path: Path, files: tuple[Path, Path]) -> None:
    asked = Conversion(files[0], size=SIZE, options={"carry": "masks"})
    manifest = convert(asked, tmp_path / "p.vss")
    assert manifest.routes["nonkey"] == ("state",) and manifest.motion is not None
    assert manifest.motion.grid == (16, 24)
    assert [state.name for state in manifest.state] == ["masks", "classes"]
    assert manifest.parity["rollout"]["labels_equal"] >= 0.999
    assert bundle.read(tmp_path / "p.vss") == manifest
    # Still masks mix to the key frame's labels.
    parts = split(asked)
    key, state = parts.part("key").module, parts.part("state").module
    image = torch.randint(0, 256, (1, *SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        labels, masks, classes, *_ = key(image)
        (again,) = state(masks, classes, torch.zeros(1, 2, 16, 24))
    assert torch.equal(labels, again)


def test_only_masks_can_be_carried_as_masks(tmp_path: Path) -> None:
    import transformers

    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], decoder_hidden_size=32, num_attention_heads=[1, 1, 2, 2]
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "net")
    with pytest.raises(OptionError, match="--carry masks: the model does not answer with masks"):
        split(Conversion(tmp_path / "net", size=SIZE, options={"carry": "masks"}))
