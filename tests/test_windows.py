"""Windows by grid lines: every position once, and the same as rolling the map."""

from __future__ import annotations

import pytest
import torch

from edge_vss.converters.ops.windows import cut


@pytest.mark.parametrize("size", [(20, 20), (40, 60), (60, 120)])
@pytest.mark.parametrize("shifted", [False, True])
def test_every_position_is_in_one_window(size: tuple[int, int], shifted: bool) -> None:
    positions = torch.cat([group.reshape(-1) for group in cut(size, 20, shifted)])
    assert torch.equal(positions.sort().values, torch.arange(size[0] * size[1]))


def test_the_counts_are_the_papers() -> None:
    assert [tuple(group.shape) for group in cut((60, 120), 20, False)] == [(400, 18)]
    assert [tuple(group.shape) for group in cut((60, 120), 20, True)] == [(400, 10), (200, 14), (100, 4)]
    assert [tuple(group.shape) for group in cut((80, 140), 20, True)] == [(400, 18), (200, 18), (100, 4)]


def test_shifting_is_rolling_and_cutting_off_what_came_around() -> None:
    size, window = (12, 16), 4
    rolled = torch.roll(torch.arange(size[0] * size[1]).reshape(size), (-2, -2), (0, 1))
    # The last row and column of windows hold both ends of the map: the grid lines part them.
    y, x = rolled // size[1], rolled % size[1]
    expected = set()
    for top in range(0, size[0], window):
        for left in range(0, size[1], window):
            inside = rolled[top : top + window, left : left + window].reshape(-1)
            wrapped = y[top : top + window, left : left + window].reshape(-1) < 2
            across = x[top : top + window, left : left + window].reshape(-1) < 2
            for rows in (False, True):
                for columns in (False, True):
                    # Only the last windows hold positions that came around.
                    last = top + window == size[0], left + window == size[1]
                    keep = torch.ones(len(inside), dtype=torch.bool)
                    if last[0]:
                        keep &= wrapped == rows
                    elif rows:
                        continue
                    if last[1]:
                        keep &= across == columns
                    elif columns:
                        continue
                    expected.add(tuple(inside[keep].tolist()))
    found = {tuple(window_.tolist()) for group in cut(size, window, True) for window_ in group.T}
    assert found == expected
