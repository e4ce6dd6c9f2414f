"""The command line and files: what must not be lost, and what is told of what was written or was missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import av
import pytest

from edge_vss.cli import terminal
from edge_vss.runtimes.sources import open_source
from tests.helpers.videos import P_ONLY, encode, texture
from tests.test_cli import COMMAND, LISTENING, Done
from tests.test_live import ENDLESS, free_port, sender

TELLING = """
import sys
from edge_vss.runtimes.tools.stream_report import Findings
add = Findings.add
def told(self, frame, stream):
    add(self, frame, stream)
    if self.frames == 10:
        print("ten frames", file=sys.stderr, flush=True)
Findings.add = told
"""
"""Says when enough was read to be interrupted."""


def test_the_source_is_never_written_over(tiny_bundle: Path, tiny_video: Path, tmp_path: Path) -> None:
    video = tmp_path / "drive.mp4"
    video.write_bytes(tiny_video.read_bytes())
    out = tmp_path / "o.mp4"
    truth = tiny_video.parent / "truth"
    for command in (
        ("run", tiny_bundle, video, "--save-labels", tmp_path / "labels", "--out", video),
        ("run", tiny_bundle, video, "--out", out, "--jsonl", video),
        ("run", tiny_bundle, video, "--out", out, "--json", video),
        ("profile", tiny_bundle, video, "--json", video),
        ("evaluate", tiny_bundle, video, "--truth", truth, "--json", video),
        ("motion", video, "--out", video),
        ("motion", video, "--out", out, "--json", video),
    ):
        assert "drive.mp4 is what the frames are read from" in Done(*command).error()
    one = tmp_path / "o.json"
    assert (
        "jsonl and json both go to" in Done("run", tiny_bundle, video, "--jsonl", one, "--json", one).error()
    )
    assert video.read_bytes() == tiny_video.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mp4"]


def test_motion_surveys_and_draws(tiny_video: Path, tmp_path: Path) -> None:
    arguments = ("--truth", tiny_video.parent / "truth", "--interval", "6", "--out", tmp_path / "vectors.mp4")
    done = Done("motion", tiny_video, *arguments, "--json", "-")
    assert {"codec", "frames", "picture_types", "coverage", "has_b_frames", "miou", "digest"} <= set(
        done.json
    )
    assert set(done.json["miou"]) == {"hold", "codec", "flow", "auto"}
    with av.open(str(tmp_path / "vectors.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


def test_motion_tells_what_it_found_before_it_draws(tiny_video: Path, tmp_path: Path) -> None:
    arguments = ("--limit", "9", "--truth", tiny_video.parent / "truth")
    done = Done("motion", tiny_video, *arguments, "--out", tmp_path / "vectors.mp4", "--json", "-")
    assert done.json["frames"] == 9 and set(done.json["miou"]) == {"hold", "codec", "flow", "auto"}
    with av.open(str(tmp_path / "vectors.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
    found, full = tmp_path / "found.json", tmp_path / "full.mp4"
    absent = tmp_path / "absent" / "v.mp4"
    assert "absent" in Done("motion", tiny_video, "--out", absent, "--json", found).error()
    assert not found.exists()
    full.symlink_to("/dev/full")
    assert "make room" in Done("motion", tiny_video, "--out", full, "--json", found).error()
    assert json.loads(found.read_text())["frames"] == 24


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_motion_on_a_live_stream_tells_what_it_found_when_interrupted() -> None:
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    with sender(f"{url}?pkt_size=1316", ENDLESS):
        limited = subprocess.run(
            [*COMMAND, "motion", url, "--limit", "20", "--json", "-"], capture_output=True, timeout=120
        )
        assert limited.returncode == 0 and json.loads(limited.stdout)["frames"] == 20
        command = [sys.executable, "-c", f"{TELLING}\n{LISTENING[-1]}", "motion", url, "--json", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None and process.stderr.readline() == "ten frames\n"
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    found = json.loads(out)
    assert found["frames"] >= 10 and found["codec"] == "h264" and found["advice"]
    assert f"interrupted after {found['frames']} frames" in errors and "Traceback" not in errors


def test_no_output_is_emptied_before_all_places_are_known_to_be_good(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    good, absent = tmp_path / "good.mp4", tmp_path / "absent" / "x"
    good.write_bytes(b"precious")
    for other in ("--jsonl", "--json"):
        message = Done("run", tiny_bundle, tiny_video, "--out", good, other, absent).error()
        assert "absent" in message and "No such file or directory" in message
    assert "absent" in Done("run", tiny_bundle, tiny_video, "--jsonl", good, "--json", absent).error()
    assert good.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["good.mp4"]


def test_json_that_cannot_be_written_is_told_before_the_work(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")

    def worked(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    for place in (
        "demo.show.demo",
        "runtimes.segmenter.load",
        "runtimes.tools.stream_report.report",
        "converters.convert.convert",
        "runtimes.tools.self_check.check",
    ):
        monkeypatch.setattr(f"edge_vss.{place}", worked)
    for command in (
        ("run", tiny_bundle, tiny_video),
        ("profile", tiny_bundle, tiny_video),
        ("evaluate", tiny_bundle, tiny_video, "--truth", tiny_video.parent / "truth"),
        ("motion", tiny_video),
        ("demo", "--out", tmp_path / "demo"),
        ("convert", tiny_bundle.parent / "tiny.pt2", "-o", tmp_path / "new.vss"),
        ("verify", tiny_bundle),
    ):
        message = Done(*command, "--json", tmp_path / "absent" / "x.json").error()
        assert "cannot write" in message and "x.json" in message and "choose" in message
    assert list(tmp_path.iterdir()) == []
    # A folder that the command makes does not have to be there.
    terminal.writable(str(tmp_path / "demo" / "found.json"), made=tmp_path / "demo")


def test_a_file_may_go_into_the_folder_of_the_label_maps(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    files = ("--out", seen / "o.mp4", "--jsonl", seen / "o.jsonl", "--json", seen / "o.json")
    done = Done("run", tiny_bundle, tiny_video, "--limit", "2", *files, "--save-labels", seen)
    assert done.status == 0, done.err
    names = sorted(path.name for path in seen.iterdir())
    assert names == ["000000.png", "000001.png", "o.json", "o.jsonl", "o.mp4"]


def test_label_maps_of_an_earlier_run_are_told_of(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    assert "older" not in Done("run", tiny_bundle, tiny_video, "--save-labels", labels).err
    again = Done("run", tiny_bundle, tiny_video, "--save-labels", labels, "--limit", "4")
    assert f"4 label maps in {labels}; 20 older ones were left there\n" in again.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_does_not_claim_frames_that_are_not_there(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    labels, out, full = tmp_path / "labels", tmp_path / "o.mp4", tmp_path / "full.mp4"
    done = Done("run", tiny_bundle, tiny_video, "--save-labels", labels, "--out", out, "--jsonl", "/dev/full")
    assert "make room" in done.error()
    assert f"\nat most 1 frames in {out}\nno lines were written to /dev/full\n" in done.err
    assert f"1 label maps in {labels}\n" in done.err and len(list(labels.iterdir())) == 1
    full.symlink_to("/dev/full")
    done = Done("run", tiny_bundle, tiny_video, "--save-labels", labels, "--out", full)
    assert f"no frames were written to {full}\n" in done.err and "make room" in done.error()


def test_lost_packets_are_counted(tiny_bundle: Path, tmp_path: Path) -> None:
    path, torn = tmp_path / "v.ts", tmp_path / "torn.ts"
    encode(path, [texture((96, 128), i) for i in range(20)], options={**P_ONLY, "g": "5"})
    content = path.read_bytes()
    packets = [content[i : i + 188] for i in range(0, len(content), 188)]
    torn.write_bytes(b"".join(packets[:60] + packets[64:90] + packets[91:]))
    assert Done("run", tiny_bundle, path, "--json", "-").json["packet_losses"] == 0
    with open_source(torn) as source:
        losses = sum(frame.start == "lost packets" for frame in source)
    done = Done("run", tiny_bundle, torn, "--json", "-")
    assert done.json["packet_losses"] == losses > 0
    assert f"{losses} packet losses" in done.err


def test_a_table_in_a_file_is_not_folded(tiny_video: Path) -> None:
    done = Done("motion", tiny_video, "--json", "-")
    assert done.json["digest"] in done.err


def test_what_convert_says_to_run_can_be_pasted(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    bundle = tmp_path / "my street.vss"
    options = ("--classes", "3", "--size", "96x128")
    done = Done("convert", tiny_bundle.parent / "tiny.pt2", "-o", bundle, *options)
    assert done.status == 0, done.err
    assert f"`edge-vss run '{bundle}' VIDEO`" in done.err


def test_inspect_names_the_bundle_whose_policy_is_not_known(tiny_bundle: Path, tmp_path: Path) -> None:
    spoiled = tmp_path / "often.vss"
    shutil.copytree(tiny_bundle, spoiled)
    file = spoiled / "manifest.json"
    file.write_text(file.read_text().replace('"interval:5"', '"often"'))
    message = Done("inspect", spoiled).error()
    assert "often.vss" in message and "'often'" in message and "convert the model again" in message


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, *_):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from edge_vss.__main__ import main
main()
"""
"""Ctrl-C in the moment when a module is imported."""


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("module", "said"),
    [("typer", ""), ("edge_vss.cli.terminal", ""), ("numpy", "interrupted\n"), ("av", "interrupted\n")],
)
def test_ctrl_c_while_the_program_starts_is_quiet(module: str, said: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, "motion", module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)
