"""What a killed process leaves of every sink, and two that want one place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_vss.errors import SinkError
from edge_vss.runtimes.sinks import open_sink
from tests.helpers.videos import decoded
from tests.test_sinks import CONTEXT, read_ids

WRITER = """
import sys, time
from tests.test_sinks import CONTEXT, result
from edge_vss.runtimes.sinks import open_sink
sink = open_sink("video", sys.argv[1], CONTEXT)
for index in range(1000):
    sink.write(*result(index))
    if index == 120:
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_overlay_plays_after_a_kill(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert 120 <= len(decoded(path)) <= 121


KILLED = """
import os, signal, sys
from tests.test_sinks import CONTEXT, result
from edge_vss.runtimes.sinks import open_sink
import pathlib, zlib
sink = open_sink(sys.argv[1], sys.argv[2], CONTEXT)
left = int(sys.argv[3])

def event(name, arguments):
    # Before every time that a file is opened or gets its name.
    global left
    if name in ("open", "os.rename") and str(arguments[0]).startswith(sys.argv[2]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(event)
for index in range(100):
    sink.write(*result(index))
"""


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("events", range(6))
def test_label_maps_are_whole_after_a_kill_and_nothing_else_stays(tmp_path: Path, events: int) -> None:
    folder = tmp_path / "labels"
    done = subprocess.run([sys.executable, "-c", KILLED, "labels", str(folder), str(events)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    maps = sorted(folder.glob("*.png"))
    assert [path.name for path in maps] == [f"{index:06d}.png" for index in range(events // 2)]
    assert all(read_ids(path).shape == (48, 64) for path in maps)
    assert (folder / ".edge-vss-labels.lock").exists()
    open_sink("labels", folder, CONTEXT).close()
    assert sorted(folder.iterdir()) == maps


def test_two_cannot_write_label_maps_to_one_folder(tmp_path: Path) -> None:
    first = open_sink("labels", tmp_path, CONTEXT)
    with pytest.raises(SinkError, match=r"is in use .*choose another folder"):
        open_sink("labels", tmp_path, CONTEXT)
    first.close()
    open_sink("labels", tmp_path, CONTEXT).close()


LINES = """
import sys
from tests.test_sinks import CONTEXT, result
from edge_vss.runtimes.sinks import open_sink
sink = open_sink("jsonl", sys.argv[1], CONTEXT)
for index in range(10**6):
    sink.write(*result(index))
    if index == int(sys.argv[2]):
        print("ready", flush=True)
"""


@pytest.mark.parametrize("lines", [0, 1, 100])
def test_json_lines_are_whole_after_a_kill(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "o.jsonl"
    command = [sys.executable, "-c", LINES, str(path), str(lines)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.kill()
    *whole, _ = path.read_bytes().split(b"\n")
    assert [json.loads(line)["index"] for line in whole] == list(range(len(whole)))
    assert len(whole) > lines
