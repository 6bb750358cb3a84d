"""Whether the emulator delivers when it should. Prints one JSON object.

How late a frame comes, in milliseconds beyond the time that is accounted for:

- `lane`: at a lane of the emulator by itself, from a message's due time to its write, with some
  hundred sessions on one event loop; and what that costs of a core;
- `socket`: of one session through an emulator that is a process of its own, from the UE's write to
  the edge's receipt, less the queue, airtime and delay that are reported; its delay jitters and its
  rate is limited;
- `calibrated`: the same with the median of `socket` as the emulator's --transport-ms: gRPC and the
  emulator are then part of the channel's time, and not on top of it; `absolute` is of the same
  figures without their sign;
- `socket_ideal`: the same as `socket` without any delay: what gRPC and the emulator take;
- `hop`: one hop of the same frames, at the pace of `socket`, with no emulator. Between paced frames
  cores fall asleep, and to wake one takes its time at each hop. The emulator's way is two.

`link` compares what was configured with what is measured at both ends: the rate at which frames
arrive that are sent at once; and of the frames of `socket` the mean delay beyond the airtime, and
the jitter, its standard deviation. `error_ms` is a frame's own: how much later it came than the
first one and the rate say, or than is accounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import numpy as np
import uvloop

from airsplit import rpc, serving
from airsplit.clock import Clock, PreciseClock, SystemClock
from airsplit.v1 import channel_pb2, channel_pb2_grpc, edge_pb2, edge_pb2_grpc
from channel_emulator.lane import Lane

CLOCKS: dict[str, type[SystemClock]] = {"precise": PreciseClock, "event loop": SystemClock}
TOKENS, HIDDEN = 1, 4096
FRAME_BYTES = 2 * TOKENS * HIDDEN  # fp16: 8 KiB

PACED = {"rate_mbps": 50.0, "delay_ms": 8.0, "jitter_ms": 2.0}
FLOODED = {"rate_mbps": 50.0, "delay_ms": 0.0, "jitter_ms": 0.0}


def airtime_ms(knobs: Mapping[str, float]) -> float:
    """Of one frame."""
    return FRAME_BYTES * 8 / knobs["rate_mbps"] / 1e3


def percentiles(late_ms: Sequence[float]) -> dict[str, float]:
    levels = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    found = {name: round(float(np.percentile(late_ms, q)), 4) for name, q in levels.items()}
    return {"frames": len(late_ms), **found}


async def _one_lane(clock: Clock, seed: int, interval_s: float, duration_s: float) -> list[float]:
    """Messages at random due times; how late each is written."""
    late_ms: list[float] = []

    async def write(due_ns: int) -> None:
        late_ms.append((clock.now_ns() - due_ns) / 1e6)

    lane, rng = Lane(write, clock), random.Random(seed)  # noqa: S311
    due_ns = clock.now_ns()
    end_ns = due_ns + round(duration_s * 1e9)
    while due_ns < end_ns:
        due_ns += round(rng.uniform(0.2, 1.8) * interval_s * 1e9)
        await lane.send(due_ns, due_ns)
        await clock.sleep_until(due_ns - round(0.1 * interval_s * 1e9))
    await lane.drain()
    return late_ms


async def lanes(clock_name: str, sessions: int, interval_s: float, duration_s: float) -> Any:
    clock = CLOCKS[clock_name]()
    busy_s = time.process_time()
    found = await asyncio.gather(
        *(_one_lane(clock, seed, interval_s, duration_s) for seed in range(sessions))
    )
    busy_s = time.process_time() - busy_s
    late_ms = [late for one in found for late in one]
    return {"sessions": sessions, "core": round(busy_s / duration_s, 3), **percentiles(late_ms)}


class _Edge(edge_pb2_grpc.EdgeServicer):
    """Answers with the frame's report and notes when it came."""

    def __init__(self) -> None:
        self.arrived_ns: list[int] = []

    async def Infer(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for request in requests:
            if request.HasField("open"):
                opened = edge_pb2.SessionOpened(session_id=request.open.session_id, credits=4)
                yield edge_pb2.InferResponse(opened=opened)
                continue
            self.arrived_ns.append(time.monotonic_ns())
            result = edge_pb2.InferenceResult(uplink=request.frame.header.channel)
            yield edge_pb2.InferResponse(result=result)


def _frame(session_id: str, number: int) -> edge_pb2.InferRequest:
    header = edge_pb2.FrameHeader(
        session_id=session_id,
        split_version=1,
        sequence=number,
        position=number,
        stream_offset=number,
        token_count=TOKENS,
        task=edge_pb2.TASK_PREFILL,
        dtype=edge_pb2.DTYPE_FLOAT16,
        shape=[TOKENS, HIDDEN],
    )
    payload = bytes(FRAME_BYTES)
    return edge_pb2.InferRequest(frame=edge_pb2.ActivationFrame(header=header, payload=payload))


class Times(NamedTuple):
    """Of the frames of one session, in milliseconds."""

    took: list[float]
    """From the UE's write to the edge's receipt."""

    accounted: list[float]
    """By the emulator's reports."""

    arrived: list[float]
    """At the edge."""

    @property
    def late(self) -> list[float]:
        return [took - said for took, said in zip(self.took, self.accounted, strict=True)]


class Sockets(NamedTuple):
    """One session each."""

    ideal: Times
    paced: Times
    flooded: Times
    hop: Times
    calibrated: Times
    transport_ms: float
    """Of `calibrated`."""


async def sockets(frames: int) -> Sockets:
    """Through a real emulator without delay, PACED and FLOODED, past it, and calibrated."""
    edge = _Edge()  # type: ignore[abstract]

    def register(server: Any) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(edge, server)
        return ["airsplit.v1.Edge"]

    service = serving.Service("bench", register)
    server, edge_address = await serving.start_server(service, "127.0.0.1:0")
    pause_s = (airtime_ms(PACED) + 2 * PACED["delay_ms"]) / 1e3  # there, and its answer back
    try:
        async with _emulator(edge_address) as address:
            ideal = await _through(address, edge, frames, {})
            paced = await _through(address, edge, frames, PACED)
            flooded = await _through(address, edge, frames, FLOODED, at_once=True)
        hop = await _through(edge_address, edge, frames, {}, pause_s)
        transport_ms = round(max(float(np.median(paced.late)), 0.0), 4)
        async with _emulator(edge_address, transport_ms) as address:
            await _through(address, edge, frames, {})  # as warm as the other one was
            calibrated = await _through(address, edge, frames, PACED)
    finally:
        await server.stop(0)
    return Sockets(ideal, paced, flooded, hop, calibrated, transport_ms)


@asynccontextmanager
async def _emulator(edge_address: str, transport_ms: float = 0.0) -> AsyncIterator[str]:
    """A process of its own; yields its address."""
    command = ["-m", "channel_emulator", "--listen", "127.0.0.1:0", "--edge", edge_address]
    emulator = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--transport-ms", str(transport_ms)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        first_line = await emulator.stdout.readline()  # type: ignore[union-attr]
        yield json.loads(first_line)["listening"]
    finally:
        emulator.terminate()
        await emulator.wait()


async def _through(
    address: str,
    edge: _Edge,
    frames: int,
    knobs: Mapping[str, float],
    pause_s: float = 0.0,
    at_once: bool = False,
) -> Times:
    """Sends each frame a pause after the answer to the one before it, or all of them at once."""
    edge.arrived_ns.clear()
    async with rpc.connect_aio(address) as connection:
        if knobs:
            config = channel_pb2.ChannelConfig(**knobs)  # type: ignore[arg-type]
            request = channel_pb2.ConfigureChannelRequest(config=config)
            await channel_pb2_grpc.ChannelStub(connection).ConfigureChannel(request)
        stub: Any = edge_pb2_grpc.EdgeStub(connection)
        call = stub.Infer()
        await call.write(edge_pb2.InferRequest(open=edge_pb2.OpenSession(session_id="0" * 32)))
        await call.read()
        sent_ns: list[int] = []
        answered = asyncio.Semaphore(frames if at_once else 1)

        async def send() -> None:
            for number in range(frames):
                await answered.acquire()
                await asyncio.sleep(pause_s)
                sent_ns.append(time.monotonic_ns())
                await call.write(_frame("0" * 32, number))

        sending, reports = asyncio.create_task(send()), []
        for _ in range(frames):
            reports.append((await call.read()).result.uplink)
            answered.release()
        await sending
        await call.done_writing()
        await call.read()
    took_ms = (np.array(edge.arrived_ns) - np.array(sent_ns)) / 1e6
    said_ms = [(r.queue_ns + r.airtime_ns + r.delay_ns) / 1e6 for r in reports]
    return Times(took_ms.tolist(), said_ms, (np.array(edge.arrived_ns) / 1e6).tolist())


def link(paced: Times, flooded: Times) -> dict[str, Any]:
    """What was configured against what was measured."""
    delay = {**delay_and_jitter(paced), "error_ms": percentiles(paced.late)}
    return {"rate": rate(flooded), "delay": delay}


def rate(flooded: Times) -> dict[str, Any]:
    since_ms = np.array(flooded.arrived) - flooded.arrived[0]
    due_ms = np.arange(len(since_ms)) * airtime_ms(FLOODED)
    rate_mbps = FRAME_BYTES * 8 * (len(since_ms) - 1) / since_ms[-1] / 1e3
    error_ms = percentiles((since_ms - due_ms).tolist())
    return {**_compared(FLOODED, rate_mbps=rate_mbps), "error_ms": error_ms}


def delay_and_jitter(paced: Times) -> dict[str, Any]:
    delay_ms = np.array(paced.took) - airtime_ms(PACED)
    return _compared(PACED, delay_ms=delay_ms.mean(), jitter_ms=delay_ms.std())


def _compared(configured: Mapping[str, float], **measured: float) -> dict[str, Any]:
    return {
        name: {"configured": configured[name], "measured": round(float(value), 3)}
        for name, value in measured.items()
    }


def measure(sessions: int = 300, seconds: float = 3, frames: int = 500) -> dict[str, Any]:
    """The JSON object that this program prints."""
    found = uvloop.run(sockets(frames))
    calibrated = found.calibrated
    return {
        "lane": {name: uvloop.run(lanes(name, sessions, 0.1, seconds)) for name in CLOCKS},
        "socket_ideal": percentiles(found.ideal.late),
        "socket": percentiles(found.paced.late),
        "calibrated": {
            "transport_ms": found.transport_ms,
            **percentiles(calibrated.late),
            "absolute": percentiles([abs(late) for late in calibrated.late]),
            **delay_and_jitter(calibrated),
        },
        "hop": percentiles(found.hop.late),
        "link": link(found.paced, found.flooded),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=300, help="of `lane` (default 300)")
    parser.add_argument("--seconds", type=float, default=3, help="of `lane` (default 3)")
    parser.add_argument("--frames", type=int, default=500, help="of `socket` (default 500)")
    args = parser.parse_args()
    print(json.dumps(measure(args.sessions, args.seconds, args.frames), indent=2))


if __name__ == "__main__":
    main()
