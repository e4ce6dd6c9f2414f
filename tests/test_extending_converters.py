"""A family, a reader and a target, each added by one new file, as another package would."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_vss import bundle, plugins
from edge_vss.cli import app
from edge_vss.converters.conversion import Conversion
from edge_vss.converters.convert import convert
from edge_vss.converters.families import FAMILIES
from edge_vss.converters.readers import READERS
from edge_vss.converters.readers._recognise import reader_of
from edge_vss.converters.verify import verify
from edge_vss.errors import ModelError, OptionError
from tests.helpers.cli import CliRunner
from tests.helpers.conversion import SIZE, factory_file, save_exported, save_state_dict, trained

READER = '''
"""Networks in a folder: weights.npz, and a file that says what they are of."""

import json
from pathlib import Path

import numpy as np
import torch

from edge_vss.converters.readers import ReaderDescription, ReadModel
from edge_vss.errors import ModelError
from tests.helpers.conversion import Net

DESCRIPTION = ReaderDescription(
    "numpy folder", lambda head: head.is_folder and "weights.npz" in head.names, ends=("/",)
)


def read(path, conversion):
    net = Net()
    with np.load(path / "weights.npz") as found:
        net.load_state_dict({name: torch.from_numpy(found[name]) for name in found})
    size = conversion.size or tuple(json.loads((path / "size.json").read_text()))
    return ReadModel(net, DESCRIPTION.title, size)
'''

FAMILY = '''
"""Every frame is a key frame, of a picture that may be made darker first."""

from dataclasses import replace
from pathlib import Path

from edge_vss.converters.families import FamilyDescription, FamilyOption, propagate
from edge_vss.errors import OptionError

DESCRIPTION = FamilyDescription(
    "every frame by itself",
    (
        FamilyOption("dim", float, "How dark the pictures are made.", "SHARE"),
        FamilyOption("upside_down", bool, "Whether pictures are turned.", flag="--upside-down"),
        FamilyOption("curve", Path, "A second file.", "FILE"),
    ),
)


def split(conversion):
    dim = conversion.option("dim", float) or 1.0
    if dim <= 0:
        raise OptionError(f"--dim {dim:g}: give a share above 0")
    made = propagate.split(replace(conversion, scale=dim / 255, options={}))
    turned = bool(conversion.option("upside_down", bool))
    return replace(made, options={"dim": dim, "upside_down": turned})
'''

TARGET = '''
"""ONNX by another name."""

from edge_vss.converters.targets import TargetDescription
from edge_vss.converters.targets import onnx

DESCRIPTION = TargetDescription("ONNX again", modules=("onnx",), extra="convert")


def export(parts, folder, metadata):
    (folder / "written_by_mine").touch()
    return onnx.export(parts, folder, metadata)
'''

ENGINE = '''
"""What runs such graphs."""

from dataclasses import replace

from edge_vss.runtimes.engines import onnxruntime

DESCRIPTION = replace(onnxruntime.DESCRIPTION, targets=("mine",))
load = onnxruntime.load
'''


PLUGINS = {"reader": READER, "family": FAMILY, "target": TARGET, "engine": ENGINE}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another package's plugins, each one file, found by its entry point."""
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    (tmp_path / "package").mkdir()
    found = {}
    for kind, text in PLUGINS.items():
        name = f"edge_vss_test_{kind}"
        (tmp_path / "package" / f"{name}.py").write_text(text)
        found[f"edge_vss.{kind}"] = [EntryPoint("mine", name, f"edge_vss.{kind}")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found.get(group, []))
    yield
    for kind in PLUGINS:
        sys.modules.pop(f"edge_vss_test_{kind}", None)


def test_a_reader_is_one_file(mine: None, tmp_path: Path) -> None:
    folder = tmp_path / "network"
    folder.mkdir()
    with pytest.raises(ModelError, match="is a folder that no reader knows"):
        convert(Conversion(folder, classes=3), tmp_path / "a.vss")
    np.savez(folder / "weights.npz", **{k: v.numpy() for k, v in trained().state_dict().items()})
    (folder / "size.json").write_text(json.dumps(SIZE))
    assert reader_of(folder).name == "mine" and "mine" in READERS.names()
    manifest = convert(Conversion(folder, classes=3), tmp_path / "a.vss")
    assert manifest.options["model"]["kind"] == "numpy folder" and manifest.frame_size == SIZE
    assert verify(tmp_path / "a.vss", Conversion(folder)).measured is True
    (folder / "size.json").write_text("[48, 64] ")
    with pytest.raises(ModelError, match="is not the file this bundle was made from"):
        verify(tmp_path / "a.vss", Conversion(folder))


