"""K/V rows to and from messages: used by the end that sends them and the end that takes them."""

from __future__ import annotations

from airsplit.handoff import RowSpan
from airsplit.kv_cache import KvCache
from airsplit.tensor_codec import decode, dtype_from_proto, dtype_to_proto, encode
from airsplit.v1 import edge_pb2


def export_rows(cache: KvCache, session_id: str, window: int, span: RowSpan) -> edge_pb2.CacheRows:
    """One message with the rows of `span`.

    Raises:
        StaleCacheError: not all of them are valid.
    """
    key, value = cache.export(span.layer, span.start, span.stop)
    return edge_pb2.CacheRows(
        session_id=session_id,
        window=window,
        layer=span.layer,
        start=span.start,
        stop=span.stop,
        dtype=dtype_to_proto(key.dtype),
        kv_heads=key.shape[0],
        head_dim=key.shape[2],
        key=encode(key),
        value=encode(value),
    )


def take_rows(cache: KvCache, rows: edge_pb2.CacheRows) -> int:
    """Writes the rows of one message into `cache`; returns their bytes.

    Raises:
        TensorError, StaleCacheError, ContextOverflowError: what does not fit.
    """
    shape = (rows.kv_heads, max(0, rows.stop - rows.start), rows.head_dim)
    dtype = dtype_from_proto(rows.dtype)
    cache.take(
        rows.layer, rows.start, decode(rows.key, shape, dtype), decode(rows.value, shape, dtype)
    )
    return len(rows.key) + len(rows.value)
