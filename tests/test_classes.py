from pathlib import Path

import pytest

from edge_vss import classes
from edge_vss.errors import OptionError


@pytest.mark.parametrize(
    ("name", "count", "ignore"), [("camvid", 11, 11), ("cityscapes", 19, 255), ("streets", 9, 255)]
)
def test_built_in_sets(name: str, count: int, ignore: int) -> None:
    found = classes.find(name)
    assert (len(found), found.ignore) == (count, ignore)
    assert len(set(found.names)) == len(set(found.palette)) == len(found.palette) == count


def test_camvid_has_the_order_of_its_label_maps() -> None:
    names = classes.find("camvid").names
    assert names[:5] == ("sky", "building", "pole", "road", "pavement")
    assert names[10] == "bicyclist"


def test_a_count_gives_as_many_different_colours() -> None:
    found = classes.find("255")
    assert len(found) == len(set(found.palette)) == 255
    assert found.names[0] == "class 0"


def test_a_file_gives_names_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# my classes\nroad\n\ntraffic light 250 170 30\nroute 66\n")
    found = classes.find(str(path))
    assert found.names == ("road", "traffic light", "route 66")
    assert found.palette[1] == (250, 170, 30)
    assert found.ignore == 255


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\na\n", "line 2: the class 'a' appears twice"),
        ("", "names 0 classes"),
        ("a 1 2 300", "goes past 255"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        classes.find(str(path))


@pytest.mark.parametrize("spec", ["0", "256", "99999999999999999999", "nosuchset", ""])
def test_an_unknown_set_is_refused(spec: str) -> None:
    with pytest.raises(OptionError):
        classes.find(spec)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00\xd8" * 9)
    with pytest.raises(OptionError, match="cannot be read as text"):
        classes.find(str(tmp_path / "names.txt"))


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("ade20k", 150, "wall", "flag"),
        ("voc", 21, "background", "tvmonitor"),
        ("coco-stuff", 171, "person", "wood"),
        ("vspw", 124, "wall", "train"),
        ("mapillary", 65, "Bird", "Ego Vehicle"),
    ],
)
def test_presets_of_published_data_sets(name: str, count: int, first: str, last: str) -> None:
    found = classes.find(name)
    assert (len(found), found.names[0], found.names[-1]) == (count, first, last)
    assert len(set(found.names)) == len(set(found.palette)) == count


def test_colours_of_voc_follow_its_rule() -> None:
    found = classes.find("voc")
    assert found.palette[1] == (128, 0, 0) and found.palette[15] == (192, 128, 128)


def test_an_unknown_set_lists_those_there_are() -> None:
    with pytest.raises(
        OptionError, match=r"choose one of ade20k, camvid, .*, vspw, a count, or a file of names"
    ):
        classes.find("pascal")
