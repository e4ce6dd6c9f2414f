"""What lets somebody in is shown nowhere, in whatever kind of address it stands."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from edge_vss.cli import app
from edge_vss.errors import SourceError
from edge_vss.runtimes.sources import open_source
from edge_vss.text import without_password
from tests.helpers.cli import CliRunner
from tests.helpers.logs import listening

SECRET = "hunter2"
ADDRESSES = (
    "rtsp://me:hunter2@{}/cam",
    "rtsps://me:hunter2@{}/cam",
    "rtsp://me:hun@hunter2@{}/cam",
    "rtsp://me:x/hunter2@{}/cam",
    "rtsp://me:x?hunter2@{}/cam",
    "rtsp://me:x#hunter2@{}/cam",
    "rtsp://hunter2@{}/cam",
    "rtsp://{}/user=me&password=hunter2&channel=1&stream=0.sdp",
    "rtsp://{}/user=me_password=hunter2_channel=1_stream=0.sdp",
    "rtsp://{}/cam?auth=hunter2",
    "rtmp://me:hunter2@{}/live/cam",
    "rtmp://{}/live/cam?token=hunter2",
    "rtmps://{}/live/cam?key=hunter2&x=1",
    "srt://{}?passphrase=hunter2hunter2&mode=caller",
    "srt://{}?mode=caller&streamid=#!::u=me,s=hunter2",
    "http://me:hunter2@{}/cam.mp4",
    "https://me:hunter2@{}/cam.mp4",
    "http://{}/video.cgi?usr=me&pwd=hunter2",
    "http://{}/videostream.cgi?loginuse=me&loginpas=x&user=me&passwd=hunter2",
    "https://{}/v.m3u8?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
    "https://{}/v.m3u8?Policy=x&Key-Pair-Id=hunter2&Signature=hunter2",
    "https://{}/v.mp4?access_token=hunter2",
    "https://{}/v.mp4?api-key=hunter2",
    "tcp://me:hunter2@{}",
    "encode:rtsp://me:hunter2@{}/cam",
    "gst:rtspsrc location=rtsp://me:hunter2@{}/cam ! decodebin ! nosuchthing ! appsink",
    "gst:rtspsrc user-id=me user-pw=hunter2 location=rtsp://{}/cam ! nosuchthing ! appsink",
    "gst:rtspsrc user-pw='hunter2 x' ! nosuchthing ! appsink",
    'gst:souphttpsrc location=http://{}/x user-pw="hunter2" ! nosuchthing ! appsink',
    "RTSP://me:hunter2@{}/cam",
    "rtsp:/me:hunter2@{}/cam",
    "me:hunter2@{}/cam",
)


@pytest.fixture(scope="module")
def nobody() -> str:
    """A host and port where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_error_and_no_log_shows_it(
    address: str, nobody: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # GStreamer and torch do not go together in one process, and the name is made before it is asked for.
    monkeypatch.setattr("edge_vss.runtimes.sources._gi._SYSTEM", ())
    with listening() as told, pytest.raises(SourceError) as caught:
        open_source(address.format(nobody), timeout_seconds=1)
    out = capfd.readouterr()
    for text in (str(caught.value), repr(caught.value), out.out, out.err, *told):
        assert SECRET not in text
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ADDRESSES[:-2])
def test_names_are_shown_without_it(address: str, nobody: str) -> None:
    shown = without_password(address.format(nobody))
    assert SECRET not in shown and "***" in shown
    if "user-pw='" not in address:
        assert nobody in shown, "where it is may be seen"


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://camera/stream",
        "rtsp://camera:554/a@2x.mp4",
        "rtsp://[::1]:554/a@b",
        "http://host/a@b/c@d.mp4",
        "monkey=3.mp4",
        "keyboard.mp4",
        "drive@home.mp4",
        "udp://@239.0.0.1:1234".replace("@", ""),
        "srt://host:9000?mode=caller&latency=200",
        "gst:v4l2src device=/dev/video0 ! videoconvert ! appsink name=key0",
    ],
)
def test_what_is_no_secret_stays(address: str) -> None:
    assert without_password(address) == address


def test_no_verb_shows_it(nobody: str) -> None:
    address = f"rtsp://me:{SECRET}@{nobody}/user=me&password={SECRET}"
    for words in (["motion"], ["run", "absent.vss"], ["profile", "absent.vss"]):
        done = CliRunner().invoke(
            app, [*words, address, "--timeout", "1", "--ffmpeg", f"headers=X: {SECRET}"]
        )
        assert done.exit_code == 1 and SECRET not in done.stderr + done.stdout


def test_ffmpeg_prints_nothing_of_its_own(nobody: str) -> None:
    code = (
        "import sys\nfrom edge_vss.runtimes.sources import open_source\n"
        "try: open_source(sys.argv[1], timeout_seconds=1)\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"rtsp://me:{SECRET}@{nobody}/cam"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("SourceError\n", "")
