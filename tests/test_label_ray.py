"""`label` on a real Ray cluster: two nodes in one machine, one of which is killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_vss.cli import app
from edge_vss.errors import MissingExtra, OptionError
from edge_vss.runtimes.archive.driver import label
from edge_vss.runtimes.archive.jobs import Job, Task
from edge_vss.runtimes.archive.on_ray import OnRay
from edge_vss.runtimes.archive.processes import Processes
from tests.helpers.archive import BUNDLE, SmallParts, footage, noise, same
from tests.helpers.cli import CliRunner
from tests.helpers.videos import encode


def test_without_ray_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="the extra label is not installed")
    monkeypatch.setitem(sys.modules, "ray", None)
    encode(tmp_path / "v.mp4", noise(1))
    done = CliRunner().invoke(
        app, ["label", str(BUNDLE), str(tmp_path), "-o", str(tmp_path / "out"), "--ray", "auto"]
    )
    assert done.exit_code == 1
    assert done.stderr.strip() == str(MissingExtra("ray", "ray", "labelling on a cluster")).join(
        ("error: ", "")
    )


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    # Workers find the tests' helpers there.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    import ray

    ray.shutdown()
    made.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_a_node_dies_and_the_labels_are_the_same(cluster: Any, tmp_path: Path) -> None:
    recordings = footage(tmp_path / "footage")
    node = cluster.add_node(num_cpus=1)
    killed: list[float] = []

    class Killing(SmallParts):
        """Kills a node once some jobs are done."""

        done = 0

        def next(self) -> tuple[Job, object]:
            self.done += 1
            if self.done == 8:
                cluster.remove_node(node, allow_graceful=False)
                killed.append(time.monotonic())
            return super().next()

    def runner(task: Task) -> Killing:
        return Killing(OnRay(cluster.address, task.bundle))

    found = label(BUNDLE, [str(recordings)], tmp_path / "ray", shard_frames=1, runner=runner)
    assert killed and found.recordings == 5
    label(BUNDLE, [str(recordings)], tmp_path / "own", runner=lambda task: SmallParts(Processes(2)))
    assert same(tmp_path / "ray", tmp_path / "own")


def test_an_address_where_nobody_listens() -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    began = time.monotonic()
    with pytest.raises(OptionError, match=r"no Ray cluster answers at 127.0.0.1:9: start one with ray start"):
        OnRay("127.0.0.1:9", str(BUNDLE))
    assert time.monotonic() - began < 60, "nobody waits a minute for a wrong address"
