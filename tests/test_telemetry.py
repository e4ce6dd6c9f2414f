"""Nothing that edge-vss imports calls a host, or writes into the user's home."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import edge_vss
from edge_vss.vendors import without_telemetry
from tests.test_layers import HALVES, PACKAGE

REPORTING = {"openvino", "nncf"}

WATCHED = """
import socket, time, os, sys
def look(host, *rest, **more):
    print("asked for", host)
    raise OSError("blocked by the test")
socket.getaddrinfo = look
{code}
# The reports are sent by a thread.
for thread in __import__("threading").enumerate():
    if thread is not __import__("threading").current_thread() and not thread.daemon:
        thread.join(10)
time.sleep(0.5)
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
print("done")
"""


def environment(home: Path) -> dict[str, str]:
    """This one's, with another home, and without what tells OpenVINO or NNCF that this is a test."""
    hushing = ("CI", "NNCF_CI", "NNCF_DEV", "PYTEST_CURRENT_TEST")
    kept = {name: value for name, value in os.environ.items() if name not in hushing}
    paths = ":".join(path for path in sys.path if path)
    return {**kept, "HOME": str(home), "EDGE_VSS_CACHE": "", "PYTHONPATH": paths}


def said(code: str, home: Path) -> str:
    """What the code prints in a process of its own, whose home is empty, and stays so."""
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(code=code)],
        capture_output=True,
        text=True,
        env=environment(home),
    )
    assert done.returncode == 0, done.stderr
    left = [str(path.relative_to(home)) for path in home.rglob("*")]
    assert not [name for name in left if not name.startswith(".cache")], left
    return done.stdout


@pytest.fixture(autouse=True)
def reporting() -> None:
    if find_spec("openvino_telemetry") is None or find_spec("openvino") is None:
        pytest.skip("openvino_telemetry is not installed")


def test_openvino_itself_would_report(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = WATCHED.format(code="import openvino").replace("assert", "0 and")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(home))
    if "asked for" not in done.stdout:
        pytest.skip("this OpenVINO reports nothing, or was told so: the other tests show nothing then")


def test_an_engine_asks_no_host(tiny_bundle: Path, tmp_path: Path) -> None:
    code = f"""
import edge_vss as vss, numpy as np
from edge_vss.runtimes.engines import ENGINES
ENGINES.find("openvino").description.accelerators()
session = vss.load({str(tiny_bundle)!r}, engine="openvino").session()
with vss.open_source([np.zeros((96, 128, 3), np.uint8)]) as source:
    session.step(next(source))
"""
    assert said(code, tmp_path / "home") == "done\n"


def test_a_conversion_asks_no_host(tmp_path: Path) -> None:
    for module in ("torch", "onnxscript", "nncf"):
        pytest.importorskip(module, reason="the converter's half is not installed")
    code = f"""
from pathlib import Path
from tests.helpers.bundles import make_bundle
from tests.helpers.scene import make_video
video = make_video(Path({str(tmp_path / "v.mp4")!r}))
make_bundle(Path({str(tmp_path)!r}), target="openvino", precision="int8", calibrate=video)
"""
    told = said(code, tmp_path / "home")
    assert told.splitlines()[-1] == "done" and "asked for" not in told


def test_what_the_process_had_imported_is_as_it_was() -> None:
    import openvino_telemetry  # type: ignore[import-untyped]

    with without_telemetry(), pytest.raises(ImportError), without_telemetry():
        import openvino_telemetry as again  # noqa: F401
    assert sys.modules["openvino_telemetry"] is openvino_telemetry
    del sys.modules["openvino_telemetry"]
    try:
        with without_telemetry():
            pass
        assert "openvino_telemetry" not in sys.modules
    finally:
        sys.modules["openvino_telemetry"] = openvino_telemetry


def test_every_import_of_what_reports_is_inside() -> None:
    found = 0
    for folder in (PACKAGE, *HALVES.values()):
        for path in folder.rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            inside = {
                id(node)
                for block in ast.walk(tree)
                if isinstance(block, ast.With) and "without_telemetry()" in ast.unparse(block.items[0])
                for node in ast.walk(block)
            }
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if {name.partition(".")[0] for name in names} & REPORTING:
                    found += 1
                    assert id(node) in inside, f"{path}: {ast.unparse(node)}"
    assert found > 10 and edge_vss.__version__
