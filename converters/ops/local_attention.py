"""Local attention: every position looks at the K × K positions around it.

One shifted product per offset (49 or 441 of them) moves far more bytes than it computes. Here the map is cut
into tiles; each tile's queries meet the keys of the tile and a halo around it in one matrix product, and a
constant mask takes away what lies outside a query's own window. Positions are rows of channels, so that
cutting into tiles is a gather of whole rows. A memory of several frames (LMANet) is read in the same way, by
one softmax over all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edge_vss.video import Size

TILE: Size = (6, 6)
"""Measured: of seven shapes, the fastest at 256 channels and at 64, if only by a little."""
MEMORY_TILE: Size = (8, 8)
"""Of ``memory_read``, whose window is larger."""
MEMORY_PRODUCTS = 1_250_000
"""Products of ``memory_read`` at a time: 5 MB, which stay in a processor's cache."""
MOST_MEMORY_GROUPS = 64
OUTSIDE = -1e9
"""What a product is lowered by where it does not count."""
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
    # A few tiles at a time: what is gathered then stays in the processor's cache until it is used.
    group = max(GROUP_VALUES // (int(query.shape[1]) * high * wide), -(-tiles[0] * tiles[1] // MOST_GROUPS))
    rows = (_rows(key, True), _rows(value, True))
    out = _attend(query, rows, keys_at, _band((high, wide), radius), tiles, (high, wide), group)
    return out.reshape(1, height, width, depth).permute(0, 3, 1, 2)


def memory_read(
    query: Tensor, keys: Tensor, values: Tensor, slot_bias: Tensor, window: int, tile: Size = MEMORY_TILE
) -> Tensor:
    """softmax of query · key over the windows of all S slots together, unscaled, times value (LMANet, Eq. 3
    to 5).

    query float32 (1, C, H, W); keys float32 (S, H, W, C) and values (S, H, W, D); slot_bias float32 (S,),
    added to a slot's products: 0 for one that is filled, −1e9 for one that is not yet → float32
    (1, D, H, W). Positions outside the map weigh exp(0) in every filled slot, as zero padding does.
    """
    slots, height, width, depth = (int(extent) for extent in values.shape)
    high, wide = min(tile[0], height), min(tile[1], width)
    tiles = (-(-height // high), -(-width // wide))
    count = height * width
    within = _positions(tiles, (high, wide), window // 2, (height, width), 0)
    # One after the other, and after the last the zeros of all.
    keys_at = torch.cat(
        [torch.where(within < count, within + slot * count, slots * count) for slot in range(slots)], 1
    )
    band = _band((high, wide), window // 2)
    queries, reach = band.shape
    biased = (band.unsqueeze(1) + slot_bias.reshape(1, slots, 1)).reshape(queries, slots * reach)
    rows = tuple(
        torch.cat([x.reshape(slots * count, -1), torch.zeros(1, int(x.shape[3]))]) for x in (keys, values)
    )
    group = max(MEMORY_PRODUCTS // biased.numel(), -(-tiles[0] * tiles[1] // MOST_MEMORY_GROUPS))
    out = _attend(query, rows, keys_at, biased, tiles, (high, wide), group)
    return out.reshape(1, height, width, depth).permute(0, 3, 1, 2)


def _attend(
    query: Tensor,
    rows: tuple[Tensor, ...],
    keys_at: Tensor,
    bias: Tensor,
    tiles: Size,
    tile: Size,
    group: int,
) -> Tensor:
    """Rows (H · W, D) of what the queries find: ``rows`` are those of keys and values, ``keys_at`` says which
    of them a tile sees, ``bias`` is added to a tile's products."""
    height, width = int(query.shape[2]), int(query.shape[3])
    queries_at = _positions(tiles, tile, 0, (height, width), 0)
    whole = (tiles[0] * tile[0], tiles[1] * tile[1]) == (height, width)
    seen, parts = (_rows(query, not whole), *rows), []
    for first in range(0, tiles[0] * tiles[1], group):
        chosen = slice(first, first + group)
        q, k, v = (
            part.index_select(0, at[chosen].reshape(-1)).reshape(*at[chosen].shape, -1)
            for part, at in zip(seen, (queries_at, keys_at, keys_at), strict=True)
        )
        logits = torch.matmul(q, k.transpose(1, 2)) + bias
        parts.append(torch.matmul(torch.softmax(logits, -1), v).reshape(-1, int(v.shape[2])))
    return torch.cat(parts).index_select(0, _raster(tiles, tile, (height, width)))


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
