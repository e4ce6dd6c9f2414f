"""Label maps and frames that belong together: by name, by number, by order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_vss.errors import OptionError, SourceError
from edge_vss.runtimes.sources import natural_order
from edge_vss.runtimes.tools.frame_matching import MatchChoice, Matching, match
from edge_vss.video import StreamInfo


def matched(
    maps: Sequence[str],
    frames: int | None = None,
    pictures: Sequence[str] = (),
    how: str = "auto",
    counted: int | None = None,
) -> Matching:
    stream = StreamInfo("drive.mp4", "h264", (8, 8), 25.0, frames, names=tuple(pictures))
    files = sorted((Path("gt") / name for name in maps), key=natural_order)
    return match(files, MatchChoice.parse(how), stream, lambda: frames if counted is None else counted)


def pairs(found: Matching) -> dict[int, str]:
    return {index: path.name for index, path in found.maps.items()}


def numbered(form: str, numbers: Sequence[int] | range) -> list[str]:
    return [form.format(number) for number in numbers]


def test_a_missing_map_moves_no_other() -> None:
    found = matched(numbered("{:06d}.png", [n for n in range(30) if n != 3]), 29)
    assert pairs(found) == {n: f"{n:06d}.png" for n in range(29) if n != 3}
    assert (found.by, found.first_number, found.sure, found.unused) == ("number", 0, True, ("000029.png",))
    report = found.report(29, ended=True)
    assert report.missing == ("000003.png",) and report.labelled == 28
    assert str(report) == (
        "28 of 29 frames have a label map (by number, the first frame is 0); missing: 000003.png; "
        "of no frame: 000029.png"
    )


def test_a_header_that_counts_too_many_frames_shifts_no_map() -> None:
    found = matched(numbered("{:06d}.png", range(1, 11)), 12, counted=10)
    assert pairs(found) == {n - 1: f"{n:06d}.png" for n in range(1, 11)}


@pytest.mark.parametrize(
    ("maps", "frames", "expected"),
    [
        # Cityscapes labels frame 19 of 30.
        (["aachen_000000_000019_gtFine_labelIds.png"], 30, {19: 0}),
        (numbered("{:04d}.png", range(19, 300, 30)), 300, dict.fromkeys(range(19, 300, 30), 0)),
        # VSPW begins at 1.
        (numbered("{:08d}.png", range(1, 25)), 24, {n - 1: 1 for n in range(1, 25)}),
        (numbered("{:08d}.png", range(1, 60, 15)), 70, {n - 1: 1 for n in range(1, 60, 15)}),
        (numbered("{:08d}.png", (20, 40, 60)), 60, {19: 1, 39: 1, 59: 1}),
        # CamVid's names count the frames of a longer recording, of which every second is in the video.
        (numbered("0016E5_{:05d}_L.png", range(7959, 8160, 2)), 101, dict.fromkeys(range(101), 7959)),
        # The same with a gap.
        (
            numbered("0016E5_{:05d}_L.png", [*range(7959, 8001, 2), *range(8003, 8160, 2)]),
            101,
            {n: 7959 for n in range(101) if n != 21},
        ),
        # As run writes them, without the first one.
        (numbered("{:06d}.png", range(1, 24)), 24, dict.fromkeys(range(1, 24), 0)),
        (numbered("frame{}.png", (0, 5, 10)), 24, {0: 0, 5: 0, 10: 0}),
        (numbered("{}_leftImg8bit.png", (2, 3, 4, 5)), 24, dict.fromkeys((2, 3, 4, 5), 0)),
    ],
)
def test_numbers_in_names_are_numbers_of_frames(
    maps: list[str], frames: int, expected: dict[int, int]
) -> None:
    found = matched(maps, frames)
    assert list(found.maps) == list(expected)
    assert {found.first_number} == set(expected.values()) and found.by == "number"


def test_the_user_says_which_number_the_first_frame_has() -> None:
    maps = numbered("{:05d}.png", (100, 120, 140))
    assert list(matched(maps, 50, how="number:100").maps) == [0, 20, 40]
    assert matched(maps, 50, how="number:100").sure
    assert list(matched(numbered("{:05d}.png", (7960, 7980)), 50, how="number:7959").maps) == [1, 21]
    # Every second number of a longer recording.
    assert list(matched(numbered("{:05d}.png", (100, 120, 198)), 50, how="number:100").maps) == [0, 10, 49]


def test_numbers_that_fit_in_two_ways_say_so() -> None:
    assert matched(["000019.png"], 30).sure is False
    assert "counting from 1 would fit as well" in str(matched(["000019.png"], 30).report(30, ended=True))
    assert matched(numbered("{}.png", range(24)), 24).sure


def test_numbers_beyond_the_video_are_refused_with_the_way_out() -> None:
    with pytest.raises(SourceError, match=r"numbered 7959 to 7999.*50 frames.*--match number:7959$"):
        matched(numbered("{}.png", range(7959, 8000, 2)), 50)


def test_a_header_that_counts_too_many_frames_is_not_believed() -> None:
    found = matched(numbered("{}.png", range(500, 548)), 50, counted=48)
    assert list(found.maps) == list(range(48)) and found.first_number == 500
    assert list(matched(numbered("{}.png", range(500, 548)), None, counted=48).maps) == list(range(48))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (["a_000019_color.png", "a_000019_labelIds.png"], r"several kinds.*as in 'gt/\*_labelIds\.png'"),
        (["000000.png", "000001.png", "legend.png"], r"several kinds \(.*legend\.png"),
        (["7.png", "007.png"], r"have the number 7 both"),
        (["aachen_000000_000019.png", "aachen_000001_000019.png"], r"end in one number.*--match order"),
        (["f_000000_000294.png", "f_000001_000019.png"], r"differ in several numbers.*--match order"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(maps: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        matched(maps, 30)
    assert "\n" not in str(caught.value)


def test_names_without_numbers_go_by_their_order() -> None:
    found = matched(["sky.png", "car.png"], 2)
    assert found.by == "order" and pairs(found) == {0: "car.png", 1: "sky.png"}
    assert pairs(matched(["a_1_x.png", "a_2_y.png"], 2, how="order")) == {0: "a_1_x.png", 1: "a_2_y.png"}


@pytest.mark.parametrize(
    ("pictures", "maps", "expected"),
    [
        (["7.png", "8.png", "9.png"], ["9.png", "7.png"], {0: "7.png", 2: "9.png"}),
        (
            [f"aachen_000000_{n:06d}_leftImg8bit.png" for n in range(30)],
            ["aachen_000000_000019_gtFine_labelIds.png"],
            {19: "aachen_000000_000019_gtFine_labelIds.png"},
        ),
        # Two sequences in one folder, one labelled frame in each.
        (
            [f"aachen_{s:06d}_{n:06d}_leftImg8bit.png" for s in range(2) for n in range(30)],
            [f"aachen_{s:06d}_000019_gtFine_labelIds.png" for s in range(2)],
            {19: "aachen_000000_000019_gtFine_labelIds.png", 49: "aachen_000001_000019_gtFine_labelIds.png"},
        ),
        (["0016E5_00390.png", "0016E5_00420.png"], ["0016E5_00420_L.png"], {1: "0016E5_00420_L.png"}),
        (["img_1.jpg", "img_2.jpg"], ["gt_0001.png", "gt_0002.png"], {0: "gt_0001.png", 1: "gt_0002.png"}),
        (
            ["left.jpg", "right.jpg"],
            ["right_mask.png", "left_mask.png"],
            {0: "left_mask.png", 1: "right_mask.png"},
        ),
        (["a.jpg", "b.jpg"], ["b.jpg.png"], {1: "b.jpg.png"}),
        (
            [f"frame_{n:06d}.png" for n in range(30)],
            ["x_000000_000019_i.png"],
            {19: "x_000000_000019_i.png"},
        ),
    ],
)
def test_pictures_and_maps_are_matched_by_their_names(
    pictures: list[str], maps: list[str], expected: dict[int, str]
) -> None:
    found = matched(maps, len(pictures), pictures)
    assert (found.by, pairs(found)) == ("name", expected)


def test_maps_that_run_wrote_for_pictures_count_frames() -> None:
    pictures = [f"{n}.png" for n in range(1, 25)]
    found = matched(numbered("{:06d}.png", range(24)), 24, pictures)
    assert found.by == "number" and list(found.maps) == list(range(24))


def test_names_of_other_pictures_are_told() -> None:
    found = matched(["a.png", "c.png"], 2, ["a.jpg", "b.jpg"])
    report = found.report(2, ended=True)
    assert report.unused == ("c.png",) and pairs(found) == {0: "a.png"}
    found = matched(["a.png", "b.png"], 3, ["a.jpg", "b.jpg", "c.jpg"])
    assert found.report(3, ended=True).missing == ("c.jpg",)
    with pytest.raises(SourceError, match="has the name of a frame"):
        matched(["x.png"], 2, ["a.jpg", "b.jpg"], how="name")


def test_lost_packets_are_told_where_numbers_count() -> None:
    report = matched(numbered("{}.png", range(5)), 5).report(5, ended=True, losses=2)
    assert report.losses == 2 and "2 losses" in str(report)


@pytest.mark.parametrize("text", ["", "names", "number:", "number:-1", "number:x", "order:1", "number:²"])
def test_another_way_to_match_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="use auto, name, order, number or number:1"):
        MatchChoice.parse(text)
