"""A tensor's bytes are its elements, little-endian, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from airsplit.cache_rows import export_rows, take_rows
from airsplit.errors import InputError, TensorError
from airsplit.frames import ITEM_BYTES
from airsplit.handoff import RowSpan
from airsplit.kv_cache import KvCache, KvShape
from airsplit.layer_range import LayerRange
from airsplit.tensor_codec import (
    DTYPES,
    decode,
    dtype_from_proto,
    dtype_to_proto,
    encode,
    parse_dtype,
)
from airsplit.v1 import edge_pb2

dtypes = st.sampled_from(list(DTYPES.values()))
shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@given(st.data(), dtypes, shapes)
def test_any_bytes_survive_both_ways(
    data: st.DataObject, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    """All bit patterns, so NaN payloads, infinities, subnormals and the sign of zero too."""
    size = int(np.prod(shape)) * dtype.itemsize
    payload = data.draw(st.binary(min_size=size, max_size=size))
    tensor = decode(payload, shape, dtype)
    assert (tuple(tensor.shape), tensor.dtype) == (shape, dtype)
    assert encode(tensor) == payload


@given(dtypes, shapes, st.integers(-9, 9).filter(bool))
def test_a_wrong_number_of_bytes_is_refused(
    dtype: torch.dtype, shape: tuple[int, ...], excess: int
) -> None:
    size = int(np.prod(shape)) * dtype.itemsize + excess
    assume(size >= 0)
    with pytest.raises(TensorError, match=f"payload: {size} bytes"):
        decode(bytes(size), shape, dtype)


@pytest.mark.parametrize(
    ("dtype", "payload"),
    [
        (torch.float32, "0000c03f 000080bf"),  # IEEE 754: 1.5 is 0x3fc00000, -1 is 0xbf800000
        (torch.float16, "003e 00bc"),  # 0x3e00, 0xbc00
        (torch.bfloat16, "c03f 80bf"),  # the upper halves of the fp32 ones
    ],
)
def test_the_bytes_are_ieee_754_little_endian(dtype: torch.dtype, payload: str) -> None:
    assert encode(torch.tensor([1.5, -1.0], dtype=dtype)) == bytes.fromhex(payload)


def test_a_view_is_encoded_in_its_own_order() -> None:
    rows = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    assert encode(rows.T[1:3]) == np.array([1, 5, 9, 2, 6, 10], dtype="<f4").tobytes()


def test_a_decoded_tensor_owns_its_memory() -> None:
    payload = bytes(8)
    decode(payload, (2,), torch.float32).add_(1)
    assert payload == bytes(8)


def test_names_and_wire_types_go_together() -> None:
    assert {dtype_to_proto(dtype) for dtype in DTYPES.values()} == set(ITEM_BYTES)
    for name, dtype in DTYPES.items():
        assert parse_dtype("--dtype", name) is dtype
        assert dtype_from_proto(dtype_to_proto(dtype)) is dtype
        assert ITEM_BYTES[dtype_to_proto(dtype)] == dtype.itemsize
    with pytest.raises(InputError, match="--dtype: 'int8' is not allowed; allowed: fp32, fp16, bf"):
        parse_dtype("--dtype", "int8")
    with pytest.raises(TensorError, match="dtype: 0"):
        dtype_from_proto(edge_pb2.DTYPE_UNSPECIFIED)


@given(st.data(), dtypes, st.integers(0, 6), st.integers(0, 6))
def test_rows_cross_from_cache_to_cache_bit_for_bit(
    data: st.DataObject, dtype: torch.dtype, one: int, other: int
) -> None:
    start, stop = sorted((one, other))
    shape = KvShape(kv_heads=2, head_dim=3, dtype=dtype, windows=(None,))
    size = 2 * 6 * 3 * dtype.itemsize
    key, value = (data.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    sender, receiver = (KvCache(shape, LayerRange(0, 1), 6, torch.device("cpu")) for _ in range(2))
    for cache, count in ((sender, 6), (receiver, start)):
        rows = [decode(part, (2, 6, 3), dtype)[:, :count] for part in (key, value)]
        cache.take(0, 0, *rows)
    message = export_rows(sender, "s", 0, RowSpan(0, start, stop))
    assert take_rows(receiver, edge_pb2.CacheRows.FromString(message.SerializeToString())) == (
        2 * 2 * 3 * dtype.itemsize * (stop - start)
    )
    assert receiver.valid(0) == stop
    for mine, theirs in zip(receiver.export(0, 0, stop), sender.export(0, 0, stop), strict=True):
        assert encode(mine) == encode(theirs)
