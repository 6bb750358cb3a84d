"""What `channel.py` measures through sockets: an echo edge, a payload-blind proxy, and a client.

The blind proxy forwards the bytes of messages without parsing them: the least that a gRPC proxy in
Python can do. Edge and proxy run in processes of their own.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import grpc
import numpy as np
import uvloop

from airsplit.rpc import CHANNEL_OPTIONS, MAX_CHUNK_BYTES
from airsplit.serving import Service, start_server
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from ue_client.link import Link

HIDDEN = 4096
DECODE_TOKENS = 1
"""Of a decode frame: 8 KiB in fp16."""

CHUNK_TOKENS = MAX_CHUNK_BYTES // (2 * HIDDEN)
"""Of the largest frame: 1 MiB in fp16."""

CREDITS = 4

TURN, WARMING = 25, 5
"""Round trips that a contender makes at a time, and how many of them its caches warm up in: a turn
is shorter than what else the host does, so that all contenders see the same of that."""


class EchoEdge(edge_pb2_grpc.EdgeServicer):
    """Answers every frame at once with a sampled token."""

    async def Infer(self, requests: Any, context: Any) -> Any:  # noqa: N802
        async for request in requests:
            if request.HasField("open"):
                opened = edge_pb2.SessionOpened(
                    session_id=request.open.session_id,
                    edge_layers=edge_pb2.Layers(start=0, stop=32),
                    credits=CREDITS,
                )
                yield edge_pb2.InferResponse(opened=opened)
                continue
            header = request.frame.header
            result = edge_pb2.InferenceResult(
                session_id=header.session_id,
                split_version=header.split_version,
                sequence=header.sequence,
                position=header.position,
                token_count=header.token_count,
                token_id=1,
            )
            if header.HasField("channel"):
                result.uplink.CopyFrom(header.channel)
            yield edge_pb2.InferResponse(result=result)


def _blind(target: str) -> grpc.GenericRpcHandler:
    """Forwards the bytes of Edge.Infer, both ways, unread."""
    channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    infer = channel.stream_stream("/airsplit.v1.Edge/Infer")

    async def forward(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for response in infer(requests):
            yield response

    handler = grpc.stream_stream_rpc_method_handler(forward)
    return grpc.method_handlers_generic_handler("airsplit.v1.Edge", {"Infer": handler})


async def _serve(register: Callable[[grpc.aio.Server], list[str]], pipe: Connection) -> None:
    _, address = await start_server(Service("bench", register), "127.0.0.1:0")
    pipe.send(address)
    await asyncio.Event().wait()


def echo_edge(pipe: Connection) -> None:
    """Process: the edge."""

    def register(server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(EchoEdge(), server)
        return ["airsplit.v1.Edge"]

    uvloop.run(_serve(register, pipe))


def blind_proxy(pipe: Connection, target: str) -> None:
    """Process: the proxy in front of `target`."""

    def register(server: grpc.aio.Server) -> list[str]:
        server.add_generic_rpc_handlers((_blind(target),))
        return ["airsplit.v1.Edge"]

    uvloop.run(_serve(register, pipe))


def start(target: Callable[..., None], *args: str) -> tuple[BaseProcess, str]:
    """A server in a process of its own, and its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *args), daemon=True)
    process.start()
    return process, str(ours.recv())


class Prober:
    """One session that sends frames of random fp16 values and waits for the answers."""

    def __init__(self, address: str, seed: int) -> None:
        self._link = Link(address)
        request = edge_pb2.OpenSession(
            session_id=f"{np.random.default_rng().integers(2**63):032x}",
            split=1,
            max_context=1 << 30,
            stream=seed,
        )
        self._session_id = request.session_id
        self._stream, _ = self._link.open(request)
        self._sequence = self._position = 0
        values = np.random.default_rng(seed).standard_normal((CHUNK_TOKENS, HIDDEN))
        self._payload = values.astype("<f2").tobytes()

    def round_trip_us(self) -> float:
        """Of one decode frame."""
        frame = self._frame(DECODE_TOKENS)
        started = time.perf_counter()
        self._stream.send(frame)
        self._stream.receive()
        return (time.perf_counter() - started) * 1e6

    def gbit_per_second(self, chunks: int) -> float:
        """Payload bits of `chunks` chunks, as many unanswered as the edge gives credits for."""
        started = time.perf_counter()
        for sent in range(chunks + CREDITS):
            if sent >= CREDITS:
                self._stream.receive()
            if sent < chunks:
                self._stream.send(self._frame(CHUNK_TOKENS))
        elapsed = time.perf_counter() - started
        return chunks * len(self._payload) * 8 / elapsed / 1e9

    def close(self) -> None:
        self._stream.close()
        self._link.close()

    def _frame(self, tokens: int) -> edge_pb2.InferRequest:
        frame = edge_pb2.ActivationFrame(payload=self._payload[: 2 * HIDDEN * tokens])
        frame.header.MergeFrom(
            edge_pb2.FrameHeader(
                session_id=self._session_id,
                split_version=1,
                sequence=self._sequence,
                split=1,
                position=self._position,
                token_count=tokens,
                task=edge_pb2.TASK_SAMPLE,
                dtype=edge_pb2.DTYPE_FLOAT16,
                shape=[tokens, HIDDEN],
                stream_offset=self._position,
            )
        )
        self._sequence += 1
        self._position += tokens
        return edge_pb2.InferRequest(frame=frame)


def round_trips_us(
    probers: Mapping[str, Prober], frames: int, order: random.Random
) -> dict[str, list[float]]:
    """Of as many frames or a few more, by turns in changing order."""
    found: dict[str, list[float]] = {name: [] for name in probers}
    for _ in range(math.ceil(frames / (TURN - WARMING))):
        for name in order.sample(list(probers), len(probers)):
            turn = [probers[name].round_trip_us() for _ in range(TURN)]
            found[name] += turn[WARMING:]
    return found
