"""The page in a real browser, wide and narrow: sliders are moved, buttons pressed, pixels read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vss.runtimes.web.stream import Stream
from tests.helpers import toys
from tests.helpers.page import LONG, NEEDS_WEB, TOKEN, Client, answering, browser, until
from tests.helpers.videos import encode

pytestmark = [
    NEEDS_WEB,
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(browser() is None, reason="Chromium is not installed: apt install chromium"),
]
SCREENS = {"wide": (1400, 900), "narrow": (390, 844)}
READ = """
canvas => {
  const { width, height } = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  const at = (x, y) => Array.from(data.slice(4 * (y * width + x), 4 * (y * width + x) + 3));
  return [at(width / 4 | 0, height / 2 | 0), at(3 * width / 4 | 0, height / 2 | 0)];
}
"""
"""The pixels in the middle of the left half and of the right half."""


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still video: dark on the left, which the toy calls class 0, light on the right, class 1."""
    image = np.full((96, 128, 3), 40, np.uint8)
    image[:, 64:] = 220
    return encode(tmp_path_factory.mktemp("halves") / "halves.mp4", [image] * 30)


@pytest.fixture(scope="module")
def client(halves: Path, p_only: Path) -> Iterator[Client]:
    streams = [
        Stream(str(path), toys.segmenter((96, 128), (24, 32)), name=path.stem) for path in (halves, p_only)
    ]
    with answering(streams) as found:
        until(lambda: found.ask("/health").status == 200)
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox does not run for root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser(), args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module", params=SCREENS)
def page(request: pytest.FixtureRequest, chromium: Any, client: Client) -> Iterator[Any]:
    """The page, opened as a person does, and whatever went wrong in it."""
    width, height = SCREENS[request.param]
    found = chromium.new_page(viewport={"width": width, "height": height})
    found.set_default_timeout(LONG * 1000)
    problems: list[str] = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    asked: list[str] = []
    found.on("request", lambda one: asked.append(one.url))
    found.goto(f"http://127.0.0.1:{client.port}/?token={TOKEN}")
    found.locator(".badge:not([hidden])").nth(1).wait_for()
    yield found
    found.close()
    assert not problems
    # The first address holds the token, as it was printed; no other does, and none leads elsewhere.
    assert not any(TOKEN in url for url in asked[1:])
    assert all(url.startswith((f"http://127.0.0.1:{client.port}/", "blob:", "data:")) for url in asked)


def pixels(page: Any, wanted: Any) -> None:
    """Wait until the left and the right half of the first picture are of these colours, nearly."""
    canvas = page.locator(".view canvas").first

    def near() -> bool:
        found = np.array(canvas.evaluate(READ))
        return bool(np.abs(found - np.array(wanted)).max() <= 12)

    until(near, 20.0)


DARK, LIGHT = (40, 40, 40), (220, 220, 220)
FIRST, SECOND = (0, 0, 128), (255, 200, 0)


def mixed(picture: tuple[int, ...], colour: tuple[int, ...], share: float = 0.5) -> list[float]:
    return [(1 - share) * p + share * c for p, c in zip(picture, colour, strict=True)]


def test_the_labels_are_over_the_picture_and_the_slider_moves_them(page: Any) -> None:
    slider = page.locator("input[type=range]").first
    assert slider.input_value() == "50"
    pixels(page, [mixed(DARK, FIRST), mixed(LIGHT, SECOND)])
    slider.fill("0")
    pixels(page, [DARK, LIGHT])
    slider.fill("100")
    pixels(page, [FIRST, SECOND])
    slider.focus()
    page.keyboard.press("Home")
    pixels(page, [DARK, LIGHT])


def test_classes_are_switched_off_and_on(page: Any) -> None:
    page.locator("input[type=range]").first.fill("100")
    light = page.get_by_role("button", name="light").first
    light.click()
    pixels(page, [FIRST, LIGHT])
    assert light.get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="dark").first.click()
    pixels(page, [DARK, LIGHT])
    light.click()
    pixels(page, [DARK, SECOND])
    page.get_by_role("button", name="dark").first.click()
    pixels(page, [FIRST, SECOND])


def test_figures_and_chart_are_there_and_nothing_is_wider_than_the_screen(page: Any) -> None:
    page.get_by_text("frames per second").first.wait_for()
    page.locator("figcaption").first.get_by_text("decode").wait_for()
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]
    sections = page.locator("section")
    assert sections.count() == 2
    boxes = [sections.nth(number).bounding_box() for number in range(2)]
    beside = boxes[0]["y"] == boxes[1]["y"]
    assert beside is (wide[1] > 1000)
    for button in page.get_by_role("button").all():
        assert button.bounding_box()["height"] >= 30
    drawn = page.locator("figure canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value > 0)"
    )
    assert drawn
    assert page.url.endswith("/")


def test_key_frames_are_marked(page: Any) -> None:
    page.locator(".view.key").first.wait_for()
    page.locator(".badge", has_text="KEY interval 5").first.wait_for()
    page.locator(".badge", has_text="+").first.wait_for()


def test_a_frame_is_saved_with_its_label_map(page: Any, tmp_path: Path) -> None:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save frame").first.click()
    place = tmp_path / "frame.zip"
    waiting.value.save_as(place)
    assert waiting.value.suggested_filename.startswith("camera0-")
    with zipfile.ZipFile(place) as archive:
        assert {Path(name).name for name in archive.namelist()} == {"picture.png", "labels.png", "frame.json"}


def test_a_server_that_goes_is_told_and_one_without_a_token_shows_nothing(
    chromium: Any, halves: Path
) -> None:
    stream = Stream(str(halves), toys.segmenter((96, 128), (24, 32)))
    page = chromium.new_page()
    with answering([stream]) as found:
        page.goto(f"http://127.0.0.1:{found.port}/")
        assert "token" in page.locator("body").inner_text()
        page.goto(f"http://127.0.0.1:{found.port}/?token={TOKEN}")
        page.locator(".badge:not([hidden])").wait_for()
    page.get_by_text("The server does not answer.").wait_for()
    page.close()
