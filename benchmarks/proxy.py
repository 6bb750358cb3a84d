"""What the emulator adds to one 8 KiB frame when it impairs nothing, against a payload-blind proxy.

The blind proxy forwards the bytes of messages without parsing them: the least that a gRPC proxy in
Python can do. Round trips to the same echo edge, direct, through the blind proxy and through the
emulator in `ideal`, in alternating blocks of one run. Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Callable
from multiprocessing.connection import Connection
from typing import Any

import grpc
import uvloop

from airsplit.rpc import CHANNEL_OPTIONS
from airsplit.serving import Service, start_server
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from experiments.stack import Stack
from ue_client.link import Link

HIDDEN, TOKENS = 4096, 1  # fp16: 8 KiB


class EchoEdge(edge_pb2_grpc.EdgeServicer):
    """Answers every frame at once with a sampled token."""

    async def Infer(self, requests: Any, context: Any) -> Any:  # noqa: N802
        async for request in requests:
            if request.HasField("open"):
                opened = edge_pb2.SessionOpened(
                    session_id=request.open.session_id,
                    edge_layers=edge_pb2.Layers(start=0, stop=32),
                    credits=4,
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


def blind(target: str) -> grpc.GenericRpcHandler:
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


def _edge(pipe: Connection) -> None:
    def register(server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(EchoEdge(), server)
        return ["airsplit.v1.Edge"]

    uvloop.run(_serve(register, pipe))


def _blind(pipe: Connection, target: str) -> None:
    def register(server: grpc.aio.Server) -> list[str]:
        server.add_generic_rpc_handlers((blind(target),))
        return ["airsplit.v1.Edge"]

    uvloop.run(_serve(register, pipe))


def start(target: Callable[..., None], *args: str) -> tuple[multiprocessing.Process, str]:
    """A server in a process of its own, and its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *args), daemon=True)
    process.start()
    return process, str(ours.recv())  # type: ignore[return-value]


class Prober:
    """One session that sends a decode frame and waits for its answer."""

    def __init__(self, address: str) -> None:
        self._link = Link.__new__(Link)  # no emulator to ask: the echo edge has no such service
        self._link.address, self._link.peer, self._link.deadline_s = address, "proxy", 10.0
        self._link._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._link._edge = edge_pb2_grpc.EdgeStub(self._link._channel)
        request = edge_pb2.OpenSession(session_id="0" * 32, split=1, max_context=1 << 20)
        self._stream, _ = self._link.open(request)
        self._sequence = 0

    def round_trip_us(self) -> float:
        frame = edge_pb2.ActivationFrame(payload=b"\0" * (HIDDEN * TOKENS * 2))
        frame.header.MergeFrom(
            edge_pb2.FrameHeader(
                session_id="0" * 32,
                split_version=1,
                sequence=self._sequence,
                split=1,
                position=self._sequence,
                token_count=TOKENS,
                task=edge_pb2.TASK_SAMPLE,
                dtype=edge_pb2.DTYPE_FLOAT16,
                shape=[TOKENS, HIDDEN],
                stream_offset=self._sequence,
            )
        )
        self._sequence += 1
        started = time.perf_counter()
        self._stream.send(edge_pb2.InferRequest(frame=frame))
        self._stream.receive()
        return (time.perf_counter() - started) * 1e6

    def close(self) -> None:
        self._stream.close()
        self._link.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="a block (default 200)")
    parser.add_argument("--blocks", type=int, default=15, help="blocks of each (default 15)")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args()
    edge, edge_address = start(_edge)
    proxy, blind_address = start(_blind, edge_address)
    with Stack() as stack:
        emulator = stack.launch("emulator", "channel_emulator", ["--edge", edge_address])
        emulator.wait_listening()
        probers = {
            "direct": Prober(edge_address),
            "blind": Prober(blind_address),
            "ideal": Prober(emulator.address),
        }
        medians: dict[str, list[float]] = {name: [] for name in probers}
        for block in range(args.blocks + 1):
            for name, prober in probers.items():
                times = [prober.round_trip_us() for _ in range(args.frames)]
                if block:  # the first one warms up
                    medians[name].append(statistics.median(times))
        for prober in probers.values():
            prober.close()
    for process in (proxy, edge):
        process.kill()
    round_trip = {name: statistics.median(values) for name, values in medians.items()}
    added = {name: round_trip[name] - round_trip["direct"] for name in ("blind", "ideal")}
    print(
        json.dumps(
            {
                "round_trip_us": {k: round(v, 1) for k, v in round_trip.items()},
                "added_us": {k: round(v, 1) for k, v in added.items()},
                "ratio": round(added["ideal"] / added["blind"], 3),
                "payload_bytes": HIDDEN * TOKENS * 2,
                "frames": args.frames,
                "blocks": args.blocks,
            }
        )
    )


if __name__ == "__main__":
    main()
