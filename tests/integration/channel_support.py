"""An edge that echoes, and the emulator in front of it, on one event loop."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import numpy as np

from airsplit import rpc, serving
from airsplit.errors import StaleCacheError
from airsplit.frames import ITEM_BYTES
from airsplit.v1 import channel_pb2_grpc, edge_pb2, edge_pb2_grpc
from channel_emulator.__main__ import EmulatorProcess
from channel_emulator.limits import Limits
from channel_emulator.start import parse_start

ECHO = __file__
"""Run as a program, an `EchoEdge`."""


class EchoEdge(edge_pb2_grpc.EdgeServicer):
    """Answers each frame with a result that echoes its report; keeps everything it was sent."""

    def __init__(self, logits_bytes: int = 0, answer_s: float = 0.0) -> None:
        self.frames: dict[str, list[edge_pb2.ActivationFrame]] = {}
        self.arrived_ns: dict[str, list[int]] = {}
        self.rows: list[edge_pb2.CacheRows] = []
        self.ended: list[str] = []
        self.logits = bytes(logits_bytes)
        self.answer_s = answer_s

    async def Infer(  # noqa: N802
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: Any
    ) -> AsyncIterator[edge_pb2.InferResponse]:
        first = await anext(requests)
        session_id = first.open.session_id
        if first.open.ue_id == "refused":
            raise StaleCacheError("rows: the edge says no")
        frames = self.frames.setdefault(session_id, [])
        arrived_ns = self.arrived_ns.setdefault(session_id, [])
        opened = edge_pb2.SessionOpened(session_id=session_id, credits=8)
        try:
            yield edge_pb2.InferResponse(opened=opened)
            async for request in requests:
                arrived_ns.append(time.monotonic_ns())
                frames.append(request.frame)
                await asyncio.sleep(self.answer_s)
                header = request.frame.header
                result = edge_pb2.InferenceResult(
                    session_id=session_id,
                    sequence=header.sequence,
                    window=header.window,
                    position=header.position,
                    token_count=header.token_count,
                    logits=self.logits,
                    uplink=header.channel,
                )
                yield edge_pb2.InferResponse(result=result)
        finally:
            self.ended.append(session_id)

    async def PushCache(  # noqa: N802
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: Any
    ) -> edge_pb2.PushCacheResponse:
        taken = 0
        async for rows in requests:
            self.rows.append(rows)
            taken += len(rows.key) + len(rows.value)
        return edge_pb2.PushCacheResponse(bytes=taken)

    async def PullCache(  # noqa: N802
        self, request: edge_pb2.PullCacheRequest, context: Any
    ) -> AsyncIterator[edge_pb2.CacheRows]:
        for rows in self.rows:
            yield rows

    async def DescribeEdge(  # noqa: N802
        self, request: edge_pb2.DescribeEdgeRequest, context: Any
    ) -> edge_pb2.EdgeDescription:
        return edge_pb2.EdgeDescription(sessions=3)


class Bench:
    """An emulator in front of an edge, and a client of it."""

    def __init__(self, emulator: EmulatorProcess, address: str, edge_address: str) -> None:
        self.emulator = emulator.emulator
        self.address = address
        self.edge_address = edge_address
        self._connection = rpc.connect_aio(address)
        self.edge = edge_pb2_grpc.EdgeStub(self._connection)
        self.channel = channel_pb2_grpc.ChannelStub(self._connection)

    async def close(self) -> None:
        await self._connection.close(None)


@asynccontextmanager
async def bench(
    spec: str,
    edge: EchoEdge | None = None,
    edge_address: str | None = None,
    controller: str | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Bench]:
    """An emulator with channel `spec` in front of `edge`, or of whatever is at `edge_address`."""

    def register(server: Any) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(edge, server)
        return ["airsplit.v1.Edge"]

    servers = []
    if edge is not None:
        server, edge_address = await serving.start_server(
            serving.Service("edge server", register), "127.0.0.1:0"
        )
        servers.append(server)
    assert edge_address is not None
    start = parse_start(spec)
    process = EmulatorProcess(start.config, [edge_address], controller, limits, start.scenario)
    service = process.service()
    server, address = await serving.start_server(service, "127.0.0.1:0")
    servers.append(server)
    assert service.start is not None
    await service.start(address)
    found = Bench(process, address, edge_address)
    try:
        yield found
    finally:
        await found.close()
        for server in reversed(servers):
            await server.stop(0)
        assert service.stop is not None
        await service.stop()


class Client:
    """A UE's end of one session."""

    def __init__(self, call: Any, session_id: str) -> None:
        self.call = call
        self.session_id = session_id
        self.sequence = 0
        self.sent = 0

    @classmethod
    async def open(cls, stub: Any, stream: int = 5, ue_id: str = "ue", **options: Any) -> Client:
        session_id = uuid.uuid4().hex
        call = stub.Infer(**options)
        opening = edge_pb2.OpenSession(session_id=session_id, ue_id=ue_id, stream=stream)
        await call.write(edge_pb2.InferRequest(open=opening))
        client = cls(call, session_id)
        response = await client.read()
        assert response.opened.session_id == session_id
        return client

    async def read(self) -> edge_pb2.InferResponse:
        """The next answer. Raises AioRpcError where the call failed, EOFError where it ended."""
        response = await self.call.read()
        if response is grpc.aio.EOF:
            raise EOFError
        assert isinstance(response, edge_pb2.InferResponse)
        return response

    def frame(
        self,
        payload: bytes,
        tokens: int,
        hidden: int,
        *,
        dtype: edge_pb2.DType = edge_pb2.DTYPE_FLOAT32,
        window: int = 0,
    ) -> edge_pb2.ActivationFrame:
        assert len(payload) == tokens * hidden * ITEM_BYTES[dtype]
        header = edge_pb2.FrameHeader(
            session_id=self.session_id,
            split_version=1,
            sequence=self.sequence,
            split=2,
            window=window,
            position=self.sent,
            token_count=tokens,
            task=edge_pb2.TASK_PREFILL,
            dtype=dtype,
            shape=[tokens, hidden],
            stream_offset=self.sent,
        )
        self.sequence += 1
        self.sent += tokens
        return edge_pb2.ActivationFrame(header=header, payload=payload)

    async def send(self, frame: edge_pb2.ActivationFrame) -> None:
        await self.call.write(edge_pb2.InferRequest(frame=frame))

    async def exchange(self, frame: edge_pb2.ActivationFrame) -> edge_pb2.InferenceResult:
        await self.send(frame)
        return (await self.read()).result

    async def close(self) -> None:
        """Ends the session as a UE does; returns when the edge has ended it too."""
        await self.call.done_writing()
        assert await self.call.read() is grpc.aio.EOF


