"""Local attention: every position looks at the K × K positions around it.

One shifted product per offset (49 or 441 of them) moves far more bytes than it computes. Here the map is cut
into tiles; each tile's queries meet the keys of the tile and a halo around it in one matrix product, and a
constant mask takes away what lies outside a query's own window. Positions are rows of channels, so that
cutting into tiles is a gather of whole rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_vss.video import Size

TILE: Size = (6, 6)
"""Measured: of seven shapes, the fastest at 256 channels and at 64, if only by a little."""
OUTSIDE = -1e9
GROUP_VALUES = 1080 * 256
MOST_GROUPS = 6
"""Exporters take more than twice the time for twice the nodes."""


def local_attention(
    query: Tensor, key: Tensor, value: Tensor, window: int, tile: Size = TILE, haloed: bool = False
) -> Tensor:
    """softmax over the window of query · key, unscaled, times value.

    query, key float32 (1, C, H, W); value float32 (1, D, H, W); window odd → float32 (1, D, H, W). Positions
    outside the map have key and value 0: they weigh exp(0) in the softmax, as zero padding does. With
    ``haloed``, key and value bring (window − 1) / 2 more rows above and below the query's.
    """
    radius = window // 2
    height, width = int(query.shape[2]), int(query.shape[3])
    depth = int(value.shape[1])
    high, wide = min(tile[0], height), min(tile[1], width)
    tiles = (-(-height // high), -(-width // wide))
    first = radius if haloed else 0
    keys_at = _positions(tiles, (high, wide), radius, (int(key.shape[2]), width), first)
    queries_at = _positions(tiles, (high, wide), 0, (height, width), 0)
    whole = (tiles[0] * high, tiles[1] * wide) == (height, width)
    rows = (_rows(query, not whole), _rows(key, True), _rows(value, True))
    band = _band((high, wide), radius)
    parts = []
    # A few tiles at a time: what is gathered then stays in the processor's cache until it is used.
    count = tiles[0] * tiles[1]
    group = max(GROUP_VALUES // (int(query.shape[1]) * high * wide), -(-count // MOST_GROUPS))
    for first_tile in range(0, count, group):
        chosen = slice(first_tile, first_tile + group)
        q, k, v = (
            part.index_select(0, at[chosen].reshape(-1)).reshape(*at[chosen].shape, -1)
            for part, at in zip(rows, (queries_at, keys_at, keys_at), strict=True)
        )
        logits = torch.matmul(q, k.transpose(1, 2)) + band
        parts.append(torch.matmul(torch.softmax(logits, -1), v).reshape(-1, depth))
    out = torch.cat(parts).index_select(0, _raster(tiles, (high, wide), (height, width)))
    return out.reshape(1, height, width, depth).permute(0, 3, 1, 2)


def macs(size: Size, channels: int, depth: int, window: int) -> int:
    """Multiply-accumulates that local attention needs: both products, window by window."""
    return size[0] * size[1] * window * window * (channels + depth)


def _rows(x: Tensor, outside: bool) -> Tensor:
    # (1, C, H, W) → (H · W, C): one row per position, and after them zeros if anything lies outside
    channels = int(x.shape[1])
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    return torch.cat([rows, torch.zeros(1, channels)]) if outside else rows


def _positions(tiles: Size, tile: Size, radius: int, size: Size, first_row: int) -> Tensor:
    # For every tile, the rows of all positions in it and its halo. ``first_row`` is where the tiles begin.
    y = torch.arange(tiles[0]).reshape(-1, 1) * tile[0] + torch.arange(-radius, tile[0] + radius) + first_row
    x = torch.arange(tiles[1]).reshape(-1, 1) * tile[1] + torch.arange(-radius, tile[1] + radius)
    y, x = y.reshape(tiles[0], 1, -1, 1), x.reshape(1, tiles[1], 1, -1)
    inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
    return torch.where(inside, y * size[1] + x, size[0] * size[1]).reshape(tiles[0] * tiles[1], -1)


def _raster(tiles: Size, tile: Size, size: Size) -> Tensor:
    # For every position of the map, its row among the tiles.
    y, x = torch.arange(size[0]).reshape(-1, 1), torch.arange(size[1]).reshape(1, -1)
    number = (y // tile[0]) * tiles[1] + x // tile[1]
    return (number * (tile[0] * tile[1]) + (y % tile[0]) * tile[1] + x % tile[1]).reshape(-1)


def _band(tile: Size, radius: int) -> Tensor:
    # (queries of a tile, keys of a tile with its halo): 0 in the window, very low outside
    def near(extent: int) -> Tensor:
        apart = torch.arange(extent + 2 * radius) - torch.arange(extent).reshape(-1, 1)
        return (apart >= 0) & (apart <= 2 * radius)

    inside = near(tile[0]).reshape(tile[0], 1, -1, 1) & near(tile[1]).reshape(1, tile[1], 1, -1)
    keys = (tile[0] + 2 * radius) * (tile[1] + 2 * radius)
    return torch.where(inside.reshape(tile[0] * tile[1], keys), 0.0, OUTSIDE)
