"""Builds the sdist, from it the wheel, installs that outside the tree, tests what an installation can break.

    python tests/installed/wheel.py [TEST FILE ...]

The environment sees the packages of the one that runs this script, but not its editable install: what the
wheel lacks is missing there. A clone without links (Windows makes small text files of them) is installed and
tried as well.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.helpers.selection import INSTALLED  # noqa: E402

FOLDERS = {"edge_vss": "edge_vss", "converters": "edge_vss/converters", "runtimes": "edge_vss/runtimes"}
WEIGHTS = ("streetnet.pt", "arseg_high.pth", "arseg_low.pth")
DATA = ("edge_vss/py.typed", *(f"edge_vss/demo/weights/{name}" for name in WEIGHTS))
LINKS = ("converters", "runtimes")
BUILT = ("build", "dist", "out", "demo", "site")
"""Folders in the root that commands make."""
PLUGINS = """
import sys
import edge_vss
assert edge_vss.__file__.startswith(sys.argv[1]), edge_vss.__file__
from edge_vss.converters.families import FAMILIES
from edge_vss.converters.targets import TARGETS
from edge_vss.runtimes.engines import ENGINES
from edge_vss.runtimes.sources import SOURCES
for kind, wanted in ((FAMILIES, "propagate"), (TARGETS, "onnx"), (ENGINES, "numpy"), (SOURCES, "av")):
    assert wanted in kind.names(), (kind.name, kind.names())
    kind.find(wanted)
"""


def main(chosen: list[str]) -> None:
    """Run all steps; any failure ends the script with a status other than 0."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-vss-wheel-") as name:
        folder = Path(name)
        tree = copied(folder / "tree")
        sdist = build_sdist(tree, folder / "dist")
        check_sdist(sdist)
        wheel = build_wheel(sdist, folder / "dist")
        check_wheel(wheel)
        python = installed(folder / "env", str(wheel))
        print(
            f"wheel: {wheel.name}, built from the sdist, holds every module; installed after "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
        try_without_links(tree, folder / "plain")
        run_tests(python, folder / "outside", chosen)
    print(f"wheel: tests passed against the installed wheel; {time.monotonic() - begun:.0f} s in all")


def copied(folder: Path) -> Path:
    """The tree without what was built in it: setuptools packs whatever an earlier build left in `build/`."""
    anywhere = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "*.vss")

    def ignore(where: str, names: list[str]) -> set[str]:
        return {*anywhere(where, names), *(BUILT if Path(where) == ROOT else ())}

    shutil.copytree(ROOT, folder, symlinks=True, ignore=ignore)
    return folder


def build_sdist(tree: Path, to: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "build",
        "--sdist",
        "--outdir",
        str(to),
        *without_isolation("--no-isolation"),
    ]
    subprocess.run([*command, str(tree)], check=True, stdout=subprocess.DEVNULL)
    (sdist,) = to.glob("edge_vss-*.tar.gz")
    return sdist


def check_sdist(sdist: Path) -> None:
    """Files only: Windows unpacks no links. Test data that is not free stays out."""
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    if links := [member.name for member in members if not (member.isfile() or member.isdir())]:
        sys.exit(f"{sdist.name} holds links: {', '.join(links)}")
    if private := [member.name for member in members if "tests/data/" in member.name]:
        sys.exit(f"{sdist.name} holds data that is not free: {', '.join(private)}")


def build_wheel(sdist: Path, to: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(to)]
    subprocess.run([*command, *without_isolation("--no-build-isolation"), str(sdist)], check=True)
    (wheel,) = to.glob("edge_vss-*.whl")
    return wheel


def without_isolation(option: str) -> list[str]:
    """The option, where the setuptools that is here will do: it saves downloading it."""
    if importlib.util.find_spec("setuptools") and int(version("setuptools").split(".")[0]) >= 77:
        return [option]
    return []


def check_wheel(wheel: Path) -> None:
    """Every file is in the wheel under its installed name, nothing lands beside ``edge_vss``."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    expected = {
        f"{installed}/{path.relative_to(ROOT / source).as_posix()}"
        for source, installed in FOLDERS.items()
        for path in (ROOT / source).rglob("*")
        if path.is_file()
        and path.suffix != ".pyc"
        and not set(LINKS) & set(path.relative_to(ROOT / source).parts)
    }
    assert set(DATA) <= expected
    if missing := sorted(expected - packed):
        sys.exit(f"missing from {wheel.name}: {', '.join(missing)}")
    tops = {name.partition("/")[0] for name in packed}
    if strangers := {top for top in tops if top != "edge_vss" and not top.endswith(".dist-info")}:
        sys.exit(f"{wheel.name} puts more than edge_vss into site-packages: {', '.join(sorted(strangers))}")


def installed(folder: Path, *what: str, beside_first: bool = False) -> Path:
    """The Python of a new environment with ``what`` in it, and beside it all that is installed here but this
    tree."""
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # A wheel comes first: pip would find the editable install beside it, and leave it at that. An editable
    # install comes second: what builds it is beside it.
    if beside_first:
        put_beside(python)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    # pip would find this tree there, and install nothing.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*command, "--no-index", "--disable-pip-version-check", *what], check=True, env=clean)
    if not beside_first:
        put_beside(python)
    return python


def put_beside(python: Path) -> None:
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", query], check=True, capture_output=True, text=True)
    # A folder named in a .pth file is searched, but the .pth files in it (the editable install) are not read.
    (Path(done.stdout.strip()) / "beside.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n"
    )


def try_without_links(tree: Path, folder: Path) -> None:
    """What git makes of the links where a system has none, installed as a developer does it."""
    for name in LINKS:
        link = tree / "edge_vss" / name
        text = os.readlink(link)
        link.unlink()
        link.write_text(text)
    options = [*without_isolation("--no-build-isolation"), "--editable", str(tree)]
    python = installed(folder, *options, beside_first=True)
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for command in (
        [str(python), "-c", PLUGINS, str(tree)],
        [str(python.parent / "edge-vss"), "convert", "--help"],
    ):
        subprocess.run(command, cwd=folder, env=outside, check=True, stdout=subprocess.DEVNULL)
    print("wheel: a clone without links installs and finds its plugins", flush=True)


def run_tests(python: Path, folder: Path, chosen: list[str]) -> None:
    """The tests, copied to a folder that has no source code, run against the installed package."""
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    # Tests on real data are about the code, and the run in the tree has had them; here they cost time.
    environment.pop("EDGE_VSS_DATA", None)
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment.get('PATH', '')}"
    where = "import edge_vss, edge_vss.converters; print(edge_vss.__file__, edge_vss.converters.__file__)"
    found = subprocess.run(
        [python, "-c", where], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    for path in found.stdout.split():
        if not Path(path).is_relative_to(python.parent.parent):
            sys.exit(f"the test would use {path}, not the installed wheel")
    subprocess.run([python.parent / "edge-vss", "--version"], cwd=folder, env=environment, check=True)
    files = [f"tests/{name}" for name in chosen or INSTALLED]
    command = [
        str(python),
        "-m",
        "pytest",
        "--quiet",
        "-p",
        "no:cacheprovider",
        "-n",
        "2",
        "--dist",
        "loadfile",
    ]
    if status := subprocess.run([*command, *files], cwd=folder, env=environment).returncode:
        sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