def test_a_file_that_two_readers_recognise_is_the_built_in_ones(mine: None, tmp_path: Path) -> None:
    assert reader_of(save_exported(tmp_path)).name == "exported"


def test_a_family_is_one_file_with_its_options_on_the_command_line(mine: None, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["convert", "--family", "mine", "--help"])
    assert shown.exit_code == 0
    for text in ("--dim SHARE", "How dark the pictures are made.", "--upside-down", "--curve FILE"):
        assert text in shown.output, shown.output
    assert "--carry" not in shown.output and "--variant" not in shown.output
    out = tmp_path / "a.vss"
    model = str(save_exported(tmp_path))
    common = ["convert", model, "-o", str(out), "--classes", "3", "--family=mine"]
    done = CliRunner().invoke(app, [*common, "--dim", "0.5", "--upside-down"])
    assert done.exit_code == 0, done.output
    found = bundle.read(out)
    assert found.options["dim"] == 0.5 and found.options["upside_down"] is True
    assert found.options["model"]["preprocess"]["scale"] == pytest.approx(0.5 / 255)
    for arguments, status, text in (
        (["--dim", "much"], 2, "Invalid value for '--dim'"),
        (["--dim", "-1", "--force"], 1, "error: --dim -1: give a share above 0"),
        (["--carry", "labels"], 2, "No such option: --carry"),
    ):
        wrong = CliRunner().invoke(app, [*common, *arguments])
        assert wrong.exit_code == status and text in wrong.output, wrong.output


def test_options_are_checked_against_what_the_family_declares(mine: None, tmp_path: Path) -> None:
    model = save_exported(tmp_path)
    for options, message in (
        ({"carry": "labels"}, "family mine has no option 'carry': it knows dim, upside_down, curve"),
        ({"dim": "half"}, "--dim 'half': give a value of type float"),
        ({"upside_down": 1}, "--upside-down 1: give a value of type bool"),
    ):
        with pytest.raises(OptionError) as caught:
            convert(Conversion(model, classes=3, family="mine", options=options), tmp_path / "a.vss")
        assert str(caught.value) == message


def test_a_target_is_one_file(mine: None, tmp_path: Path) -> None:
    conversion = Conversion(save_exported(tmp_path), classes=3, target="mine")
    manifest = convert(conversion, tmp_path / "a.vss")
    assert manifest.target == "mine" and manifest.parity["rollout"]["labels_equal"] > 0.999
    assert (tmp_path / "a.vss" / "written_by_mine").exists()
    assert verify(tmp_path / "a.vss", conversion).graphs == {"key": "ok", "state": "ok"}


def test_a_description_of_another_kind_is_refused(mine: None, tmp_path: Path) -> None:
    (tmp_path / "package" / "edge_vss_test_family.py").write_text("DESCRIPTION = 1\ndef split(): ...\n")
    with pytest.raises(OptionError, match=r"has to be a module with a function split and a DESCRIPTION"):
        FAMILIES.find("mine")


# --- the process stays as it is


def test_a_conversion_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    import os
    import warnings

    def state() -> tuple[object, ...]:
        names = ("torch", "onnxscript", "nncf", "absl")
        levels = [logging.getLogger(name).level for name in names]
        shown = list(warnings.filters)
        descriptors = [os.fstat(number).st_ino for number in (1, 2)]
        return (
            dict(os.environ),
            levels,
            logging.root.filters[:],
            logging.root.manager.disable,
            shown,
            descriptors,
        )

    conversion = Conversion(save_state_dict(tmp_path), classes=3, size=SIZE, factory=factory_file(tmp_path))
    before = state()
    convert(conversion, tmp_path / "a.vss")
    assert state() == before


def test_while_it_works_only_the_libraries_loggers_are_quieter() -> None:
    from edge_vss.converters.silence import quiet

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.root.addHandler(handler)
    try:
        with quiet():
            logging.getLogger("torch.export").warning("theirs")
            logging.getLogger("my.app").warning("mine")
            logging.warning("of the program")
            torch.zeros(1)
        logging.getLogger("my.app").error("after")
    finally:
        logging.root.removeHandler(handler)
    assert said == ["mine", "of the program", "after"]


def test_a_plain_command_line_looks_up_no_family() -> None:
    code = (
        "import sys\nfrom typer.main import get_command\nfrom edge_vss.cli import app\n"
        "for verb in ('convert', 'compare', 'verify'):\n"
        "    command = get_command(app).commands[verb]\n"
        "    for args in (['a.vss', 'b.mp4', '--json', '-'], ['--help'], ['a.vss', '--debug']):\n"
        "        assert not command.declared(args), (verb, args)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
