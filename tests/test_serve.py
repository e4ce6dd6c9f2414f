"""The page of `edge-vss serve`, asked as a browser asks it: a real server, real videos, a toy network."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vss.runtimes.timing import percentiles
from edge_vss.runtimes.web.app import page
from edge_vss.runtimes.web.figures import temperatures
from edge_vss.runtimes.web.names import names_of
from edge_vss.runtimes.web.stream import Keeping, Stream
from tests.helpers import toys
from tests.helpers.page import LONG, NEEDS_WEB, TOKEN, Client, answering, killed_at_last, until

pytestmark = NEEDS_WEB
SIZE = (96, 128)


def stream(path: Path | str, **options: object) -> Stream:
    return Stream(str(path), toys.segmenter(SIZE, (24, 32)), Keeping(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def client(p_only: Path, b_frames: Path) -> Iterator[Client]:
    """A server that shows two recordings."""
    with answering([stream(p_only, name="front"), stream(b_frames, name="rear")]) as found:
        yield found


def pixels(data: bytes, how: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), how))


def test_the_page_is_one_small_file_with_nothing_from_elsewhere(client: Client) -> None:
    answer = client.ask("/")
    text = answer.body.decode()
    assert answer.status == 200 and text == page()[0]
    assert len(text.encode()) <= 100_000
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", text)
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert client.json("/api/about")["streams"][1]["name"] == "rear"


def test_a_frame_comes_as_picture_and_label_map(client: Client) -> None:
    facts, (picture, labels) = client.frame()
    assert pixels(picture).shape == (*SIZE, 3)
    shown = pixels(labels)
    assert shown.shape == SIZE and set(np.unique(shown)) <= {0, 1}
    # The toy calls bright pixels 1: what was sent as JPEG tells nearly the same.
    bright = pixels(picture).mean(2).reshape(24, 4, 32, 4).mean((1, 3)) > 127.5
    if facts["key"]:
        assert (bright.repeat(4, 0).repeat(4, 1) == shown).mean() > 0.97
    assert facts["clock"] == "arrival" and facts["latency_ms"] >= 0
    assert {"decode", "post"} <= facts["stages_ms"].keys()


def test_the_next_frame_is_waited_for(client: Client) -> None:
    seen = [client.frame()[0]["number"]]
    for _ in range(6):
        seen.append(client.frame(after=seen[-1])[0]["number"])
    assert seen == sorted(set(seen))
    kinds = {client.frame(1, after=number)[0]["key"] for number in range(12)}
    assert False in kinds


def test_a_recording_plays_again_and_again_at_its_own_speed(p_only: Path) -> None:
    began = time.monotonic()
    with answering([stream(p_only)]) as found:
        until(lambda: found.json("/api/streams")["streams"][0]["labelled"] > 45)
        report = found.json("/api/streams")["streams"][0]
    # 30 frames take 1.2 s: 45 cannot have come before 1.7 s.
    assert time.monotonic() - began > 1.6
    assert report["restarts"] == 0 and report["problem"] == "" and report["ok"]


def test_figures_of_every_stream(client: Client) -> None:
    until(lambda: all(report["labelled"] > 20 for report in client.json("/api/streams")["streams"]))
    found = client.json("/api/streams")
    front, rear = found["streams"]
    assert found["ok"] and found["memory_mb"] > 10
    assert (front["name"], front["codec"], front["size"], front["motion"]) == (
        "front",
        "h264",
        [96, 128],
        "codec",
    )
    assert front["fps"] > 1 and 0 < front["key_share"] < 1 and front["doubt"] is not None
    assert 0 < front["latency_ms"]["p50"] <= front["latency_ms"]["p95"]
    assert {"decode", "motion", "key", "state", "post"} <= rear["stages_ms"].keys()


def test_events_are_a_line_of_json_each(client: Client) -> None:
    lines = client.lines("/api/streams/0/events", 9)
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    assert len(events) >= 3
    assert [event["number"] for event in events] == sorted({event["number"] for event in events})


def test_metrics_are_what_prometheus_reads(client: Client) -> None:
    until(lambda: client.json("/api/streams")["streams"][0]["labelled"] > 3)
    from prometheus_client import parser as prometheus

    text = client.ask("/metrics").body.decode()
    found = {
        (sample.name, sample.labels.get("stream"), sample.labels.get("quantile")): sample.value
        for family in prometheus.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["edge_vss_up", "front", None] == 1
    assert found["edge_vss_frames_labelled_total", "rear", None] > 0
    assert 0 < found["edge_vss_latency_seconds", "front", "0.99"] < LONG
    assert found["edge_vss_memory_bytes", None, None] > 1e7


def test_a_snapshot_holds_the_whole_frame_and_its_label_map(client: Client) -> None:
    client.frame()
    answer = client.ask("/api/streams/0/snapshot")
    assert re.fullmatch(r'attachment; filename="camera0-\d{6}\.zip"', answer.headers["Content-Disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        files = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert files.keys() == {"picture.png", "labels.png", "frame.json"}
    assert pixels(files["picture.png"]).shape == (*SIZE, 3)
    assert pixels(files["labels.png"], cv2.IMREAD_COLOR).reshape(-1, 3).tolist()[0] in (
        [128, 0, 0],
        [0, 200, 255],
    )
    assert json.loads(files["frame.json"])["number"] >= 1


def test_health_turns_bad_when_a_camera_is_silent(p_only: Path) -> None:
    nobody = f"tcp://127.0.0.1:{free_port()}"
    silent = Stream(nobody, toys.segmenter(SIZE, (24, 32)), Keeping(silence_seconds=0.2))
    with answering([stream(p_only, name="there"), silent]) as found:
        until(lambda: found.json("/api/streams")["streams"][0]["ok"])
        answer = found.ask("/health")
        told = json.loads(answer.body)
        assert answer.status == 503 and told["ok"] is False
        assert told["streams"]["there"]["ok"] is True
        until(lambda: found.json("/api/streams")["streams"][1]["restarts"] > 2)
        assert "Connection refused" in found.json("/health")["streams"][nobody]["problem"]
    with answering([stream(p_only)]) as found:
        until(lambda: found.ask("/health").status == 200)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_who_reads_slowly_gets_fewer_frames_and_slows_nobody(p_only: Path) -> None:
    with answering([stream(p_only)]) as found:
        until(lambda: found.json("/api/streams")["streams"][0]["labelled"] > 5)
        slow = []
        for _ in range(10):
            connection = socket.create_connection(("127.0.0.1", found.port))
            head = f"GET /api/streams/0/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}"
            connection.sendall(f"{head}\r\n\r\n".encode())
            slow.append(connection)
        before = found.json("/api/streams")["streams"][0]["labelled"]
        numbers: list[int] = []
        for _ in range(20):
            numbers.append(found.frame(after=numbers[-1] if numbers else 0)[0]["number"])
            for connection in slow:
                connection.recv(1)
        report = found.json("/api/streams")["streams"][0]
        for connection in slow:
            connection.close()
    assert numbers == sorted(set(numbers))
    assert report["labelled"] - before >= 18
    assert report["restarts"] == 0


def test_from_packet_to_page_on_loopback(p_only: Path) -> None:
    late = []
    with answering([stream(p_only)]) as found:
        connection = HTTPConnection("127.0.0.1", found.port, timeout=LONG)
        number = 0
        for _ in range(40):
            connection.request(
                "GET", f"/api/streams/0/frame?after={number}", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            body = connection.getresponse().read()
            facts = json.loads(body[4 : 4 + int.from_bytes(body[:4], "big")])
            number = facts["number"]
            late.append(time.time() - facts["captured_seconds"])
        connection.close()
    # A bound that holds on a busy machine; the figure in the documents is measured.
    assert percentiles(late).p50 < 1000


def test_every_camera_has_a_name_of_its_own_that_tells_no_secret() -> None:
    gst = "gst:rtspsrc location=rtsp://me:s3cret@cam/1 ! video/x-raw,framerate=25/1 ! appsink"
    uris = ["/home/me/drive.mp4", "drive.mp4", "rtsp://me:s3cret@cam/live", gst, "drive.mp4", "/dev/video0"]
    assert names_of(uris) == [
        "drive.mp4",
        "drive.mp4 (2)",
        "rtsp://***@cam/live",
        "gst:rtspsrc location=rtsp://***@cam/1",
        "drive.mp4 (3)",
        "video0",
    ]


def test_temperatures_are_read_where_the_kernel_tells(tmp_path: Path) -> None:
    for number, (kind, value) in enumerate(
        [("cpu", "51500"), ("gpu", "49000"), ("off", "-256000"), ("cpu", "x")]
    ):
        zone = tmp_path / "sys/class/thermal" / f"thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(f"{value}\n")
    assert temperatures(tmp_path) == {"cpu": 51.5, "gpu": 49.0}


def test_the_program_ends_well_when_it_is_told_to(
    tiny_bundle: Path, tiny_video: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "edge_vss", "serve", str(tiny_bundle), str(tiny_video), "--port", "0"]
    record = ["--record", str(tmp_path / "kept")]
    with killed_at_last(subprocess.Popen([*command, *record], stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/)\?token=([\w-]{32})\n", line)
        assert match, line
        port = int(match[1].split(":")[2].strip("/"))
        connection = HTTPConnection("127.0.0.1", port, timeout=LONG)

        def labelled() -> int:
            connection.request("GET", "/api/streams", headers={"Authorization": f"Bearer {match[2]}"})
            return int(json.loads(connection.getresponse().read())["streams"][0]["labelled"])

        until(lambda: labelled() > 10)
        connection.close()
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(LONG) == 0
    assert "Traceback" not in rest and match[2] not in rest
    (part,) = (tmp_path / "kept").glob("*.mp4")
    seen = cv2.VideoCapture(str(part))
    frames = 0
    while seen.read()[0]:
        frames += 1
    assert frames > 5
