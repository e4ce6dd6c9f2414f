import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import pytest

import edge_vss
from edge_vss.cli import app, terminal
from edge_vss.errors import SinkError
from edge_vss.runtimes.tools.ground_truth import GroundTruth
from tests.helpers.cli import CliRunner

COMMAND = [sys.executable, "-c", "from edge_vss.cli import main; main()"]
LISTENING = [
    sys.executable,
    "-c",
    # A shell starts what it puts into the background with SIGINT ignored, and that is handed down to here.
    "from signal import *; signal(SIGINT, default_int_handler); from edge_vss.cli import main; main()",
]
VERBS = ("convert", "inspect", "verify", "run", "profile", "evaluate", "motion", "doctor", "demo")


LONG = 600


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be interrupted."""
    from tests.helpers.scene import make_video

    return make_video(tmp_path_factory.mktemp("long") / "long.mp4", frames=LONG, size=(240, 320))


class Done:
    """What a command printed and how it ended."""

    def __init__(self, *arguments: object) -> None:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        self.status, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)

    def error(self, status: int = 1) -> str:
        """The one line that a failure prints."""
        assert self.status == status, self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in self.err and self.out == ""
        return line


def test_help_lists_every_verb_and_bad_usage_exits_2() -> None:
    shown = Done("--help")
    assert shown.status == 0 and all(verb in shown.out for verb in VERBS)
    assert Done("run").status == 2
    assert Done("inspect", "x.vss", "--nonsense").status == 2
    assert Done("nonsense").status == 2
    assert Done("--version").out == f"edge-vss {edge_vss.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    shown = Done(verb, "--help")
    assert shown.status == 0 and "--debug" in shown.out and "--json" in shown.out


@pytest.mark.parametrize(
    "option",
    [
        ("--size", "360"),
        ("--size", "0x3"),
        ("--size", "²x4"),
        ("--size", "99999999x4"),
        ("--mean", "1,2"),
        ("--std", "a,b,c"),
    ],
)
def test_options_that_cannot_be_read_are_bad_usage(tmp_path: Path, option: tuple[str, str]) -> None:
    done = Done("convert", "m.pt", "-o", tmp_path / "x.vss", "--classes", "3", *option)
    assert done.status == 2
    assert option[0] in done.err and repr(option[1]) in done.err
    assert not list(tmp_path.iterdir())


def test_inspect_says_what_is_inside(tiny_bundle: Path) -> None:
    found = Done("inspect", tiny_bundle, "--json", "-").json
    assert [graph["role"] for graph in found["graphs"]] == ["key", "state"]
    assert found["graphs"][0]["bytes"] == (tiny_bundle / found["graphs"][0]["file"]).stat().st_size
    assert found["classes"] == ["ground", "wall", "car"]
    gmac = {graph["role"]: graph["gmac"] for graph in found["graphs"]}
    average = found["gmac_per_frame"]
    assert average["key_share"] == 0.2
    assert average["gmac"] == pytest.approx(0.2 * gmac["key"] + 0.8 * gmac["state"])
    shown = Done("inspect", tiny_bundle, "--policy", "adaptive").err
    assert "key.onnx" in shown and "1x96x128x3" in shown and "depends on the video" in shown


def test_run_writes_all_its_sinks_and_says_how_many(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    out, labels, lines = tmp_path / "o.mp4", tmp_path / "labels", tmp_path / "o.jsonl"
    sinks = ("--out", out, "--save-labels", labels, "--jsonl", lines)
    done = Done("run", tiny_bundle, tiny_video, *sinks, "--policy", "interval:6", "--json", "-")
    assert done.json["frames"] == 24 and done.json["keyframes"] == 4
    assert f"24 label maps in {labels}" in done.err
    assert "24 frames; 16.7% key frames" in done.err
    assert len(GroundTruth(labels)) == 24 and (labels / "000023.png").exists()
    assert [json.loads(line)["frames_since_key"] for line in lines.read_text().splitlines()] == [
        i % 6 for i in range(24)
    ]
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


def test_run_can_stop_early_and_write_lines_to_standard_output(tiny_bundle: Path, tiny_video: Path) -> None:
    done = Done("run", tiny_bundle, tiny_video, "--limit", "3", "--jsonl", "-", "--motion", "flow")
    assert done.status == 0
    assert [json.loads(line)["index"] for line in done.out.splitlines()] == [0, 1, 2]
    assert Done("run", tiny_bundle, tiny_video, "--jsonl", "-", "--json", "-").status == 2


def test_evaluate_has_the_keys_that_other_programs_read(tiny_bundle: Path, tiny_video: Path) -> None:
    arguments = ("evaluate", tiny_bundle, tiny_video, "--truth", tiny_video.parent / "truth")
    found = Done(*arguments, "--json", "-").json
    keys = {"frames", "miou", "wiou", "mvc8", "mvc16", "iou", "miou_by_distance", "keyframes"}
    assert keys | {"gmac_per_frame", "seconds"} <= set(found)
    assert found["frames"] == 24 and found["keyframes"] == 5 and len(found["miou_by_distance"]) == 5
    assert found["miou"] > 90
    assert "car" in Done(*arguments).err


def test_profile_has_the_keys_that_other_programs_read(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    done = Done("profile", tiny_bundle, tiny_video, "--json", tmp_path / "profile.json")
    assert done.status == 0 and done.out == "" and "times as fast" in done.err
    found = json.loads((tmp_path / "profile.json").read_text())
    assert {"fps", "latency_ms", "stages", "key_share", "peak_rss_mb", "baseline", "speedup"} <= set(found)
    assert set(found["latency_ms"]) == {"p50", "p95", "p99"}
    assert {"decode", "motion", "key", "state", "nonkey", "post", "sink"} <= set(found["stages"])


def test_doctor_prints_a_table_and_json() -> None:
    done = Done("doctor", "--json", "-")
    assert done.json["video"]["pyav"] == av.__version__
    assert "onnxruntime" in done.err and "h264" in done.err


def test_verify_checks_a_bundle(tiny_bundle: Path) -> None:
    done = Done("verify", tiny_bundle, "--json", "-")
    assert done.status == 0, done.err
    assert done.json["hashes"] == "ok" and done.json["measured"] is False
    pytest.importorskip("torch", reason="the converter's half is not installed")
    again = Done("verify", tiny_bundle, tiny_bundle.parent / "tiny.pt2", "--json", "-")
    assert again.json["measured"] is True and again.json["parity"]["rollout"]["labels_equal"] > 0.999


def test_bad_input_gives_one_line_and_status_1(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    assert "notes.mp4" in Done("run", tiny_bundle, text).error()
    assert "absent.mp4" in Done("run", tiny_bundle, tmp_path / "absent.mp4").error()
    assert "absent.vss does not exist" in Done("run", tmp_path / "absent.vss", tiny_video).error()
    assert "policy" in Done("run", tiny_bundle, tiny_video, "--policy", "often").error()
    assert "motion" in Done("run", tiny_bundle, tiny_video, "--motion", "guess").error()
    assert "engine" in Done("run", tiny_bundle, tiny_video, "--engine", "steam").error()
    message = Done("run", tiny_bundle, tiny_video, "--out", tmp_path / "o.txt").error()
    assert "o.txt has no video type" in message and "mp4" in message
    few = tmp_path / "few"
    few.mkdir()
    (few / "car.png").write_bytes((tiny_video.parent / "truth" / "0.png").read_bytes())
    message = Done("evaluate", tiny_bundle, tiny_video, "--truth", few).error()
    assert "1 label maps" in message and "24 frames" in message
    assert "cannot write JSON" in Done("doctor", "--json", tmp_path / "absent" / "x.json").error()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_a_run_in_one_line_and_loses_nothing(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    done = Done("run", tiny_bundle, tiny_video, "--save-labels", tmp_path, "--jsonl", "/dev/full")
    message = done.error()
    assert "/dev/full" in message and "space" in message.lower()
    assert len(GroundTruth(tmp_path)) >= 1


def test_a_bundle_that_exists_is_not_replaced_without_force(tiny_bundle: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    before = (tiny_bundle / "manifest.json").read_bytes()
    done = Done(
        "convert", tiny_bundle.parent / "tiny.pt2", "-o", tiny_bundle, "--classes", "3", "--size", "96x128"
    )
    assert "--force" in done.error()
    assert (tiny_bundle / "manifest.json").read_bytes() == before


def test_what_nobody_expected_is_one_line_too_and_a_traceback_only_with_debug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("edge_vss.runtimes.tools.doctor.report", broken)
    assert Done("doctor").error() == (
        "error: unexpected ZeroDivisionError: division by zero; run again with --debug to see where"
    )
    result = CliRunner().invoke(app, ["doctor", "--debug"])
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 'pip install "edge-vss[convert]"'),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), 'pip install "edge-vss[onnxruntime]"'),
        (OSError(28, "No space left on device", "a.png"), "No space left on device: a.png; check the place"),
        (SinkError("cannot write x: full"), "cannot write x: full"),
    ],
)
def test_an_error_says_what_to_do(error: Exception, line: str) -> None:
    assert line in terminal.explain(error)


def test_numbers_in_a_table_have_the_digits_that_matter() -> None:
    cells = [0.00012345, 1.23456, 12.3456, 12345.6, 7, None, float("nan"), True, (1, 2)]
    assert [terminal.cell(value) for value in cells] == [
        *("0.000123", "1.23", "12.35", "12346", "7", "-", "-", "yes", "1, 2")
    ]


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("torch", ["convert", "tiny.pt2", "-o", "new.vss", "--classes", "3"], "convert"),
        ("torch", ["demo", "--out", "demo"], "convert"),
        ("onnxruntime", ["run", "tiny.vss", "tiny.mp4"], "onnxruntime"),
        ("cv2", ["run", "tiny.vss", "tiny.mp4"], "onnxruntime"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    tiny_bundle: Path, tmp_path: Path, package: str, arguments: list[str], extra: str
) -> None:
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    code = f"import sys; sys.modules[{package!r}] = None; from edge_vss.cli import main; main()"
    inside = [str(tiny_bundle.parent / name) if name.startswith("tiny") else name for name in arguments]
    done = subprocess.run([sys.executable, "-c", code, *inside], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and f'pip install "edge-vss[{extra}]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_cameras_have_numbers(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Path("/dev/video97").exists():
        pytest.skip("this machine has a camera 97")
    monkeypatch.chdir(tmp_path)
    commands: tuple[tuple[object, ...], ...] = (
        ("run", tiny_bundle, "97"),
        ("profile", tiny_bundle, "97"),
        ("evaluate", tiny_bundle, "97", "--truth", tiny_video.parent / "truth"),
        ("motion", "97"),
    )
    for command in commands:
        assert "video97" in Done(*command).error()
    (tmp_path / "97").write_text("a file goes first")
    for command in commands:
        assert "video97" not in Done(*command).error()


def test_a_reader_that_leaves_is_no_error(tiny_bundle: Path, tiny_video: Path) -> None:
    command = [*COMMAND, "run", str(tiny_bundle), str(tiny_video), "--jsonl", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == 141
    assert "rror" not in errors


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_files_that_play(
    tiny_bundle: Path, long_video: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    out, labels = tmp_path / "o.mp4", tmp_path / "labels"
    command = [
        *LISTENING,
        "run",
        str(tiny_bundle),
        str(long_video),
        "--out",
        str(out),
        "--save-labels",
        str(labels),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while len(list(labels.glob("*.png")) if labels.exists() else []) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
    written = len(GroundTruth(labels))
    assert 20 <= written < LONG
    assert "Traceback" not in errors
    assert f"{written} label maps in {labels}" in errors and f"interrupted after {written} frames" in errors
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == written


@pytest.mark.skipif(os.name == "nt", reason="opens a pseudo-terminal")
def test_a_person_who_watches_sees_progress(tiny_bundle: Path, long_video: Path, tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [
            *COMMAND,
            "run",
            str(tiny_bundle),
            str(long_video),
            "--limit",
            "300",
            "--save-labels",
            str(tmp_path / "labels"),
        ],
        stderr=secondary,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(secondary)
    shown = b""
    # Linux raises OSError when the other side is closed.
    with suppress(OSError):
        while more := os.read(primary, 4096):
            shown += more
    os.close(primary)
    assert process.wait() == 0 and process.communicate()[0] == b""
    assert b"/300" in shown and b" fps" in shown
    assert b"300 frames; 20.0% key frames" in shown
