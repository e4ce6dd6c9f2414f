"""The state of a session: saved, restored, begun anew, one for each video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vss.bundle import GraphSpec, StateSpec, TensorSpec
from edge_vss.errors import OptionError, SinkError
from edge_vss.runtimes.segmenter import Segmenter
from edge_vss.runtimes.sources import open_source
from edge_vss.runtimes.state import State
from edge_vss.video import Frame, StartReason
from tests.helpers import toys
from tests.helpers.cli import CliRunner
from tests.helpers.videos import encode, pan

SIZE = (48, 64)


def counting(**changes: Any) -> Segmenter:
    """A toy that remembers: its ``seen`` grows by the mean of every picture, and is what it labels by."""
    toy = toys.segmenter()
    image, labels = TensorSpec("image", (1, *SIZE, 3), "uint8"), TensorSpec("labels", (1, *SIZE), "uint8")
    seen, after = TensorSpec("seen", (1,), "float32"), TensorSpec("seen_next", (1,), "float32")

    def key(tensors: toys.Tensors) -> dict[str, NDArray[Any]]:
        following = tensors["seen"] + np.float32(tensors["image"].mean())
        return {"labels": np.full((1, *SIZE), int(following[0]) % 2, np.uint8), "seen_next": following}

    manifest = replace(
        toy.manifest,
        graphs=(GraphSpec("key", "key.onnx", "", (image, seen), (labels, after), 0.0),),
        state=(StateSpec("seen", (1,), "float32", 0.0, "seen_next"),),
        routes={"start": ("key",), "key": ("key",)},
        policy="interval:1",
        motion=None,
        **changes,
    )
    return Segmenter(manifest, {"key": key}, "toy")


def pictures(count: int, grey: int = 90, size: tuple[int, int] = SIZE) -> list[Frame]:
    rng = np.random.default_rng(grey)
    ground = rng.integers(0, 60, (*size, 3), np.uint8)
    with open_source([np.roll(ground + grey, 3 * i, 1) for i in range(count)], motion="none") as source:
        return list(source)


def test_what_was_saved_goes_on_where_it_was(tmp_path: Path) -> None:
    frames, whole = pictures(8), counting().session()
    expected = [float(whole.state["seen"][0]) for frame in frames if whole.step(frame)]
    before = counting().session()
    for frame in frames[:5]:
        before.step(frame)
    before.state.save(tmp_path / "drive.state")
    after = counting().session()
    after.state.restore(tmp_path / "drive.state")
    found = []
    for number, frame in enumerate(frames[5:]):
        # A source that opens again begins with its first frame.
        prediction = after.step(replace(frame, start=StartReason.NONE if number else StartReason.FIRST_FRAME))
        assert prediction.decision.route == "key"
        found.append(float(after.state["seen"][0]))
    assert found == expected[5:]
    assert list(tmp_path.iterdir()) == [tmp_path / "drive.state"]


@pytest.mark.parametrize("why", ["seek", "lost packets", "size changed", "scene cut"])
def test_it_begins_anew(why: str) -> None:
    session = counting().session()
    for frame in pictures(3):
        session.step(frame)
    size = (96, 128) if why == "size changed" else SIZE
    start = StartReason(why) if why in ("seek", "lost packets") else StartReason.NONE
    frame = replace(pictures(1, 180, size)[0], start=start)
    if why == "scene cut":
        rng = np.random.default_rng(7)
        with open_source([rng.integers(100, 256, (*SIZE, 3), np.uint8)], motion="none") as source:
            frame = replace(next(iter(source)), start=StartReason.NONE)
    decision = session.step(frame).decision
    assert (decision.route, decision.reason) == ("start", why)
    assert session.state["seen"][0] == pytest.approx(float(frame.image.mean()), abs=1.5)


def test_frames_that_pass_by_do_not_hide_a_cut() -> None:
    session = counting().session()
    for frame in pictures(3):
        session.step(frame)
    with open_source([np.random.default_rng(7).integers(100, 256, (*SIZE, 3), np.uint8)] * 2) as source:
        first, second = source
    session.skip(replace(first, start=StartReason.NONE))
    assert session.step(replace(second, start=StartReason.NONE)).decision.reason == "scene cut"


def test_streams_that_share_a_bundle_have_their_own() -> None:
    segmenter = counting()
    one, two = segmenter.session(), segmenter.session()
    for a, b in zip(pictures(3, 10), pictures(3, 150), strict=True):
        one.step(a)
        two.step(b)
    assert one.state["seen"][0] < 200 < 400 < two.state["seen"][0]


def test_a_restored_state_meets_frames_of_another_size(tmp_path: Path) -> None:
    session = counting().session()
    session.step(pictures(1)[0])
    session.state.save(tmp_path / "s")
    again = counting().session()
    again.state.restore(tmp_path / "s")
    decision = again.step(pictures(1, 90, (96, 128))[0]).decision
    assert (decision.route, decision.reason) == ("start", "size changed")


def test_a_state_is_a_mapping_with_a_size() -> None:
    state = State(counting().manifest)
    assert len(state) == 0 and state.nbytes == 4
    state.reset()
    assert dict(state) == {"seen": np.zeros(1, np.float32)}


def saved(folder: Path, **changes: Any) -> Path:
    session = counting(**changes).session()
    session.step(pictures(1)[0])
    path = folder / "s"
    session.state.save(path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_size": (96, 128)}, "is the state of frame size 96x128, and this bundle has 48x64"),
        (
            {"source": {"name": "other", "sha256": "ab"}},
            "is the state of weights ab, and this bundle has toy",
        ),
        ({"options": {"memory": 6}}, "--memory"),
        ({"family": "tv3s"}, "is the state of family tv3s, and this bundle has propagate"),
    ],
)
def test_another_bundles_state_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    ours = {"options": {"memory": 4}} if "options" in changes else {}
    path = saved(tmp_path, **changes)
    session = counting(**ours).session()
    with pytest.raises(OptionError, match=message) as caught:
        session.state.restore(path)
    assert "\n" not in str(caught.value) and len(session.state) == 0


def test_what_cannot_be_saved_says_so(tmp_path: Path) -> None:
    session = counting().session()
    with pytest.raises(OptionError, match="no state to save"):
        session.state.save(tmp_path / "s")
    session.step(pictures(1)[0])
    with pytest.raises(SinkError, match="cannot write"):
        session.state.save(tmp_path / "no" / "such" / "s")


def test_run_goes_on_from_a_file(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the converter's half is not installed")
    from edge_vss.cli import app
    from edge_vss.converters.conversion import Conversion
    from edge_vss.converters.convert import convert

    bundle, clip = tmp_path / "l.vss", encode(tmp_path / "v.mp4", pan(6, (64, 96)))
    convert(Conversion(None, family="lmanet", size=(64, 96), options={"variant": "erf", "window": 3}), bundle)
    command = ["run", str(bundle), str(clip), "--state", str(tmp_path / "drive.state")]
    first = CliRunner().invoke(app, [*command, "--json", "-"])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(app, [*command, "--jsonl", str(tmp_path / "a.jsonl")])
    assert again.exit_code == 0 and "going on from" in again.output
    assert '"reason": "restored state"' in (tmp_path / "a.jsonl").read_text().splitlines()[0]
    nowhere = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "no" / "such.state")])
    assert nowhere.exit_code == 1 and "such.state (No such file" in nowhere.output
    whole = (tmp_path / "drive.state").read_bytes()
    (tmp_path / "drive.state").write_bytes(whole[:-1])
    anew = CliRunner().invoke(app, command)
    assert anew.exit_code == 0, anew.output
    assert "drive.state is damaged, or is no state file" in anew.output
    assert "going on from" in anew.output and "drive.state.previous" in anew.output
    assert {path.name for path in tmp_path.glob("*drive*")} == {
        "drive.state",
        "drive.state.damaged",
        "drive.state.previous",
    }
    assert (tmp_path / "drive.state.damaged").read_bytes() == whole[:-1]
