import numpy as np

from edge_vss.runtimes.drawing.contact_sheet import PAPER, Tile, draw, paint

PALETTE = ((200, 0, 0), (0, 0, 200))


def test_paint_lays_colours_over_the_picture_and_leaves_ignored_pixels_alone() -> None:
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 255], [0, 1, 255]], np.uint8)
    painted = paint(image, labels, PALETTE, strength=0.5)
    assert np.abs(painted[0, 0].astype(int) - (150, 50, 50)).max() <= 1
    assert np.abs(painted[0, 1].astype(int) - (50, 50, 150)).max() <= 1
    assert (painted[:, 2] == 100).all()


def test_a_sheet_shows_every_tile_and_the_legend() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    tiles = [Tile(np.full((30, 40, 3), colour, np.uint8), "caption") for colour in colours]
    legend = [(f"class number {i}", (17, i, 77)) for i in range(12)]
    sheet = draw("title", ("left", "right"), [tiles[:2], tiles[2:]], legend, tile_width_px=160)
    assert sheet.shape[1] == 2 * 24 + 2 * 160 + 10
    for colour in colours:
        assert (sheet == colour).all(axis=2).sum() >= 160 * 120 * 0.98
    for _, colour in legend:
        rows, columns = np.nonzero((sheet == colour).all(axis=2))
        assert rows.size >= 100 and rows.max() < sheet.shape[0] and columns.max() < sheet.shape[1] - 24
    assert (sheet[0] == PAPER).all() and (sheet[-1] == PAPER).all()
