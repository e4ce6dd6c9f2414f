"""Which layers int8 leaves alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from edge_vss.converters import keep_float
from edge_vss.converters.calibration import Plan
from edge_vss.converters.keep_float import GOAL, TRIES, chosen, search
from edge_vss.converters.quantizers import Reduced, named
from edge_vss.errors import OptionError
from tests.helpers.toys import manifest

LAYERS = tuple(f"key/level{i // 8}.{i % 8}" for i in range(40))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Search a network whose layers cost what they say."""

    def run(costs: dict[str, float]) -> keep_float.Found:
        floats: set[str] = set()

        def write(keep: Collection[str]) -> None:
            floats.clear()
            floats.update(keep)

        def share(*_: object) -> float:
            return 1 - sum(cost for layer, cost in costs.items() if layer not in floats)

        monkeypatch.setattr(keep_float, "_share", share)
        return search(Path(), manifest(), Reduced(write, LAYERS), ())

    return run


def test_the_two_layers_that_cost_most_are_found(found: Any) -> None:
    dear = {"key/level0.3": 0.09, "key/level3.6": 0.05}
    result = found({**dict.fromkeys(LAYERS, 0.0001), **dear})
    assert result.kept == set(dear)
    assert len(result.tries) <= TRIES and result.tries[0] == {
        "float": 0,
        "labels_equal": pytest.approx(1 - 0.14 - 38 * 0.0001),
    }


def test_nothing_stays_float_where_nothing_has_to(found: Any) -> None:
    result = found(dict.fromkeys(LAYERS, 0.0001))
    assert result.kept == frozenset() and len(result.tries) == 1


def test_a_network_that_loses_everywhere_keeps_as_much_as_it_takes(found: Any) -> None:
    costs = dict.fromkeys(LAYERS, 0.01)
    result = found(costs)
    assert 1 - sum(costs[layer] for layer in LAYERS if layer not in result.kept) >= GOAL
    assert len(result.tries) <= TRIES


def test_it_ends_in_time_with_the_best_that_it_has_seen(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_float, "SECONDS", -1.0)
    result = found(dict.fromkeys(LAYERS, 0.01))
    assert result.kept == frozenset() and len(result.tries) == 1


@pytest.mark.parametrize(
    ("name", "count"),
    [("key/level0.3", 1), ("level0.3", 1), ("level1.*", 8), ("3", 5), ("key/*", 40), ("*.7", 5)],
)
def test_layers_are_named_with_role_or_without_or_by_a_pattern(name: str, count: int) -> None:
    wrapped = tuple(layer.replace("key/", "key/stages.1.model.") for layer in LAYERS)
    assert len(chosen([name], LAYERS)) == count
    assert len(chosen([name.removeprefix("key/")], wrapped)) == count


def test_a_name_that_fits_nothing_is_an_error_that_names_some_layers() -> None:
    with pytest.raises(
        OptionError, match=r"--keep-float levle0\.3: .*some of the 40 layers are key/level0\.3"
    ):
        chosen(["level1.0", "levle0.3"], LAYERS)
    with pytest.raises(OptionError, match="it has none"):
        chosen(["x"], ())


def test_layers_are_called_as_their_weights() -> None:
    pairs = [("a.weight", "n0"), ("b", "n1"), ("a.weight", "n2")]
    assert named(pairs) == {"a": "n0", "n1": "n1", "n2": "n2"}


@pytest.mark.parametrize(("stride", "places"), [(3, 8), (3, 32), (40, 32)])
def test_frames_to_fit_to_and_frames_to_measure_on_lie_apart(stride: int, places: int) -> None:
    plan = Plan(stride, places)
    used = [plan.fits(index) for index in range(stride * places + 50)]
    fit, measured = ([i for i, use in enumerate(used) if use is wanted] for wanted in (True, False))
    assert len(fit) == len(measured) == 3 * places // 2
    # Four stretches of the video, in turn.
    changes = [i for i in range(1, places) if plan.fits(i * stride) is not plan.fits((i - 1) * stride)]
    assert changes == [places // 4, places // 2, 3 * places // 4]
