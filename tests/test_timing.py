import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vss.runtimes.timing import STAGES, Percentiles, Stopwatch, peak_rss_mb, percentiles, rss_mb


def test_percentiles_of_a_hundred_known_durations() -> None:
    assert percentiles(n / 1000 for n in range(1, 101)) == Percentiles(50.0, 95.0, 99.0, 100)


def test_percentiles_of_nothing_are_zero() -> None:
    assert percentiles([]) == Percentiles(0.0, 0.0, 0.0, 0)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_a_percentile_is_one_of_the_durations_and_they_are_ordered(seconds: list[float]) -> None:
    found = percentiles(seconds)
    assert found.p50 <= found.p95 <= found.p99
    assert all(np.abs(np.array(seconds) * 1e3 - ms).min() < 1e-3 for ms in (found.p50, found.p95, found.p99))


def test_a_stopwatch_times_a_block_and_lists_stages_in_order() -> None:
    watch, began = Stopwatch(), time.perf_counter()
    with watch("sleep"):
        time.sleep(0.02)
    most_ms = 1e3 * (time.perf_counter() - began)
    watch.merge({"key": 0.005, "decode": 0.001})
    summary = watch.summary()
    assert list(summary) == [*STAGES, "sleep"]
    assert 20 <= summary["sleep"].p50 <= most_ms
    assert summary["key"] == Percentiles(5.0, 5.0, 5.0, 1)
    assert summary["state"].count == 0


def test_a_block_that_raises_is_not_counted() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError), watch("broken"):
        raise ValueError
    assert watch.seconds == {}


def test_peak_memory_sees_a_buffer_that_is_gone_again() -> None:
    script = (
        "import numpy as np; from edge_vss.runtimes.timing import peak_rss_mb, rss_mb\n"
        "before = peak_rss_mb(); np.ones(60_000_000, np.uint8); print(before, peak_rss_mb(), rss_mb())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, peak, after = map(float, done.stdout.split())
    assert peak - before > 50
    assert after < peak - 40


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_this_process_own_not_its_parents() -> None:
    held = np.ones(200_000_000, np.uint8)
    script = "from edge_vss.runtimes.timing import peak_rss_mb; print(peak_rss_mb())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 150
    now = rss_mb()
    # The kernel counts in batches, per core.
    assert peak_rss_mb() >= now - 1 > 200
    assert held.nbytes
