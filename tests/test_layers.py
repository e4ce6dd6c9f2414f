import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import edge_vss

PACKAGE = Path(edge_vss.__file__).parent
HALVES = {
    name: Path(importlib.import_module(f"edge_vss.{name}").__path__[0]) for name in ("converters", "runtimes")
}
FLOORS = ("errors", "video", "bundle", "plugins", "metrics", "profile", "runtimes", "converters", "cli")
"""Lowest first: a module imports only downward; the first six know neither half."""


def loaded(code: str, *names: str) -> list[str]:
    """Which of the modules are loaded in a fresh interpreter after running some code."""
    script = f"{code}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def modules(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if not path.is_relative_to(folder / "converters")]


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_the_runtime_leaves_frameworks_out() -> None:
    files = [path.relative_to(HALVES["runtimes"]).with_suffix("") for path in modules(HALVES["runtimes"])]
    names = ["edge_vss.runtimes." + ".".join(file.parts).removesuffix(".__init__") for file in files]
    code = "\n".join(f"import {name}" for name in names if not name.endswith("__init__"))
    forbidden = (
        "torch",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "openvino",
        "typer",
        "rich",
        "edge_vss.converters",
    )
    assert len(names) > 5
    assert loaded(code, *forbidden) == []


def test_importing_the_package_opens_no_decoder() -> None:
    assert loaded("import edge_vss", "av", "cv2", "torch", "onnx", "typer", "edge_vss.runtimes") == []


def test_the_program_takes_care_of_ctrl_c_before_it_imports_anything_slow() -> None:
    assert loaded("from edge_vss.__main__ import main", "numpy", "typer", "edge_vss.cli") == []


def test_help_opens_no_decoder_and_no_framework() -> None:
    code = (
        "import sys; sys.argv = ['edge-vss', '--help']\nfrom edge_vss.cli import main\n"
        "try: main()\nexcept SystemExit as done: assert not done.code"
    )
    assert loaded(code, "av", "cv2", "torch", "onnx", "onnxruntime", "rich", "edge_vss.runtimes") == []


def test_everything_exported_is_there_and_listed_in_order() -> None:
    assert list(edge_vss.__all__) == sorted(edge_vss.__all__)
    for name in edge_vss.__all__:
        assert getattr(edge_vss, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edge_vss.nothing  # noqa: B018


def test_the_public_api_of_an_app_needs_no_framework() -> None:
    code = "import edge_vss\nfor name in edge_vss.__all__: getattr(edge_vss, name)"
    assert loaded(code, "torch", "onnx", "onnxruntime", "typer") == []


def test_no_file_makes_a_second_copy_of_a_half() -> None:
    folders = [PACKAGE, *HALVES.values(), Path(__file__).parent]
    for folder in folders:
        for path in modules(folder):
            bare = {name for name in imported(path) if name.partition(".")[0] in HALVES}
            assert not bare, f"{path} imports {bare}"


def test_modules_import_only_downward() -> None:
    for floor, name in enumerate(FLOORS[:6]):
        above = {f"edge_vss.{other}" for other in FLOORS[floor + 1 :]}
        if name in ("bundle", "plugins", "metrics", "profile"):
            above = {f"edge_vss.{other}" for other in FLOORS[6:]}
        found = {".".join(item.split(".")[:2]) for item in imported(PACKAGE / f"{name}.py")}
        assert not found & above, f"edge_vss/{name}.py imports {found & above}"
    for path in modules(HALVES["runtimes"]):
        high = {item for item in imported(path) if item.startswith(("edge_vss.converters", "edge_vss.cli"))}
        assert not high, f"{path} imports {high}"
    for path in modules(HALVES["converters"]):
        high = {item for item in imported(path) if item.startswith(("edge_vss.cli", "edge_vss.commands"))}
        assert not high, f"{path} imports {high}"


def test_torch_is_named_under_converters_only() -> None:
    for folder in (PACKAGE, HALVES["runtimes"]):
        for path in modules(folder):
            if path.is_relative_to(HALVES["converters"]):
                continue
            assert not {item for item in imported(path) if item.partition(".")[0] == "torch"}, path


@pytest.mark.parametrize(
    ("use", "what"),
    [
        ("from edge_vss import load", "edge_vss.load"),
        ("edge_vss.load('street.vss')", "edge_vss.load"),
        ("edge_vss.Session", "edge_vss.Session"),
        ("edge_vss.open_source('drive.mp4')", "the motion 'auto'"),
        ("edge_vss.open_source([], motion='none')", "the source 'frames'"),
    ],
)
def test_an_app_without_opencv_is_told_what_to_install(use: str, what: str) -> None:
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    code = (
        "import sys; sys.modules['cv2'] = None\nimport edge_vss\n"
        f"try: {use}\nexcept edge_vss.MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f'{what} needs opencv-python-headless, which is not installed: pip install "edge-vss[onnxruntime]"\n'
    )


def imported_at_once(path: Path) -> set[str]:
    """The top-level names of what a file imports as soon as it is imported itself."""
    names, waiting = set(), list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return names


def test_the_contract_opens_no_decoder() -> None:
    files = [path for path in modules(PACKAGE) if not path.is_relative_to(PACKAGE / "runtimes")]
    files = [path for path in files if not path.is_relative_to(PACKAGE / "sample")]
    assert {"bundle.py", "commands.py", "metrics.py"} <= {path.name for path in files}
    for path in files:
        assert not imported_at_once(path) & {"cv2", "av"}, path
    sample = {name for path in modules(PACKAGE / "sample") for name in imported_at_once(path)}
    assert {"cv2", "av"} <= sample, "the search finds nothing where there is something to find"
