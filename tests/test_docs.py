"""Every command line and every piece of Python in the README and in docs/ runs, with small stand-ins for the
files that they name.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import fields
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
import typer.main

import edge_vss
from edge_vss.cli import app
from edge_vss.cli._run_summary import RunSummary
from edge_vss.demo.show import DemoReport
from edge_vss.runtimes.archive.report import LabelReport
from edge_vss.runtimes.tools.benchmark import ProfileReport
from edge_vss.runtimes.tools.compare import CompareReport
from edge_vss.runtimes.tools.doctor import MachineReport
from edge_vss.runtimes.tools.evaluate import EvaluationReport
from edge_vss.runtimes.tools.ground_truth import read_labels
from edge_vss.runtimes.tools.self_check import CheckReport
from edge_vss.runtimes.tools.stream_report import StreamReport
from edge_vss.runtimes.web.server import Server
from tests.helpers import ways_in
from tests.helpers.cli import CliRunner
from tests.helpers.documents import PAGES, ROOT, Block, blocks
from tests.helpers.page import NEEDS_WEB
from tests.helpers.scene import CLASSES, COLOURS, HEIGHT, WIDTH, make_video, scene

SIZE = f"{HEIGHT}x{WIDTH}"
NAMED = [page.relative_to(ROOT).as_posix() for page in PAGES]
TARGETS = re.compile(r"^([\w-]+):", re.MULTILINE)
LEAST_COMMANDS = 30
FACTORY = """
from torch import nn

def build(classes):
    return nn.Conv2d(3, classes, 1)
"""


def at(page: Path, language: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == language]


NEEDED = {"label": "pyarrow", "serve": "starlette"}
"""Verb → the package of its extra. Without it, a command of that verb is only read."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the documents name: a model, a bundle, a video, its ground truth."""
    torch = pytest.importorskip("torch", reason="the converter's half is not installed")
    from edge_vss.classes import find
    from tests.helpers.bundles import Nearest
    from tests.helpers.conversion import save_script
    from tests.helpers.heads import ALPHA, AREA, CAR, LANE, Matting, TwoHeads, save_onnx

    folder = tmp_path_factory.mktemp("documents")
    (folder / "network.py").write_text(FACTORY)
    make_video(folder / "drive.mp4", ground_truth=folder / "ground_truth")
    for place in ("footage", "other"):
        (folder / place).mkdir()
        shutil.copy(folder / "drive.mp4", folder / place)
    (folder / "images").mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / "images" / f"{index}.png"), scene(index)[0][..., ::-1])
    # The three colours of the scene, and classes that nothing looks like.
    network = torch.nn.Conv2d(3, len(find("camvid")), 1)
    known = Nearest().layer.state_dict()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.fill_(0 if name == "weight" else -1e3)
            tensor[: len(CLASSES)] = known[name]
    save_script(folder, network.eval()).rename(folder / "model.pt")
    np.savez(folder / "colours.npz", colours=COLOURS)
    save_onnx(folder / "two.onnx", TwoHeads(), [AREA, LANE])
    save_onnx(folder / "matting.onnx", Matting(), [ALPHA])
    (folder / "areas.txt").write_text("\n".join(CLASSES))
    (folder / "lane_truth").mkdir()
    for path in (folder / "ground_truth").iterdir():
        cv2.imwrite(str(folder / "lane_truth" / path.name), (read_labels(path) == CAR).astype(np.uint8))
    converted(folder, "-o", "street.vss")
    shutil.copytree(folder / "street.vss", folder / "small.vss")
    two = ["convert", str(folder / "two.onnx"), "--output", AREA, "--output", LANE]
    assert CliRunner().invoke(app, [*two, "-o", str(folder / "drive.vss")]).exit_code == 0
    return folder


