"""One session at the UE: its layers, its K/V, and the split that moves between two tokens."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from airsplit import errors
from airsplit.frames import Frame, check_result
from airsplit.handoff import Direction, HandoffPlan, plan_handoff
from airsplit.identity import identity_of
from airsplit.layer_range import LayerRange, splits_of
from airsplit.partition import ModelPartition
from airsplit.rpc import MAX_CHUNK_BYTES
from airsplit.telemetry import trace_of
from airsplit.tensor_codec import dtype_to_proto, encode
from airsplit.v1 import edge_pb2
from ue_client.link import Link
from ue_client.records import Answer, SessionRequest, Switch
from ue_client.transfer import pull, push


@dataclass(slots=True)
class _InFlight:
    frame: Frame
    ue_ns: int
    sent_ns: int


class UeSession:
    """Runs layers [0, p), sends what comes out, and hands K/V over when p moves.

    Frames may be pipelined (`submit`, `collect`) up to the edge's credits; a switch waits until
    every answer is there, so it lies between two tokens.
    """

    def __init__(self, partition: ModelPartition, link: Link, request: SessionRequest) -> None:
        """Opens the session at the edge.

        Raises:
            AirSplitError: the edge's named refusal; the peer is gone; the split is not held.
        """
        self.partition = partition
        self.request = request
        self.id = secrets.token_hex(16)
        self.identity = identity_of(request.model, partition)
        self.cache = partition.new_cache(request.max_context)
        self._link = link
        self._wire_dtype = request.wire_dtype or partition.dtype
        self._stream, opened = link.open(self._open_message())
        edge_layers = LayerRange(opened.edge_layers.start, opened.edge_layers.stop)
        self.splits = splits_of(partition.held, edge_layers)
        self.credits = opened.credits
        self.split = request.split
        self.split_version = 1
        self.sequence = 0
        self.window = 0
        self.position = 0
        self.stream_offset = 0
        self._committed = (1, request.split)
        self._switch: Switch | None = None
        self._edge_valid: dict[int, int] = {}
        self._in_flight: deque[_InFlight] = deque()
        item_bytes = self._wire_dtype.itemsize
        self.max_frame_tokens = max(
            1, MAX_CHUNK_BYTES // (partition.facts.hidden_size * item_bytes)
        )

    def _open_message(self) -> edge_pb2.OpenSession:
        request = self.request
        return edge_pb2.OpenSession(
            session_id=self.id,
            ue_id=request.ue_id,
            stream=request.stream,
            model=self.identity,
            split=request.split,
            max_context=request.max_context,
            sampling=edge_pb2.Sampling(
                temperature=request.temperature,
                top_p=request.top_p,
                top_k=request.top_k,
                seed=request.seed,
            ),
            return_logits=request.return_logits,
            ue_layers=edge_pb2.Layers(
                start=self.partition.held.start, stop=self.partition.held.stop
            ),
        )

    @property
    def in_flight(self) -> int:
        """Frames that wait for an answer."""
        return len(self._in_flight)

    def begin_window(self) -> None:
        """Starts an empty context. Nothing may be in flight."""
        self._require_idle()
        if self.position == 0:
            return
        self.window += 1
        self.position = 0
        self.cache.reset()
        self._edge_valid.clear()

    def step(
        self,
        token_ids: Sequence[int],
        task: edge_pb2.Task,
        targets: Sequence[int] = (),
        *,
        on_refused: Callable[[int, str], None] | None = None,
    ) -> Answer:
        """One frame there and back. If the edge refuses a new split, the old one carries it.

        Args:
            on_refused: is told the refused split and why.
        """
        self._require_idle()
        self.submit(token_ids, task, targets)
        try:
            return self.collect()
        except errors.StaleCacheError as error:
            if not self.uncommitted:
                raise
            refused = self.split
            self._roll_back()
            if on_refused is not None:
                on_refused(refused, str(error))
        self.submit(token_ids, task, targets)
        return self.collect()

    def submit(
        self, token_ids: Sequence[int], task: edge_pb2.Task, targets: Sequence[int] = ()
    ) -> None:
        """Runs tokens through layers [0, p) and sends them on; does not wait.

        A frame that commits a new split is answered before anything may follow it.

        Raises:
            CreditError: no credit is left.
            ContextOverflowError: the context is full.
        """
        if self.in_flight >= (1 if self.uncommitted else self.credits):
            raise errors.CreditError(f"frames: {self.in_flight} unanswered; collect one first")
        started = time.monotonic_ns()
        hidden = self.partition.embed(torch.tensor(token_ids))
        hidden = self.partition.run(hidden, self._layers(), self.cache, self.position)
        frame = Frame(
            session_id=self.id,
            split_version=self.split_version,
            sequence=self.sequence,
            split=self.split,
            window=self.window,
            position=self.position,
            token_count=len(token_ids),
            task=task,
            dtype=dtype_to_proto(self._wire_dtype),
            shape=(len(token_ids), self.partition.facts.hidden_size),
            payload=encode(hidden[0].to(self._wire_dtype)),
            targets=tuple(targets),
            stream_offset=self.stream_offset,
        )
        sent = time.monotonic_ns()
        self._stream.send(edge_pb2.InferRequest(frame=frame.to_proto()))
        self._in_flight.append(_InFlight(frame, sent - started, sent))
        self.sequence += 1
        self.position = frame.end
        self.stream_offset += frame.token_count

    def collect(self) -> Answer:
        """The answer to the oldest frame in flight.

        Raises:
            StaleCacheError: the edge refused the frame's split; nothing of it counts.
            AirSplitError: the stream is broken.
        """
        waiting = sum(len(pending.frame.payload) for pending in self._in_flight)
        response = self._stream.receive(waiting)
        pending = self._in_flight.popleft()
        frame = pending.frame
        if response.HasField("refused"):
            self._take_back(frame)
            raise errors.by_name(response.refused.error)(response.refused.detail)
        result = response.result
        check_result(result, frame)
        switch = None
        if frame.split_version != self._committed[0]:
            switch, self._switch = self._switch, None
        self._committed = (frame.split_version, frame.split)
        round_trip = time.monotonic_ns() - pending.sent_ns
        return Answer(
            frame=frame,
            token_id=result.token_id if result.HasField("token_id") else None,
            nll=tuple(result.nll),
            logits=result.logits,
            switch=switch,
            channel=result.uplink if result.HasField("uplink") else None,
            trace=trace_of(frame, result, pending.ue_ns, round_trip),
        )

    @property
    def uncommitted(self) -> bool:
        """Whether the next frame commits a new split."""
        return self.split_version != self._committed[0]

    def switch(self, split: int) -> None:
        """Moves the split to `split`: K/V rows first, then the next frame commits.

        Stop and copy: decoding stands still while rows that the new host lacks travel. On an error
        the old split stays in force.

        Raises:
            SplitError: not a split that both ends hold.
            StaleCacheError: the edge lacks rows; the old split goes on.
        """
        self._require_idle()
        if split not in self.splits:
            raise errors.SplitError(
                f"split: {split}; allowed: {self.splits.start}-{self.splits.stop - 1}"
            )
        started = time.monotonic_ns()
        plan = self.plan(split)
        carry = pull if plan.direction is Direction.PULL else push
        moved = carry(self._link, self.cache, plan, self.id, self.window)
        # A move that was never committed: its rows travelled all the same.
        superseded = self._switch if self.uncommitted else None
        self._switch = Switch(
            split_from=self._committed[1],
            split_to=split,
            window=self.window,
            position=self.position,
            bytes=moved + (superseded.bytes if superseded else 0),
            gap_ms=(time.monotonic_ns() - started) / 1e6
            + (superseded.gap_ms if superseded else 0.0),
        )
        for layer in plan.layers:
            self._edge_valid[layer] = self.position
        self.split = split
        self.split_version = self._committed[0] + (split != self._committed[1])

    def plan(self, split: int) -> HandoffPlan:
        """What moving to `split` would take now."""
        to_ue = split >= self.split
        valid = self.cache.valid if to_ue else lambda layer: self._edge_valid.get(layer, 0)
        row_bytes = self.partition.kv_shape.row_bytes
        return plan_handoff(self.split, split, self.position, valid, row_bytes)

    def close(self) -> None:
        """Ends the session; the edge frees its K/V."""
        self._stream.close()

    def _layers(self) -> LayerRange:
        return self.partition.held.below(self.split)

    def _take_back(self, frame: Frame) -> None:
        self.sequence = frame.sequence
        self.position = frame.position
        self.stream_offset = frame.stream_offset
        # Rows of layers that go back to the edge would be of activations that never crossed.
        self.cache.truncate(frame.position)

    def _roll_back(self) -> None:
        """The refused split never was: what both ends last agreed on is in force."""
        self.split_version, self.split = self._committed
        self._switch = None
        self._edge_valid.clear()

    def _require_idle(self) -> None:
        if self._in_flight:
            raise errors.TransitionError(f"{self.in_flight} frames wait for an answer")
