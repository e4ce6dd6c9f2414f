import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.decisions import Decision, Prediction, Track
from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.engines import Tensor, giving_arrays
from edge_vss.runtimes.opening import Opening
from edge_vss.runtimes.segmenter import Segmenter, load
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.tools.evaluate import evaluate
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from edge_vss.video import Frame
from tests.helpers.losses import without
from tests.helpers.server import serving
from tests.helpers.videos import decoded


@pytest.fixture(scope="module")
def segmenter(tiny_bundle: Path) -> Segmenter:
    return load(tiny_bundle)


@pytest.fixture
def truth(tiny_video: Path, tmp_path: Path) -> Path:
    """The label maps of tiny_video, to be changed."""
    return Path(shutil.copytree(tiny_video.parent / "truth", tmp_path / "truth"))


def test_the_cost_of_both_sides_is_counted(segmenter: Segmenter, tiny_video: Path, truth: Path) -> None:
    manifest, cost = segmenter.manifest, {"key": 100.0, "state": 1.0}
    graphs = tuple(replace(graph, gmac=cost[graph.role]) for graph in manifest.graphs)
    dear = replace(segmenter, manifest=replace(manifest, graphs=graphs))
    found = evaluate(dear, tiny_video, truth, policy="interval:5", both_ways=True)
    # Of 19 frames in between, the last three come after the last key frame.
    assert found.gmac_per_frame == pytest.approx((5 * 100 + 19 + 16) / 24)


def test_scores_are_those_of_the_label_maps_that_the_session_gives(
    segmenter: Segmenter, tiny_video: Path, truth: Path
) -> None:
    seen: list[tuple[NDArray[np.uint8], int]] = []

    def keep(frame: Frame, prediction: Prediction) -> None:
        seen.append((prediction.labels.copy(), prediction.frames_since_key))

    found = evaluate(segmenter, tiny_video, truth, policy="interval:4", on_frame=keep)
    maps = GroundTruth(truth)

    def mean_iou(frames: list[int]) -> float:
        true = np.stack([maps[i] for i in frames])
        ours = np.stack([seen[i][0] for i in frames])
        shares = [((true == c) & (ours == c)).sum() / ((true == c) | (ours == c)).sum() for c in range(3)]
        return 100 * float(np.mean(shares))

    assert found.frames == len(seen) == 24
    assert found.keyframes == 6
    assert found.miou == pytest.approx(mean_iou(list(range(24))))
    assert found.miou_by_distance == pytest.approx(
        [mean_iou([i for i, (_, gap) in enumerate(seen) if gap == d]) for d in range(4)]
    )
    assert found.miou == pytest.approx(np.mean(list(found.iou.values())))
    assert found.seconds > 0


def test_every_frame_a_key_frame_is_nearly_perfect_and_costs_the_key_graph(
    segmenter: Segmenter, tiny_video: Path, truth: Path
) -> None:
    found = evaluate(segmenter, tiny_video, truth, policy="interval:1")
    assert found.miou > 99 and found.mvc8 > 99 and found.mvc16 > 99
    assert found.keyframes == 24 and found.miou_by_distance == [pytest.approx(found.miou)]
    assert found.gmac_per_frame == pytest.approx(segmenter.manifest.graph("key").gmac)


def test_cost_is_averaged_over_the_routes_taken(segmenter: Segmenter, tiny_video: Path, truth: Path) -> None:
    def twice(frame: Frame, track: Track) -> Decision:
        return Decision("key" if frame.index == 10 else "nonkey", "chosen by hand")

    found = evaluate(segmenter, tiny_video, truth, policy=twice)
    assert found.keyframes == 2
    assert found.gmac_per_frame == pytest.approx(segmenter.manifest.gmac_per_frame(2 / 24))


def test_motion_makes_carried_labels_better_than_held_ones(
    segmenter: Segmenter, tiny_video: Path, truth: Path
) -> None:
    carried = evaluate(segmenter, tiny_video, truth, policy="interval:8")
    held = evaluate(segmenter, tiny_video, truth, policy="interval:8", opening=Opening(motion="none"))
    assert carried.miou_by_distance[7] > held.miou_by_distance[7] + 5


