import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vss.bundle import TensorSpec
from edge_vss.classes import find
from edge_vss.converters.conversion import Conversion, Preprocess
from edge_vss.converters.families.propagate import CELL_PX, CarryLabels, CarryScores, split_network, to_labels
from edge_vss.converters.ops.warp import warp_labels, warp_scores
from edge_vss.converters.values import Network, NetworkHead, Split
from edge_vss.errors import OptionError

SIZES = [(48, 64), (45, 61), (8, 8), (90, 33)]


def labels_of(size: tuple[int, int]) -> torch.Tensor:
    return torch.randint(0, 12, (1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // CELL_PX), -(-size[1] // CELL_PX)


def constant_motion(size: tuple[int, int], dx_px: float, dy_px: float) -> torch.Tensor:
    """A motion of so many pixels of the frame, in pixels of the grid that spans it."""
    grid = grid_of(size)
    motion = torch.empty(1, 2, *grid)
    motion[:, 0], motion[:, 1] = dx_px * grid[1] / size[1], dy_px * grid[0] / size[0]
    return motion


def shifted(labels: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Each pixel takes the value at position + (dx, dy), at the border where that is outside."""
    rows = np.clip(np.arange(labels.shape[1]) + dy, 0, labels.shape[1] - 1)
    columns = np.clip(np.arange(labels.shape[2]) + dx, 0, labels.shape[2] - 1)
    return labels[:, rows][:, :, columns]


@settings(deadline=None, max_examples=60)
@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from(SIZES))
def test_a_constant_motion_shifts_labels_by_exactly_that(dx: int, dy: int, size: tuple[int, int]) -> None:
    labels = labels_of(size)
    moved = warp_labels(labels, constant_motion(size, dx, dy))
    np.testing.assert_array_equal(moved.numpy(), shifted(labels.numpy(), dx, dy))


@pytest.mark.parametrize("part", [-0.49, -0.3, 0.3, 0.49])
def test_parts_of_a_pixel_are_rounded(part: float) -> None:
    labels = labels_of((48, 64))
    moved = warp_labels(labels, constant_motion((48, 64), 3 + part, -2 - part))
    np.testing.assert_array_equal(moved.numpy(), shifted(labels.numpy(), 3, -2))


@pytest.mark.parametrize("size", SIZES)
def test_no_motion_is_the_identity(size: tuple[int, int]) -> None:
    labels = labels_of(size)
    assert torch.equal(warp_labels(labels, torch.zeros(1, 2, *grid_of(size))), labels)


def test_the_motion_of_a_cell_is_that_of_its_centre() -> None:
    # Between two centres, the motion at pixel x is that at cell (x + 0.5) / 8 - 0.5.
    width = 64
    motion = torch.zeros(1, 2, 1, 8)
    motion[0, 0, 0] = torch.arange(8) * 0.25
    columns = torch.arange(width, dtype=torch.uint8).expand(1, 8, width).contiguous()
    moved = warp_labels(columns, motion)[0, 0].numpy().astype(int)
    x = np.arange(4, 60)  # inside the outermost centres
    wanted = np.floor(x + 8 * 0.25 * ((x + 0.5) / 8 - 0.5) + 0.5)
    np.testing.assert_array_equal(moved[4:60], np.minimum(wanted, width - 1))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.0, 20.0))
def test_scores_are_warped_as_grid_sample_does(seed: int, reach: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(1, 5, 9, 13, generator=generator)
    motion = torch.randn(1, 2, 9, 13, generator=generator) * reach
    x = motion[:, 0] + torch.arange(13)
    y = motion[:, 1] + torch.arange(9).reshape(-1, 1)
    grid = torch.stack(((2 * x + 1) / 13 - 1, (2 * y + 1) / 9 - 1), -1).double()
    expected = F.grid_sample(scores.double(), grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(warp_scores(scores, motion).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(48, 64), (12, 16), (50, 70)])
def test_without_motion_carried_scores_give_the_key_labels(size: tuple[int, int]) -> None:
    scores = torch.randn(1, 7, 12, 16, generator=torch.Generator().manual_seed(2))
    key = to_labels(scores, size)
    (carried,) = CarryScores(size, False)(scores, torch.zeros(1, 2, 12, 16))
    assert torch.equal(carried, key)


def test_scores_move_by_whole_grid_pixels() -> None:
    scores = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(4))
    motion = torch.zeros(1, 2, 12, 16)
    motion[:, 0], motion[:, 1] = 3, -2
    np.testing.assert_array_equal(warp_scores(scores, motion)[0].numpy(), shifted(scores[0].numpy(), 3, -2))


def made_of(network: Network, conversion: Conversion) -> Split:
    return split_network(network, conversion, {})


def network(name: str = "scores", shape: tuple[int, ...] = (1, 11, 12, 16)) -> Network:
    same = torch.nn.Identity()
    dtype = "float32" if name == "scores" else "uint8"
    head = NetworkHead("out", TensorSpec(name, shape, dtype), find("camvid"))
    return Network(same, same, same, (head,), (48, 64), {}, {}, Preprocess())


def request(**options: object) -> Conversion:
    logits = bool(options.pop("logits", False))
    return Conversion(classes="camvid", logits=logits, options=options)


def test_labels_are_carried_on_cells_of_eight_pixels() -> None:
    made = made_of(network(), request())
    assert made.motion is not None and made.motion.grid == (6, 8)
    assert [state.name for state in made.state] == ["key_labels"]
    assert [spec.name for spec in made.part("key").outputs] == ["labels", "key_labels", "score_check"]
    assert [spec.name for spec in made.part("key").hidden] == ["scores"]
    assert isinstance(made.part("state").module, CarryLabels)


def test_scores_are_carried_on_their_own_grid() -> None:
    made = made_of(network(), request(carry="scores", logits=True))
    assert made.motion is not None and made.motion.grid == (12, 16)
    assert [state.name for state in made.state] == ["scores"]
    assert [spec.name for spec in made.part("key").outputs] == ["labels", "scores", "logits", "score_check"]
    assert [spec.name for spec in made.part("state").outputs] == ["labels", "logits"]


def test_logits_make_scores_the_default() -> None:
    assert made_of(network(), request(logits=True)).options["carry"] == "scores"


def test_label_maps_are_always_carried_as_labels() -> None:
    assert made_of(network("labels", (1, 12, 16)), request()).options["carry"] == "labels"
    for options in ({"carry": "scores"}, {"logits": True}):
        with pytest.raises(OptionError, match="gives label maps"):
            made_of(network("labels", (1, 12, 16)), request(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"carry": "features"}, "--carry 'features': choose labels, scores or masks"),
        ({"carry": "labels", "logits": True}, "--logits needs scores"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made_of(network(), request(**options))
