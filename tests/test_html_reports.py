"""Reports as pages: one file each, with plots, and nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vss.cli import app
from edge_vss.runtimes.drawing.html import Page
from edge_vss.runtimes.tools.ground_truth import read_labels
from tests.helpers.cli import CliRunner

VOID = {"meta", "img", "br", "link"}


class Read(HTMLParser):
    """Reads a page as a strict browser would: every element is closed where it has to be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.seen)


def read(path: Path) -> Read:
    text = path.read_text(encoding="utf-8")
    found = Read(text)
    assert not found.open
    assert "script" not in {tag for tag, _ in found.seen}
    for _, attributes in found.seen:
        for name in ("src", "href", "xlink:href", "data", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?://|@import|url\(", text)
    return found


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.stderr
    return done.stderr


def pictures(found: Read) -> list[np.ndarray]:
    made = []
    for tag, attributes in found.seen:
        if tag == "img":
            data = base64.b64decode((attributes["src"] or "").partition(",")[2])
            made.append(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)))
    return made


def test_a_profile_has_a_time_line_and_a_distribution(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    place = tmp_path / "report.html"
    said = run("profile", str(tiny_bundle), str(tiny_video), "--html", str(place), "--policy", "interval:4")
    assert f"the report is in {place}" in said
    found = read(place)
    names = {"decode", "motion", "key", "state", "post"}
    assert names <= set(re.findall(r"\w+", found.text))
    stages = [attributes for tag, attributes in found.seen if tag == "polygon"]
    assert len(stages) >= len(names)
    points = (stages[0]["points"] or "").split()
    assert len(points) == 2 * 24
    assert found.count("rect") > 10 and found.count("svg") >= 3


def test_an_evaluation_shows_its_worst_frames(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    place, truth = tmp_path / "report.html", tmp_path / "truth"
    truth.mkdir()
    for path in (tiny_video.parent / "truth").iterdir():
        labels = read_labels(path)
        # Frame 7 is said to be something else altogether.
        cv2.imwrite(str(truth / path.name), (labels + 1) % 3 if path.stem == "7" else labels)
    run("evaluate", str(tiny_bundle), str(tiny_video), "--truth", str(truth), "--html", str(place))
    found = read(place)
    shown = pictures(found)
    assert len(shown) == 4 * 6
    captions = re.findall(r"frame (\d+), ", found.text)
    assert captions[0] == "7" and len(set(captions)) == 6
    picture, true, labels, different = shown[:4]
    assert picture.shape == labels.shape == (96, 128, 3)
    red = (different[..., 2].astype(int) - different[..., 0] > 100).mean()
    assert red > 0.9
    assert np.abs(true.astype(int) - labels).mean() > 20
    last = (shown[-1][..., 2].astype(int) - shown[-1][..., 0] > 100).mean()
    assert last < red / 2
    assert found.count("polyline") >= 2 and "wall" in found.text


def test_a_comparison_has_bars(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    place = tmp_path / "report.html"
    run("compare", str(tiny_bundle), str(tiny_video), "--frames", "16", "--html", str(place))
    found = read(place)
    assert "onnxruntime fp32" in found.text and "take " in found.text
    assert found.count("svg") == 4


def test_a_stream_has_its_coverage(p_only: Path, tiny_video: Path, tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    run("motion", str(tiny_video), "--truth", str(tiny_video.parent / "truth"), "--html", str(place))
    found = read(place)
    assert "carried up to 5 frames" in found.text and "P-frames" not in found.text
    assert found.count("polyline") == 1 and found.count("circle") == 23


def test_a_page_that_cannot_be_written_is_told_before_the_work(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    truth = str(tiny_video.parent / "truth")
    absent = str(tmp_path / "absent" / "report.html")
    pytest.importorskip("torch", reason="the converter's half is not installed")
    for words in (
        ("profile", str(tiny_bundle), str(tiny_video)),
        ("evaluate", str(tiny_bundle), str(tiny_video), "--truth", truth),
        ("compare", str(tiny_bundle), str(tiny_video)),
        ("motion", str(tiny_video)),
    ):
        for place in (absent, str(tiny_video)):
            done = CliRunner().invoke(app, [*words, "--html", place])
            assert done.exit_code == 1 and done.stderr.startswith("error: "), done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_names_of_strangers_do_nothing_in_a_page() -> None:
    evil = "<script>alert(1)</script>\"'&\x1b[31m\u202e"
    page = Page(evil)
    page.section(evil, evil)
    page.table((evil, "n"), [(evil, 1.5)])
    page.bars({evil: 3.0}, evil)
    page.lines({evil: [1.0, None, 2.0]}, evil, evil)
    page.distribution({evil: [1.0, 2.0]}, evil)
    page.pictures([(np.zeros((4, 4, 3), np.uint8), evil)])
    found = Read(page.text())
    assert not found.open and found.count("script") == 0
    assert "\x1b" not in page.text() and "\u202e" not in page.text()
    assert found.text.count("<script>alert(1)</script>") >= 6


@pytest.mark.parametrize("values", [[], [None], [0.0], [float("nan"), 1.0], [1.0] * 10_000])
def test_plots_of_little_or_much(values: list[float | None]) -> None:
    page = Page("x")
    page.lines({"a": values}, "ms", "frame")
    page.lines({"a": values, "b": values[:1]}, "ms", "frame", stacked=True)
    page.bars({"a": values[0] if values else None}, "ms")
    page.distribution({"a": [value for value in values if value is not None]}, "ms")
    text = page.text()
    assert "nan" not in text and "inf" not in text and len(text) < 300_000
    assert not Read(text).open