def test_an_ignored_id_counts_for_nothing(segmenter: Segmenter, tiny_video: Path, truth: Path) -> None:
    for path in truth.glob("*.png"):
        labels = GroundTruth(truth)[GroundTruth(truth).files.index(path)]
        labels[labels == 1] = 9
        cv2.imwrite(str(path), labels)
    with pytest.raises(OptionError, match=r"0\.png: the ground truth has id 9.*--ignore ID") as caught:
        evaluate(segmenter, tiny_video, truth)
    assert "\n" not in str(caught.value)
    found = evaluate(segmenter, tiny_video, truth, ignore=9)
    assert found.ignore == 9 and found.miou is not None
    assert found.iou["ground"] > 90


def test_a_model_that_gives_the_ignored_id_is_wrong_there(
    segmenter: Segmenter, tiny_video: Path, truth: Path
) -> None:
    key = giving_arrays(segmenter.graphs["key"])

    def unsure(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
        outputs = {name: value.copy() for name, value in key(tensors).items()}
        outputs["labels"][:, :, :32] = 255
        return outputs

    assert segmenter.manifest.ignore == 255
    doubtful = Segmenter(segmenter.manifest, {**segmenter.graphs, "key": unsure})
    found = evaluate(doubtful, tiny_video, truth, policy="interval:1")
    # A quarter of the picture has no class: it lowers what was found, and is no class of its own.
    assert set(found.iou) == {"ground", "wall", "car"}
    assert found.accuracy == pytest.approx(75, abs=1)
    assert found.iou["ground"] == pytest.approx(75, abs=3)
    with pytest.raises(OptionError, match=r"0\.png: labels have id 255.*other classes\?$"):
        evaluate(doubtful, tiny_video, truth, policy="interval:1", ignore=9)


def named(truth: Path, count: int) -> None:
    """Label maps whose names say nothing of frames."""
    for index in range(24):
        (truth / f"{index}.png").rename(truth / f"{chr(97 + index)}.png")
    for index in range(count, 24):
        (truth / f"{chr(97 + index)}.png").unlink()


def test_maps_without_numbers_have_to_be_as_many_as_frames(
    segmenter: Segmenter, tiny_video: Path, truth: Path
) -> None:
    named(truth, 24)
    assert evaluate(segmenter, tiny_video, truth, policy="interval:1").miou > 99
    shutil.copy(truth / "a.png", truth / "z.png")
    with pytest.raises(
        SourceError, match=r"25 label maps, but .*tiny\.mp4 has 24 frames: give one label map per frame"
    ):
        evaluate(segmenter, tiny_video, truth)
    for name in "uvwxz":
        (truth / f"{name}.png").unlink()
    with pytest.raises(SourceError, match=r"20 label maps, but .*tiny\.mp4 has 24 frames"):
        evaluate(segmenter, tiny_video, truth)
    with (
        serving(tiny_video.parent) as host,
        pytest.raises(SourceError, match=rf"but http://\*\*\*@{host}/tiny\.mp4 has .*frames"),
    ):
        evaluate(segmenter, f"http://cam:secret@{host}/tiny.mp4", truth)
    frames = (np.zeros((96, 128, 3), np.uint8) for _ in range(22))
    with pytest.raises(SourceError, match=r"20 label maps, but the source has more than 20 frames"):
        evaluate(segmenter, frames, truth)


def test_a_missing_map_moves_no_other(segmenter: Segmenter, tiny_video: Path, truth: Path) -> None:
    (truth / "3.png").unlink()
    shutil.copy(truth / "0.png", truth / "24.png")
    found = evaluate(segmenter, tiny_video, truth, policy="interval:1")
    assert found.miou > 99 and found.frames == 23
    told = found.ground_truth
    assert (told.by, told.first_number, told.frames, told.labelled) == ("number", 0, 24, 23)
    assert told.missing == ("3.png",) and told.unused == ("24.png",)
    # Windows of 8 frames do not reach over the gap.
    assert found.mvc8 > 99 and found.keyframes == 24


@pytest.mark.parametrize("first", [0, 1])
def test_only_labelled_frames_are_scored(
    segmenter: Segmenter, tiny_video: Path, truth: Path, tmp_path: Path, first: int
) -> None:
    sparse = tmp_path / "sparse"
    sparse.mkdir()
    for index in (3, 13, 23):
        shutil.copy(truth / f"{index}.png", sparse / f"city_000000_{index + first:06d}_gtFine_labelIds.png")
    seen: list[int] = []
    found = evaluate(
        segmenter, tiny_video, sparse, policy="interval:1", on_frame=lambda frame, _: seen.append(frame.index)
    )
    # 24 is one more than the last frame counted from 0.
    assert found.miou > 99 and found.frames == 3 and found.ground_truth.first_number == first
    assert seen == list(range(24)) and np.isnan(found.mvc8)
    assert found.ground_truth.missing == ()
    with pytest.raises(SourceError, match=r"3 label maps, but .* has 2 frames"):
        evaluate(segmenter, tiny_video, sparse, limit=2)


def test_pictures_and_maps_go_by_their_names(
    segmenter: Segmenter, tiny_video: Path, truth: Path, tmp_path: Path
) -> None:
    pictures, maps = tmp_path / "pictures", tmp_path / "maps"
    pictures.mkdir()
    maps.mkdir()
    for index, image in enumerate(decoded(tiny_video)):
        cv2.imwrite(str(pictures / f"scene_{7 * index}_leftImg8bit.png"), image[..., ::-1])
        if index % 5 == 2:
            shutil.copy(truth / f"{index}.png", maps / f"scene_{7 * index}_labelIds.png")
    found = evaluate(segmenter, pictures, maps, policy="interval:1")
    assert found.miou > 99 and found.frames == 5 and found.ground_truth.by == "name"


def test_label_maps_of_another_size_are_found_before_anything_runs(
    segmenter: Segmenter, tiny_video: Path, truth: Path
) -> None:
    cv2.imwrite(str(truth / "0.png"), np.zeros((48, 64), np.uint8))
    with pytest.raises(
        SourceError, match=r"0\.png is 48x64 \(height x width\), but the video's frames are 96x128"
    ):
        evaluate(segmenter, tiny_video, truth, on_frame=lambda *_: pytest.fail("a frame was run"))


@pytest.mark.parametrize("first", [0, 4])
def test_frames_that_change_their_size_are_scored_each_at_its_own(
    segmenter: Segmenter, tmp_path: Path, first: int
) -> None:
    pictures, maps = tmp_path / "pictures", tmp_path / "maps"
    pictures.mkdir()
    maps.mkdir()
    for index, (height, width) in enumerate([(96, 128)] * 4 + [(48, 80)] * 4 + [(96, 128)] * 4):
        image = np.full((height, width, 3), 20 * index, np.uint8)
        cv2.imwrite(str(pictures / f"{index:03d}.png"), image)
        if index >= first:
            cv2.imwrite(str(maps / f"{index:03d}.png"), np.zeros((height, width), np.uint8))
    scored: list[int] = []
    evaluate(
        segmenter,
        str(pictures),
        maps,
        policy="interval:3",
        on_scored=lambda frame, *_: scored.append(frame.index),
    )
    assert scored == list(range(first, 12))


def test_maps_in_order_are_as_many_as_the_frames_that_are_shown(
    segmenter: Segmenter, tiny_video: Path, tmp_path: Path
) -> None:
    # An edit list leaves the first frames out, which the header counts all the same.
    path = without(tiny_video, tmp_path / "edited.mp4", [], earlier_seconds=0.2)
    with open_source(path) as source:
        told, shown = source.info.frames, [frame.index for frame in source]
    assert told is not None and 0 < len(shown) < told
    maps = GroundTruth(tiny_video.parent / "truth")
    (tmp_path / "maps").mkdir()
    for letter, number in zip("abcdefghijklmnopqrstuvwxyz", range(told - len(shown), told), strict=False):
        cv2.imwrite(str(tmp_path / "maps" / f"{letter}.png"), maps[number])
    found = evaluate(segmenter, path, tmp_path / "maps")
    assert found.ground_truth.by == "order" and found.ground_truth.labelled == len(shown)
    (tmp_path / "maps" / "a.png").unlink()
    told_of = f"holds {len(shown) - 1} label maps, but .* has {len(shown)} frames"
    with pytest.raises(SourceError, match=told_of):
        evaluate(segmenter, path, tmp_path / "maps")
