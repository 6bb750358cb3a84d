"""The cache by hand: what is valid, what is refused, what attention gets to see."""

from __future__ import annotations

import pytest
import torch

from airsplit.cache_rows import take_rows
from airsplit.errors import ContextOverflowError, StaleCacheError, TensorError
from airsplit.kv_cache import KvCache, KvShape
from airsplit.layer_range import LayerRange
from airsplit.v1 import edge_pb2

HEADS, DIM, CONTEXT, WINDOW = 2, 3, 8, 4
HELD = LayerRange(1, 3)
SHAPE = KvShape(HEADS, DIM, torch.float32, windows=(None, None, WINDOW, None))


@pytest.fixture
def cache() -> KvCache:
    return KvCache(SHAPE, HELD, CONTEXT, torch.device("cpu"))


def rows(start: int, count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[heads, count, dim]: every element of position t is t."""
    positions = torch.arange(start, start + count, dtype=dtype)
    return positions[None, :, None].expand(HEADS, count, DIM)


def compute(cache: KvCache, layers: LayerRange, start: int, count: int) -> list[torch.Tensor]:
    """A forward pass whose keys are the positions and whose values are their negatives."""
    cache.begin(layers, start, count)
    key = rows(start, count)[None]
    return [cache.update(key, -key, layer)[0] for layer in layers]


def positions_of(keys: torch.Tensor) -> list[int]:
    """Which positions a view of keys holds."""
    return keys.reshape(-1, keys.shape[-2], DIM)[0, :, 0].int().tolist()


def test_bytes_of_a_row_and_of_a_reservation() -> None:
    assert SHAPE.row_bytes == 2 * 2 * 3 * 4  # key and value, heads, dim, fp32
    assert SHAPE.reserved_bytes(layers=2, positions=8) == 48 * 16
    assert KvShape(HEADS, DIM, torch.bfloat16, ()).row_bytes == 24


def test_computing_raises_validity_layer_by_layer(cache: KvCache) -> None:
    assert [cache.valid(n) for n in range(4)] == [0, 0, 0, 0]
    compute(cache, LayerRange(1, 2), 0, 3)
    assert [cache.valid(n) for n in range(4)] == [0, 3, 0, 0]
    compute(cache, LayerRange(1, 2), 3, 1)
    assert cache.valid(1) == 4


def test_attention_sees_the_whole_past_or_for_one_token_its_window(cache: KvCache) -> None:
    full, sliding = compute(cache, HELD, 0, 6)
    assert positions_of(full) == positions_of(sliding) == [0, 1, 2, 3, 4, 5]
    full, sliding = compute(cache, HELD, 6, 1)
    assert positions_of(full) == [0, 1, 2, 3, 4, 5, 6]
    assert positions_of(sliding) == [3, 4, 5, 6], "a window of 4 counts the token itself"
    full, sliding = compute(cache, HELD, 7, 1)
    assert positions_of(sliding) == [4, 5, 6, 7]


def test_a_window_larger_than_the_past_cuts_nothing(cache: KvCache) -> None:
    for position in range(4):
        sliding = compute(cache, HELD, position, 1)[1]
        assert positions_of(sliding) == list(range(position + 1))


def test_what_attention_gets_is_no_copy(cache: KvCache) -> None:
    first = compute(cache, HELD, 0, 2)[0]
    second = compute(cache, HELD, 2, 1)[0]
    assert first.data_ptr() == second.data_ptr()


def test_a_layer_that_lacks_rows_is_refused_before_anything_is_written(cache: KvCache) -> None:
    compute(cache, LayerRange(1, 2), 0, 3)
    with pytest.raises(StaleCacheError, match="layer 2: rows are valid up to 0, needed 3"):
        cache.begin(HELD, 3, 1)
    assert [cache.valid(n) for n in HELD] == [3, 0]


def test_the_reservation_is_the_limit(cache: KvCache) -> None:
    compute(cache, HELD, 0, CONTEXT)
    with pytest.raises(ContextOverflowError, match="9 positions; allowed: 1-8"):
        cache.begin(HELD, CONTEXT, 1)
    with pytest.raises(ContextOverflowError, match="up to 9; allowed: 1-8"):
        cache.take(1, CONTEXT, rows(8, 1), rows(8, 1))


def test_computing_an_earlier_position_again_forgets_what_came_after(cache: KvCache) -> None:
    compute(cache, HELD, 0, 6)
    compute(cache, HELD, 2, 1)
    assert [cache.valid(n) for n in HELD] == [3, 3]


def test_export_gives_exactly_what_take_took(cache: KvCache) -> None:
    cache.take(1, 0, rows(0, 3), -rows(0, 3))
    cache.take(1, 3, rows(3, 2), -rows(3, 2))
    assert [cache.valid(n) for n in HELD] == [5, 0]
    key, value = cache.export(1, 1, 4)
    assert key.shape == (HEADS, 3, DIM)
    assert torch.equal(key, rows(1, 3))
    assert torch.equal(value, -rows(1, 3))
    assert cache.export(1, 5, 5)[0].shape == (HEADS, 0, DIM)


def test_taking_rows_that_are_there_does_not_lower_validity(cache: KvCache) -> None:
    compute(cache, HELD, 0, 6)
    cache.take(1, 1, rows(1, 2), rows(1, 2))
    assert cache.valid(1) == 6


def test_a_gap_is_refused(cache: KvCache) -> None:
    cache.take(1, 0, rows(0, 2), rows(0, 2))
    with pytest.raises(StaleCacheError, match="rows from 3 would leave a gap after 2"):
        cache.take(1, 3, rows(3, 1), rows(3, 1))
    with pytest.raises(StaleCacheError, match="layer 0 is not held here"):
        cache.take(0, 0, rows(0, 1), rows(0, 1))
    assert cache.valid(1) == 2


@pytest.mark.parametrize(("start", "stop"), [(0, 4), (4, 5), (2, 1), (-1, 2)])
def test_only_valid_rows_are_exported(cache: KvCache, start: int, stop: int) -> None:
    compute(cache, HELD, 0, 3)
    with pytest.raises(StaleCacheError, match=f"rows {start}-{stop} asked for, valid up to 3"):
        cache.export(1, start, stop)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(HEADS + 1, 1, DIM),
        torch.zeros(HEADS, 2, DIM),
        torch.zeros(HEADS, 1, DIM + 1),
        torch.zeros(1, HEADS, 1, DIM),
        torch.zeros(HEADS, 1, DIM, dtype=torch.float16),
    ],
)
def test_rows_of_another_shape_or_dtype_are_refused(cache: KvCache, wrong: torch.Tensor) -> None:
    with pytest.raises(TensorError, match="rows: "):
        cache.take(1, 0, rows(0, 1), wrong)
    assert cache.valid(1) == 0


def test_truncate_and_reset(cache: KvCache) -> None:
    compute(cache, LayerRange(1, 2), 0, 6)
    compute(cache, LayerRange(2, 3), 0, 2)
    cache.truncate(4)
    assert [cache.valid(n) for n in HELD] == [4, 2]
    with pytest.raises(StaleCacheError):
        cache.export(1, 0, 5)
    cache.reset()
    assert [cache.valid(n) for n in HELD] == [0, 0]
    compute(cache, HELD, 0, 1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dtype": edge_pb2.DTYPE_FLOAT16}, TensorError),
        ({"dtype": edge_pb2.DTYPE_UNSPECIFIED}, TensorError),
        ({"key": bytes(HEADS * 2 * DIM * 4 - 1)}, TensorError),
        ({"value": b""}, TensorError),
        ({"kv_heads": 1, "head_dim": 6}, TensorError),
        ({"start": 2, "stop": 1}, TensorError),
        ({"start": 1, "stop": 3}, StaleCacheError),
        ({"layer": 0}, StaleCacheError),
    ],
)
def test_a_malformed_message_of_rows(
    cache: KvCache, change: dict[str, int | bytes], error: type[Exception]
) -> None:
    fields: dict[str, object] = {
        "layer": 1,
        "start": 0,
        "stop": 2,
        "dtype": edge_pb2.DTYPE_FLOAT32,
        "kv_heads": HEADS,
        "head_dim": DIM,
        "key": bytes(HEADS * 2 * DIM * 4),
        "value": bytes(HEADS * 2 * DIM * 4),
    }
    with pytest.raises(error):
        take_rows(cache, edge_pb2.CacheRows(**{**fields, **change}))
    assert cache.valid(1) == 0
    assert take_rows(cache, edge_pb2.CacheRows(**fields)) == 2 * HEADS * 2 * DIM * 4
    assert cache.valid(1) == 2
