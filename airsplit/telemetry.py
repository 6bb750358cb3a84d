"""What one frame cost and met: one `TokenTrace` per frame, as JSON lines and as percentiles.

Clocks of two machines are never compared: the UE measures its own spans and the round trip, the
edge and the emulator report theirs, and what is left of the round trip is `transport`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from airsplit.enum_names import short_names
from airsplit.frames import Frame
from airsplit.v1 import channel_pb2, edge_pb2

STAGES = ("ue", "uplink", "queue", "edge", "downlink", "transport")


@dataclass(frozen=True, slots=True)
class TokenTrace:
    """One frame's way there and back. Times in milliseconds."""

    task: str
    window: int
    position: int
    tokens: int
    split: int
    split_version: int
    total_ms: float
    """From the UE's start on the frame to its answer."""

    ue_ms: float
    """Embedding, layers [0, p) and encoding at the UE."""

    uplink_ms: float
    """Airtime, propagation and jitter on the way up."""

    queue_ms: float
    """Waiting for the link and for the edge's engine."""

    edge_ms: float
    """Decoding, layers [p, L), head, sampling or scoring at the edge."""

    downlink_ms: float
    transport_ms: float
    """The rest: gRPC, sockets, the emulator's processing, scheduling."""

    proxy_ms: float
    """Of `transport_ms`: the emulator's own processing."""

    uplink_bytes: int
    channel: dict[str, Any] | None
    """What the frame met on the radio; None without an emulator."""

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}


def _ms(ns: int) -> float:
    return ns / 1e6


def trace_of(
    frame: Frame, result: edge_pb2.InferenceResult, ue_ns: int, round_trip_ns: int
) -> TokenTrace:
    """Puts the UE's spans and those that came with the result together.

    Args:
        ue_ns: the UE's compute and encoding before sending.
        round_trip_ns: from sending to having the answer.
    """
    up, down, edge = result.uplink, result.downlink, result.timings
    uplink = up.airtime_ns + up.delay_ns
    queue = up.queue_ns + edge.queue_ns + down.queue_ns
    compute = edge.decode_ns + edge.compute_ns + edge.head_ns
    downlink = down.airtime_ns + down.delay_ns
    return TokenTrace(
        task=edge_pb2.Task.Name(frame.task).removeprefix("TASK_").lower(),
        window=frame.window,
        position=frame.position,
        tokens=frame.token_count,
        split=frame.split,
        split_version=frame.split_version,
        total_ms=_ms(ue_ns + round_trip_ns),
        ue_ms=_ms(ue_ns),
        uplink_ms=_ms(uplink),
        queue_ms=_ms(queue),
        edge_ms=_ms(compute),
        downlink_ms=_ms(downlink),
        transport_ms=_ms(max(0, round_trip_ns - uplink - queue - compute - downlink)),
        proxy_ms=_ms(up.proxy_ns + down.proxy_ns),
        uplink_bytes=up.payload_bytes or len(frame.payload),
        channel=channel_dict(up) if result.HasField("uplink") else None,
    )


_TRUTH = ("sigma", "mean_gain", "loss", "snr_db", "configured_sigma", "configured_snr_db")


def channel_dict(report: channel_pb2.ChannelReport) -> dict[str, Any]:
    """A report as JSON has it: NaN and infinity become None and "inf"."""
    estimate, truth = report.estimate, report.truth
    return {
        "config_version": report.config_version,
        "radio_time_ms": _ms(report.radio_time_ns),
        "estimate": {k: _finite(getattr(estimate, k)) for k in ("sigma", "m", "loss", "snr_db")},
        "truth": {k: _finite(getattr(truth, k)) for k in _TRUTH},
        "transmissions": report.transmissions,
    }


def plain(message: Message) -> dict[str, Any]:
    """Any message as JSON has it: numbers as numbers, enumerations by their short lower-case name,
    NaN as None, infinity as "inf", absent optional fields left out."""
    fields: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        convert = _converter(field)
        fields[field.name] = [convert(v) for v in value] if field.is_repeated else convert(value)
    return fields


def _converter(field: Any) -> Callable[[Any], Any]:
    if field.message_type is not None:
        return plain
    if field.enum_type is not None:
        names = short_names(field.enum_type)
        return lambda number: names.get(number, number)  # proto3 enumerations are open
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _finite
    return lambda value: value


def _finite(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return round(value, 6)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p95; empty without values."""
    if not values:
        return {}
    p50, p95 = np.percentile(np.asarray(values), [50, 95])
    return {"p50": round(float(p50), 4), "p95": round(float(p95), 4)}


def latency_summary(traces: Sequence[TokenTrace]) -> dict[str, float]:
    """p50 and p95 of the whole, and the median of each stage; milliseconds per frame."""
    summary = percentiles([trace.total_ms for trace in traces])
    for stage in STAGES if traces else ():
        median = np.median([getattr(trace, f"{stage}_ms") for trace in traces])
        summary[stage] = round(float(median), 4)
    return summary


def write_lines(file: TextIO, records: Iterable[dict[str, Any]]) -> None:
    """One JSON object a line."""
    for record in records:
        file.write(json.dumps(record, allow_nan=False) + "\n")