def converted(folder: Path, *arguments: str) -> None:
    done = CliRunner().invoke(
        app,
        [
            "convert",
            str(folder / "model.pt"),
            "--size",
            SIZE,
            "--classes",
            "camvid",
            *(str(folder / word) if word.endswith(".vss") else word for word in arguments),
        ],
    )
    assert done.exit_code == 0, done.stderr


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, to run one page in."""
    folder = tmp_path / "page"
    shutil.copytree(files, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("EDGE_VSS_ENGINE", raising=False)
    return folder


def run(words: list[str], made: set[str]) -> None:
    """A command of the documents, on stand-ins of a smaller size. ``made`` are the bundles that commands of
    the page before it have made."""
    small = [SIZE if re.fullmatch(r"\d+x\d+", word) else word for word in words]
    if small[0] == "convert" and "-o" in small and (place := small[small.index("-o") + 1]) not in made:
        # What stands in for it is for pages that do not make it.
        shutil.rmtree(place, ignore_errors=True)
        made.add(place)
    if (package := NEEDED.get(small[0])) and find_spec(package) is None:
        parse(small)
        return
    if small[0] == "serve":
        # As long as it takes to show something, at a port that is free here.
        small += ["--port", "0", "--seconds", "1"]
    done = CliRunner().invoke(app, small)
    assert done.exit_code == 0, f"edge-vss {' '.join(words)}\n{done.stderr}"


def parse(words: list[str]) -> None:
    """Read the options of a command and do nothing. Raises what click raises for bad usage."""
    program: Any = typer.main.get_command(app)
    program.commands[words[0]].make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("name", NAMED)
def test_every_command_of_a_page_runs(name: str, here: Path) -> None:
    page = ROOT / name
    ways_in.make(name, here)
    made = set[str]()
    for block in at(page, "sh"):
        for words in block.commands:
            if words[0] != "edge-vss" or name == "docs/extending.md":
                continue
            if block.parse_only:
                parse(words[1:])
            else:
                run(words[1:], made)


def test_what_the_documents_tell_to_run_besides_is_there() -> None:
    targets = set(TARGETS.findall((ROOT / "Makefile").read_text()))
    seen = 0
    for page in PAGES:
        for block in at(page, "sh"):
            for words in block.commands:
                seen += 1
                match words:
                    case ["make", target, *_]:
                        assert target in targets, (page, target)
                    case ["python", "-m", module, *_]:
                        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file(), (page, module)
                    case ["python", file, *_]:
                        assert (ROOT / file).is_file(), (page, file)
                    case ["edge-vss" | "pip", *_]:
                        pass
                    case _:
                        pytest.fail(f"{page}: nobody checks {' '.join(words)!r}")
    assert seen > LEAST_COMMANDS, "the search finds nothing where there is something to find"


@pytest.mark.parametrize("name", NAMED)
def test_files_and_commands_that_the_text_names_are_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert ((ROOT / name).parent / target).exists(), target
    for file in re.findall(r"`(?:python |pytest )?((?:tests|examples)/\w[\w/]*\.py)", text):
        assert (ROOT / file).exists(), file
    for module in re.findall(r"python -m (tests\.[\w.]+)", text):
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file(), module
    targets = set(TARGETS.findall((ROOT / "Makefile").read_text()))
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert target in targets, target


@pytest.mark.parametrize("name", [name for name in NAMED if at(ROOT / name, "python")])
def test_every_piece_of_python_runs(name: str, here: Path) -> None:
    for block in at(ROOT / name, "python"):
        if not block.title and not block.parse_only:
            exec(compile(block.text, name, "exec"), {"__name__": "document"})


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in contents, page


def test_every_public_name_is_on_the_page_of_the_interface() -> None:
    shown = re.findall(r"^::: edge_vss\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(name for name in edge_vss.__all__ if not name.startswith("__"))


def test_the_plugins_that_are_shown_work_as_another_package(here: Path) -> None:
    page = ROOT / "docs" / "extending.md"
    site = here / "site"
    (site / "my_plugins").mkdir(parents=True)
    (site / "my_plugins" / "__init__.py").touch()
    code = [block for block in at(page, "python") if block.title]
    assert len(code) == 8
    for block in code:
        assert len(block.text.splitlines()) <= 30, block.title
        (site / block.title).write_text(block.text)
    info = site / "my_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugins\nVersion: 1.0\n")
    (points,) = at(page, "toml")
    (info / "entry_points.txt").write_text(
        points.text.replace('[project.entry-points."', "[").replace('"]', "]").replace('"', "")
    )
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    (block,) = at(page, "sh")
    for words in block.commands:
        done = subprocess.run(
            [sys.executable, "-m", "edge_vss", *words[1:]], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        if words[1] == "compare":
            assert "plain" in done.stderr, "a third party's engine is compared as well"
    assert len((here / "shares.txt").read_text().splitlines()) == 6
    script = """
        from edge_vss.cli import app
        app(["doctor"])
    """
    doctor = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True
    )
    assert "plain" in doctor.stderr


@NEEDS_WEB
def test_the_way_from_a_model_to_a_live_page(here: Path) -> None:
    """The commands of docs/serve.md up to the page, which then shows frames with labels."""
    seen: list[bytes] = []

    def look(server: Server, seconds: float) -> None:
        with closing(HTTPConnection("127.0.0.1", server.lock.port, timeout=60)) as connection:
            headers = {"Authorization": f"Bearer {server.lock.token}"}
            connection.request("GET", "/api/streams/0/frame", headers=headers)
            seen.append(connection.getresponse().read())
        server.stop()

    commands = [words for block in at(ROOT / "docs" / "serve.md", "sh") for words in block.commands]
    way = commands[: [words[1] for words in commands].index("serve") + 1]
    assert [words[1] for words in way] == ["install", "convert", "serve"]
    made = set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "stop_after", lambda *given: Thread(target=look, args=given).start())
        for words in way[1:]:
            run(words[1:], made)
    assert b'"decode"' in seen[0] and b"PNG" in seen[0]


REPORTS = {
    "run": RunSummary,
    "evaluate": EvaluationReport,
    "label": LabelReport,
    "profile": ProfileReport,
    "motion": StreamReport,
    "compare": CompareReport,
    "verify": CheckReport,
    "doctor": MachineReport,
    "demo": DemoReport,
}


@pytest.mark.parametrize("command", REPORTS)
def test_the_keys_of_a_report_are_listed_in_order(command: str) -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", page, re.MULTILINE)
    keys = ", ".join(re.findall(r"`([^`]*)`", row))
    # What is inside of a key's value is listed in brackets, which may hold others.
    while (bare := re.sub(r"\{[^{}]*\}|\[[^\[\]{}]*\]", "", keys)) != keys:
        keys = bare
    listed = [key.strip() for key in keys.split(",")]
    assert listed == [field.name for field in fields(REPORTS[command])]
