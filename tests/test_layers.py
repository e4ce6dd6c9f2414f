import ast
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import edge_vss

PACKAGE = Path(edge_vss.__file__).parent
HALVES = {
    name: Path(importlib.import_module(f"edge_vss.{name}").__path__[0]) for name in ("converters", "runtimes")
}
FLOORS = (
    ("text",),
    ("errors", "report", "extras", "confidence", "chunks"),
    ("values",),
    (
        *(
            "motion_field",
            "video",
            "orientation",
            "decisions",
            "classes",
            "metrics",
            "files",
            "claim",
            "plugins",
            "vendors",
        ),
        *("one_process", "processor"),
    ),
    ("bundle",),
    ("runtimes.tracing", "runtimes.engines"),
    ("runtimes.motion",),
    ("runtimes.sources",),
    ("runtimes.sinks", "runtimes.drawing"),
    ("runtimes",),
    ("runtimes.tools", "runtimes.archive"),
    ("runtimes.web",),
    (
        "converters.conversion",
        "converters.values",
        "converters.silence",
        "converters.inputs",
        "converters.cost",
    ),
    ("converters.ops",),
    ("converters.networks",),
    ("converters.readers", "converters.targets", "converters.families", "converters.quantizers"),
    ("converters",),
    ("demo",),
    ("cli",),
)
"""Lowest first. A module belongs to the longest name that it begins with, and imports from its own floor or
from lower ones. ``runtimes`` is the loop, ``converters`` what joins a conversion's steps."""


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
    names = ("av", "cv2", "numpy", "torch", "onnx", "onnxruntime", "rich", "edge_vss.runtimes")
    # Older versions of Typer import rich themselves.
    assert loaded(code, *names) == loaded("import typer", *names)


def test_everything_exported_is_there_and_listed_in_order() -> None:
    assert list(edge_vss.__all__) == sorted(edge_vss.__all__)
    for name in edge_vss.__all__:
        if name != "convert" or find_spec("torch") is not None:
            assert getattr(edge_vss, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edge_vss.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_public_api_of_an_app_needs_no_framework() -> None:
    code = "import edge_vss\nfor name in edge_vss.__all__:\n    if name != 'convert': getattr(edge_vss, name)"
    assert loaded(code, "torch", "onnx", "onnxruntime", "typer") == []


def test_no_file_makes_a_second_copy_of_a_half() -> None:
    folders = [PACKAGE, *HALVES.values(), Path(__file__).parent]
    for folder in folders:
        for path in modules(folder):
            bare = {name for name in imported(path) if name.partition(".")[0] in HALVES}
            assert not bare, f"{path} imports {bare}"


def graph() -> dict[str, set[str]]:
    """Module of the package → the modules of the package that it imports anywhere."""
    files = {}
    for folder, prefix in ((PACKAGE, "edge_vss"), *((HALVES[h], f"edge_vss.{h}") for h in HALVES)):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if prefix != "edge_vss" or parts[0] not in HALVES:
                files[".".join((prefix, *parts)).removesuffix(".__init__")] = path
    found = {}
    for name, path in files.items():
        said = imported(path) & files.keys()
        # ``from a.b import c`` names a.b as well, which is only meant where c is no module.
        outer = {item.rpartition(".")[0] for item in said}
        direct = {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            and node.module in files
            and any(f"{node.module}.{alias.name}" not in files for alias in node.names)
        }
        found[name] = {item for item in said if item not in outer or item in direct} - {name}
    return found


def floor(module: str) -> int:
    """The number of a module's floor."""
    inner = module.removeprefix("edge_vss").lstrip(".")
    fitting = [
        (len(name), number)
        for number, names in enumerate(FLOORS)
        for name in names
        if inner == name or inner.startswith(f"{name}.")
    ]
    return max(fitting)[1] if fitting else len(FLOORS)


def test_modules_import_only_downward() -> None:
    # The package itself is the public interface: it names modules of the runtimes, and loads them when asked.
    found = graph()
    assert len(found) > 100
    upward = [
        f"{module} imports {other}"
        for module, others in found.items()
        for other in others
        if floor(other) > floor(module) and "edge_vss" not in (module, other)
    ]
    assert not upward


def test_no_module_imports_itself_by_a_detour() -> None:
    waiting = {module: set(others) for module, others in graph().items()}
    while ready := [module for module, others in waiting.items() if not others & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert not waiting, "these import each other in a circle, or import what does"


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
    files = [path for path in files if not path.is_relative_to(PACKAGE / "demo")]
    assert {"manifest.py", "run.py", "metrics.py"} <= {path.name for path in files}
    for path in files:
        assert not imported_at_once(path) & {"cv2", "av"}, path
    drawn = {name for path in modules(PACKAGE / "demo") for name in imported_at_once(path)}
    assert {"cv2", "av"} <= drawn, "the search finds nothing where there is something to find"
