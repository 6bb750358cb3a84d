"""Carries out a handoff: K/V rows between the UE's cache and the edge, over their own calls."""

from __future__ import annotations

from itertools import zip_longest

from airsplit.cache_rows import export_rows, take_rows
from airsplit.errors import FrameError
from airsplit.handoff import HandoffPlan, RowSpan, pieces
from airsplit.kv_cache import KvCache
from airsplit.rpc import MAX_CHUNK_BYTES
from airsplit.v1 import edge_pb2
from ue_client.link import Link


def pull(link: Link, cache: KvCache, plan: HandoffPlan, session_id: str, window: int) -> int:
    """Fetches the rows of `plan` into `cache`; returns their bytes.

    Raises:
        FrameError: other rows came than were asked for.
        AirSplitError: the edge lacks them, or is gone.
    """
    if not plan.rows:
        return 0
    request = edge_pb2.PullCacheRequest(
        session_id=session_id,
        window=window,
        rows=[
            edge_pb2.RowRange(layer=span.layer, start=span.start, stop=span.stop)
            for span in plan.rows
        ],
    )
    taken = 0
    expected = pieces(plan.rows, plan.row_bytes, MAX_CHUNK_BYTES)
    for span, rows in zip_longest(expected, link.pull(request, plan.bytes)):
        if span is None or rows is None or not _is_piece(rows, session_id, window, span):
            raise FrameError(f"rows: {span} was asked for, something else came")
        taken += take_rows(cache, rows)
    return taken


def push(link: Link, cache: KvCache, plan: HandoffPlan, session_id: str, window: int) -> int:
    """Sends the rows of `plan` out of `cache`; returns their bytes.

    Raises:
        AirSplitError: the edge refused them, or is gone.
    """
    if not plan.rows:
        return 0
    spans = pieces(plan.rows, plan.row_bytes, MAX_CHUNK_BYTES)
    rows = (export_rows(cache, session_id, window, span) for span in spans)
    return link.push(rows, plan.bytes).bytes


def _is_piece(rows: edge_pb2.CacheRows, session_id: str, window: int, span: RowSpan) -> bool:
    return (rows.session_id, rows.window, rows.layer, rows.start, rows.stop) == (
        session_id,
        window,
        span.layer,
        span.start,
        span.stop,
    )
