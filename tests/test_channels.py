"""Queues between the stages of a run: what they hold, and how much."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from edge_vss.decisions import Prediction
from edge_vss.runtimes._channel import QUEUE_BYTES, Channel
from edge_vss.runtimes.motion import none
from edge_vss.runtimes.pipeline import run
from edge_vss.runtimes.sources import Source
from edge_vss.runtimes.sources.frames import ArrayPicture
from edge_vss.video import Frame
from tests.helpers import toys
from tests.test_pipeline import Listed
from tests.test_session import frames


def test_a_channel_waits_for_room_and_for_items() -> None:
    channel: Channel[int] = Channel(2)
    assert channel.put(1)
    assert channel.put(2)
    taken = []
    reader = threading.Timer(0.05, lambda: taken.append(channel.get()))
    reader.start()
    assert channel.put(3)
    reader.join()
    assert taken == [1]
    channel.close()
    assert not channel.put(4)
    assert [channel.get(), channel.get(), channel.get()] == [2, 3, None]
    other: Channel[int] = Channel(2)
    other.put(1)
    other.close(discard=True)
    assert other.get() is None


def test_a_channel_holds_so_many_bytes_and_always_one_item() -> None:
    channel: Channel[str] = Channel(100, 10)
    assert channel.put("large", 50)  # more than it holds, but it was empty
    events: list[str] = []

    def fill() -> None:
        for name in ("a", "b", "c", "d"):
            assert channel.put(name, 4)
            events.append(name)

    writer = threading.Thread(target=fill)
    writer.start()
    assert not events
    assert channel.get() == "large"
    assert [channel.get() for _ in range(4)] == ["a", "b", "c", "d"]
    writer.join()
    assert events == ["a", "b", "c", "d"]
    # Whatever was taken out has made room.
    assert channel.put("e", 10) and channel.get() == "e"
    channel.close()


class Huge(ArrayPicture):
    """A picture that says it is as large as one of 8K, with 10 bits."""

    @property
    def nbytes(self) -> int:
        return 100_000_000


def test_large_frames_do_not_pile_up_before_a_slow_graph() -> None:
    made: list[int] = []
    left: list[int] = []
    on_the_way: list[int] = []

    def camera() -> Iterator[Frame]:
        for frame in frames(60, step=0):
            frame.picture = Huge(frame.picture.rgb())
            made.append(frame.index)
            on_the_way.append(len(made) - len(left))
            yield frame

    def done(frame: Frame, prediction: Prediction | None) -> None:
        left.append(frame.index)

    source = Source(Listed(camera()), none.measure)
    report = run(source, toys.segmenter().session(), on_frame=done)
    assert report.frames + report.skipped == 60
    # One waits, one is being decoded, one is in the graphs, and one has just left them.
    assert max(on_the_way) <= 4 and QUEUE_BYTES < 100_000_000 * 2
