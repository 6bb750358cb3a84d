"""A trace's stages add up, percentiles are those of the definition, and JSON stays JSON."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airsplit.frames import Frame, Task
from airsplit.telemetry import (
    STAGES,
    TokenTrace,
    channel_dict,
    latency_summary,
    percentiles,
    trace_of,
    write_lines,
)
from airsplit.v1 import channel_pb2, edge_pb2

FRAME = Frame(
    session_id="s",
    split_version=3,
    sequence=0,
    split=5,
    window=1,
    position=8,
    token_count=2,
    task=Task.TASK_SAMPLE,
    dtype=edge_pb2.DTYPE_FLOAT32,
    shape=(2, 4),
    payload=bytes(32),
)


def result(
    up: channel_pb2.ChannelReport | None = None, down: channel_pb2.ChannelReport | None = None
) -> edge_pb2.InferenceResult:
    timings = edge_pb2.EdgeTimings(
        queue_ns=1_000_000, decode_ns=2_000_000, compute_ns=3_000_000, head_ns=4_000_000
    )
    return edge_pb2.InferenceResult(timings=timings, uplink=up, downlink=down)


def test_spans_by_hand() -> None:
    up = channel_pb2.ChannelReport(
        airtime_ns=5_000_000, delay_ns=500_000, queue_ns=700_000, payload_bytes=16
    )
    down = channel_pb2.ChannelReport(airtime_ns=100_000, delay_ns=200_000, queue_ns=300_000)
    trace = trace_of(FRAME, result(up, down), ue_ns=8_000_000, round_trip_ns=20_000_000)
    assert (trace.task, trace.split, trace.split_version) == ("sample", 5, 3)
    assert (trace.window, trace.position, trace.tokens) == (1, 8, 2)
    assert trace.total_ms == pytest.approx(28.0)
    assert trace.ue_ms == pytest.approx(8.0)
    assert trace.uplink_ms == pytest.approx(5.5)
    assert trace.queue_ms == pytest.approx(2.0)
    assert trace.edge_ms == pytest.approx(9.0)
    assert trace.downlink_ms == pytest.approx(0.3)
    assert trace.transport_ms == pytest.approx(20 - 5.5 - 2 - 9 - 0.3)
    assert trace.uplink_bytes == 16, "what was on the air, not what the UE encoded"


def test_without_an_emulator() -> None:
    trace = trace_of(FRAME, result(), ue_ns=0, round_trip_ns=20_000_000)
    assert trace.channel is None
    assert trace.uplink_bytes == 32
    assert (trace.uplink_ms, trace.downlink_ms) == (0, 0)


ns = st.integers(0, 10**10)


@given(ns, ns, st.tuples(*[ns] * 10))
def test_the_stages_add_up_to_the_total(ue_ns: int, rest: int, spans: tuple[int, ...]) -> None:
    up, down = (
        channel_pb2.ChannelReport(airtime_ns=a, delay_ns=d, queue_ns=q)
        for a, d, q in (spans[:3], spans[3:6])
    )
    timings = edge_pb2.EdgeTimings(
        queue_ns=spans[6], decode_ns=spans[7], compute_ns=spans[8], head_ns=spans[9]
    )
    answer = edge_pb2.InferenceResult(timings=timings, uplink=up, downlink=down)
    trace = trace_of(FRAME, answer, ue_ns, sum(spans) + rest)
    total = sum(getattr(trace, f"{stage}_ms") for stage in STAGES)
    assert total == pytest.approx(trace.total_ms)
    assert trace.transport_ms == pytest.approx(rest / 1e6, abs=1e-6)


def test_simulated_airtime_beyond_the_wall_clock_leaves_no_negative_transport() -> None:
    up = channel_pb2.ChannelReport(airtime_ns=60_000_000)
    assert trace_of(FRAME, result(up), 0, 20_000_000).transport_ms == 0


def test_percentiles_by_hand() -> None:
    assert percentiles([]) == {}
    assert percentiles([7.0]) == {"p50": 7.0, "p95": 7.0}
    assert percentiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 2.9}  # 2 + 0.9 of the way to 3
    assert percentiles(list(range(101))) == {"p50": 50.0, "p95": 95.0}


def test_a_summary_has_the_percentiles_of_the_whole_and_the_median_of_each_stage() -> None:
    base = trace_of(FRAME, result(), 0, 20_000_000)
    traces = [replace(base, total_ms=t, ue_ms=u) for t, u in ((10, 1), (20, 5), (90, 2))]
    summary = latency_summary(traces)
    assert summary == {
        "p50": 20.0,
        "p95": 83.0,  # 20 + 0.9 * 70
        "ue": 2.0,
        "uplink": 0.0,
        "queue": 1.0,
        "edge": 9.0,
        "downlink": 0.0,
        "transport": 10.0,
    }
    assert latency_summary([]) == {}


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, anything, anything)
def test_a_trace_is_strict_json_whatever_the_channel_said(a: float, b: float, c: float) -> None:
    report = channel_pb2.ChannelReport(
        estimate=channel_pb2.ChannelEstimate(sigma=a, m=b, loss=c, snr_db=a),
        truth=channel_pb2.ChannelTruth(sigma=b, mean_gain=c, loss=a, snr_db=b),
    )
    trace: TokenTrace = trace_of(FRAME, result(report), 1, 2)
    file = io.StringIO()
    write_lines(file, [trace.to_dict(), trace.to_dict()])
    lines = file.getvalue().splitlines()
    assert len(lines) == 2

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(lines[1], parse_constant=refuse)
    assert set(read) == set(TokenTrace.__dataclass_fields__)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.nan, None), (math.inf, "inf"), (-math.inf, "-inf"), (0.12345678, 0.123457)],
)
def test_what_is_no_number_in_json(value: float, expected: object) -> None:
    report = channel_pb2.ChannelReport(truth=channel_pb2.ChannelTruth(snr_db=value))
    assert channel_dict(report)["truth"]["snr_db"] == expected
