"""One frame through the edge's layers. Runs on the engine's thread; no gRPC in here."""

from __future__ import annotations

import time

import torch

from airsplit import errors
from airsplit.frames import Frame, Task
from airsplit.partition import ModelPartition
from airsplit.rpc import MAX_CHUNK_BYTES
from airsplit.tensor_codec import decode, dtype_from_proto, encode
from airsplit.v1 import edge_pb2
from edge_server.sampling import sample
from edge_server.sessions import EdgeSession


def infer(
    partition: ModelPartition, session: EdgeSession, frame: Frame, arrived_ns: int
) -> edge_pb2.InferenceResult:
    """decode, layers [p, L), norm, head, sample or score.

    Args:
        arrived_ns: monotonic time at which the frame arrived.

    Raises:
        StaleCacheError: rows that the frame's split needs are missing; nothing was changed.
        TensorError: the payload is not finite.
    """
    started = time.monotonic_ns()
    wire = dtype_from_proto(frame.dtype)
    hidden = decode(frame.payload, frame.shape, wire, partition.device).to(partition.dtype)[None]
    if not torch.isfinite(hidden).all():
        raise errors.TensorError(f"payload: not all elements are finite in {partition.dtype}")
    decoded = time.monotonic_ns()
    if frame.window != session.protocol.committed.window:
        session.cache.reset()
    layers = partition.held.above(frame.split)
    hidden = partition.run(hidden, layers, session.cache, frame.position)
    partition.synchronize()
    computed = time.monotonic_ns()
    result = edge_pb2.InferenceResult(
        session_id=frame.session_id,
        split_version=frame.split_version,
        sequence=frame.sequence,
        window=frame.window,
        position=frame.position,
        token_count=frame.token_count,
        uplink=frame.channel,
    )
    _OUTPUT[frame.task](partition, session, frame, hidden, result)
    session.protocol.accept(frame)
    done = time.monotonic_ns()
    result.timings.queue_ns = started - arrived_ns
    result.timings.decode_ns = decoded - started
    result.timings.compute_ns = computed - decoded
    result.timings.head_ns = done - computed
    result.timings.total_ns = done - arrived_ns
    return result


def _nothing(
    partition: ModelPartition,
    session: EdgeSession,
    frame: Frame,
    hidden: torch.Tensor,
    result: edge_pb2.InferenceResult,
) -> None:
    """A prefill frame leaves its K/V rows and no more."""


def _sample(
    partition: ModelPartition,
    session: EdgeSession,
    frame: Frame,
    hidden: torch.Tensor,
    result: edge_pb2.InferenceResult,
) -> None:
    logits = partition.logits(hidden[:, -1:])[0]
    _require_finite("logits", logits)
    result.token_id = sample(logits, session.sampling, frame.end)
    if session.return_logits:
        result.logits = encode(logits)


def _score(
    partition: ModelPartition,
    session: EdgeSession,
    frame: Frame,
    hidden: torch.Tensor,
    result: edge_pb2.InferenceResult,
) -> None:
    nll = partition.nll(hidden, torch.tensor(frame.targets))
    _require_finite("nll", nll)
    result.nll.extend(nll.tolist())
    if session.return_logits:
        logits = encode(partition.logits(hidden))
        if len(logits) > MAX_CHUNK_BYTES:
            raise errors.TensorError(
                f"logits: {len(logits)} bytes; allowed: {MAX_CHUNK_BYTES} (send smaller frames)"
            )
        result.logits = logits


def _require_finite(what: str, values: torch.Tensor) -> None:
    if not torch.isfinite(values).all():
        raise errors.NumericalError(f"{what}: not finite; what arrived is beyond the model's dtype")


_OUTPUT = {Task.TASK_PREFILL: _nothing, Task.TASK_SAMPLE: _sample, Task.TASK_SCORE: _score}