def activations(tokens: int, hidden: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 2, (tokens, hidden)).astype(np.float32)


def run(coroutine: Any) -> Any:
    """Runs a test on the event loop that the services use, and finds what it leaves behind."""

    async def checked() -> Any:
        result = await coroutine
        await asyncio.sleep(0.02)
        left = [task for task in asyncio.all_tasks() if "channel_emulator" in repr(task)]
        assert not left, f"tasks left behind: {left}"
        return result

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(checked())


@contextmanager
def process(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of ours; yields it and the address in its first line."""
    child = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child, json.loads(child.stdout.readline())["listening"]
    finally:
        child.kill()
        child.communicate()


def echo_process() -> Any:
    return process(ECHO, "127.0.0.1:0")


def emulator_process(spec: str, edge_address: str, *flags: str) -> Any:
    command = ["-m", "channel_emulator", "--listen", "127.0.0.1:0", "--edge", edge_address]
    return process(*command, "--channel", spec, *flags)


async def until(condition: Callable[[], object], timeout_s: float = 5) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (the condition is another process's)
            await asyncio.sleep(0.005)


def main() -> None:
    """Serves an `EchoEdge` as a process, for tests that kill it."""

    def register(server: Any) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(EchoEdge(), server)
        return ["airsplit.v1.Edge"]

    asyncio.run(serving.serve(serving.Service("edge server", register), sys.argv[1]))


if __name__ == "__main__":
    main()
