"""Delivery of what a link has scheduled, on virtual time; and the clock that paces it."""

import asyncio

import numpy as np
import pytest

from airsplit.clock import PreciseClock, VirtualClock
from airsplit.v1 import edge_pb2
from channel_emulator.lane import MAX_WAITING_BYTES, MESSAGE_BYTES, Lane
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Timeline
from tests.channel_replay import message

MS = 1_000_000


class Wire:
    """Notes what is written when."""

    def __init__(self, clock):
        self.clock = clock
        self.written = []

    async def write(self, message):
        self.written.append((message, self.clock.now_ns()))


def test_a_lane_delivers_in_order_and_on_time():
    async def scenario():
        clock = VirtualClock()
        wire = Wire(clock)
        lane = Lane(wire.write, clock)
        for number, due_ns in enumerate([0, 5 * MS, 5 * MS, 9 * MS]):
            await lane.send(number, due_ns)
        await lane.drain()
        await lane.send(4, 7 * MS)  # late already: at once
        assert wire.written == [(0, 0), (1, 5 * MS), (2, 5 * MS), (3, 9 * MS), (4, 9 * MS)]

    asyncio.run(scenario())


def test_a_message_that_is_due_does_not_overtake_one_that_waits():
    async def scenario():
        clock = VirtualClock()
        wire = Wire(clock)
        lane = Lane(wire.write, clock)
        await lane.send("waits", 5 * MS)
        await lane.send("due", 0)
        await lane.drain()
        assert [message for message, _ in wire.written] == ["waits", "due"]

    asyncio.run(scenario())


class LateClock(VirtualClock):
    """Each sleep ends up to 0.8 ms late, as on a machine that is busy."""

    def __init__(self, seed):
        super().__init__()
        self.random = np.random.default_rng(seed)

    async def sleep_until(self, deadline_ns):
        if deadline_ns > self.now_ns():
            await super().sleep_until(deadline_ns + int(self.random.integers(800_000)))


@pytest.mark.parametrize("jitter", ["normal", "uniform", "exponential"])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("is_late", [False, True])
def test_frames_arrive_when_their_reports_say(jitter, seed, is_late):
    """The 99th percentile of what is beyond queue, airtime and delay is within 1 ms: nothing where
    sleeps are exact, and where they are not, their error does not add up over 1500 frames."""
    clock = LateClock(seed) if is_late else VirtualClock()
    spec = f"ideal,rate_mbps=8,delay_ms=20,jitter_ms=3,jitter_distribution={jitter},seed={seed}"
    session = Session(edge_pb2.OpenSession(session_id="s", stream=seed), clock)
    timeline, wire = Timeline.of(parse_channel(spec)), Wire(clock)

    async def scenario():
        lane, frames, arrival_ns = Lane(wire.write, clock), [], 0
        for number in range(1500):
            frame = message(np.zeros((1, 512), np.float32), number, number)  # 1.024 ms on the air
            due_ns = session.carry_frame(frame, timeline, arrival_ns)
            await lane.send(number, due_ns)
            report = frame.header.channel
            accounted_ns = report.queue_ns + report.airtime_ns + report.delay_ns
            frames.append((arrival_ns, accounted_ns))
            arrival_ns += int(arrivals.integers(2 * MS))
        await lane.drain()
        return np.array(frames)

    arrivals = np.random.default_rng(seed)
    arrived_ns, accounted_ns = asyncio.run(scenario()).T
    numbers, written_ns = np.array(wire.written).T
    assert numbers.tolist() == list(range(1500))
    late_ns = written_ns - arrived_ns - accounted_ns
    assert late_ns.min() >= 0
    assert np.percentile(late_ns, 99) < MS
    assert is_late == bool(late_ns.any())


@pytest.mark.parametrize(
    ("n_bytes", "limit_bytes", "taken"),
    [
        (1000, 3 * (1000 + MESSAGE_BYTES), 3),
        (1000, 3 * (1000 + MESSAGE_BYTES) + 2000, 3),
        (0, MAX_WAITING_BYTES, MAX_WAITING_BYTES // MESSAGE_BYTES),
        (1 << 20, 1, 1),  # one alone always may wait
    ],
)
def test_a_full_lane_makes_its_sender_wait(n_bytes, limit_bytes, taken):
    async def scenario():
        clock = VirtualClock()
        gate = asyncio.Event()
        written = []

        async def write(message):
            await gate.wait()
            written.append(message)

        lane = Lane(write, clock)
        for number in range(taken):
            async with asyncio.timeout(1):
                await lane.send(number, MS, n_bytes, limit_bytes)
        late = asyncio.create_task(lane.send(taken, MS, n_bytes, limit_bytes))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not late.done()
        gate.set()
        await late
        await lane.drain()
        assert written == list(range(taken + 1))
        gate.clear()
        async with asyncio.timeout(1):  # and all of its room is free again
            for number in range(taken):
                await lane.send(number, clock.now_ns() + MS, n_bytes, limit_bytes)
        lane.cancel()

    asyncio.run(scenario())


def test_a_lane_that_fails_tells_everyone():
    async def scenario():
        clock = VirtualClock()

        async def write(message):
            raise ConnectionError("gone")

        lane = Lane(write, clock)
        await lane.send(0, MS, limit_bytes=1)
        with pytest.raises(ConnectionError):
            await lane.send(1, MS, limit_bytes=1)
        with pytest.raises(ConnectionError):
            await lane.drain()

    asyncio.run(scenario())


def test_a_cancelled_lane_delivers_nothing_more():
    async def scenario():
        clock = VirtualClock()
        wire = Wire(clock)
        lane = Lane(wire.write, clock)
        await lane.send(0, MS)
        lane.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.written == []

    asyncio.run(scenario())


def test_a_precise_sleep_is_never_short_and_ends_in_order():
    async def scenario():
        clock, woken = PreciseClock(), []
        start_ns = clock.now_ns()

        async def sleep(due_ns):
            await clock.sleep_until(due_ns)
            assert clock.now_ns() >= due_ns
            woken.append(due_ns)

        dues_ns = [start_ns + us * 1000 for us in (1700, -5, 300, 4200, 300, 900, 2100, 12_000)]
        await asyncio.gather(*map(sleep, dues_ns))
        assert woken == sorted(dues_ns)

    asyncio.run(scenario())


def test_a_precise_sleep_that_is_cancelled_holds_up_no_other():
    async def scenario():
        clock = PreciseClock()
        start_ns = clock.now_ns()
        early = asyncio.create_task(clock.sleep_until(start_ns + MS // 2))
        late = asyncio.create_task(clock.sleep_until(start_ns + MS))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        early.cancel()
        async with asyncio.timeout(5):
            await late
        async with asyncio.timeout(5):
            await clock.sleep_until(clock.now_ns() + MS)

    asyncio.run(scenario())
