"""Builds the wheel, installs it into a fresh environment outside the tree, checks what is in it, tests that.

    python tests/wheel.py [TEST FILE ...]

The environment sees the packages of the one that runs this script, but not its editable install: what the
wheel lacks is missing there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"edge_vss": "edge_vss", "converters": "edge_vss/converters", "runtimes": "edge_vss/runtimes"}
WEIGHTS = ("streetnet.pt", "arseg_high.pth", "arseg_low.pth")
DATA = ("edge_vss/py.typed", *(f"edge_vss/demo/weights/{name}" for name in WEIGHTS))


SLOW = (
    "test_arseg.py",
    "test_arseg_trained.py",
    "test_engines.py",
    "test_readers_artifacts.py",
    "test_quantize.py",
    "test_compare.py",
    "test_goldens.py",
    "test_local_attention.py",
    "test_convert.py",
    "test_models.py",
    "test_sample.py",
    "test_streetnet.py",
    "test_lmanet.py",
    "test_lmanet_networks.py",
    "test_mit.py",
    "test_swin.py",
    "test_tv3s.py",
    "test_tv3s_network.py",
)
"""Half of the time, and nothing that packaging could break: the demo converts from the wheel as well."""


def main(chosen: list[str]) -> None:
    """Run all steps; any failure ends the script with a status other than 0."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-vss-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        check(wheel)
        python = install(wheel, folder / "env")
        print(
            f"wheel: {wheel.name} holds every module; installed after {time.monotonic() - begun:.0f} s",
            flush=True,
        )
        run_tests(python, folder / "outside", chosen)
    print(f"wheel: tests passed against the installed wheel; {time.monotonic() - begun:.0f} s in all")


def build(folder: Path) -> Path:
    """The wheel, built from a copy: setuptools packs whatever an earlier build left in ``build/``."""
    tree = folder / "tree"
    unwanted = shutil.ignore_patterns(
        ".*", "build", "dist", "out", "demo", "*.egg-info", "__pycache__", "*.vss"
    )
    shutil.copytree(ROOT, tree, symlinks=True, ignore=unwanted)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder / "dist"),
    ]
    if importlib.util.find_spec("setuptools") and int(version("setuptools").split(".")[0]) >= 77:
        command.append("--no-build-isolation")
    subprocess.run([*command, str(tree)], check=True)
    (wheel,) = (folder / "dist").glob("edge_vss-*.whl")
    return wheel


def check(wheel: Path) -> None:
    """Every module is in the wheel under its installed name, nothing lands beside ``edge_vss``."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    expected = {
        f"{installed}/{path.relative_to(ROOT / source).as_posix()}"
        for source, installed in FOLDERS.items()
        for path in (ROOT / source).rglob("*.py")
        if not {"converters", "runtimes"} & set(path.relative_to(ROOT / source).parts)
    }
    if missing := sorted((expected | set(DATA)) - packed):
        sys.exit(f"missing from {wheel.name}: {', '.join(missing)}")
    tops = {name.partition("/")[0] for name in packed}
    if strangers := {top for top in tops if top != "edge_vss" and not top.endswith(".dist-info")}:
        sys.exit(f"{wheel.name} puts more than edge_vss into site-packages: {', '.join(sorted(strangers))}")


def install(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment with the wheel in it, and beside it all that is installed here."""
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(
        subprocess.run([python, "-c", query], check=True, capture_output=True, text=True).stdout.strip()
    )
    # A folder named in a .pth file is searched, but the .pth files in it (the editable install) are not read.
    (site / "beside.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n"
    )
    return python


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
    files = [f"tests/{name}" for name in chosen] or ["tests", *(f"--ignore=tests/{name}" for name in SLOW)]
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
        *files,
    ]
    if status := subprocess.run(command, cwd=folder, env=environment).returncode:
        sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
