"""Time on the link and its delivery, on computed and on virtual time."""

import asyncio

import numpy as np
import pytest
from scipy import stats

from airsplit.clock import VirtualClock
from channel_emulator import link
from channel_emulator.config import parse_channel
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.lane import Lane
from channel_emulator.radio import Radio

MS = 1_000_000


def test_a_message_waits_for_those_before_it():
    one = link.Link()
    first = one.carry(arrival_ns=10 * MS, airtime_ns=4 * MS, delay_ns=5 * MS)
    second = one.carry(arrival_ns=11 * MS, airtime_ns=4 * MS, delay_ns=5 * MS)
    third = one.carry(arrival_ns=30 * MS, airtime_ns=4 * MS, delay_ns=5 * MS)
    assert [p.queue_ns for p in (first, second, third)] == [0, 3 * MS, 0]
    assert [p.due_ns for p in (first, second, third)] == [19 * MS, 23 * MS, 39 * MS]


def test_a_shorter_delay_does_not_overtake():
    one = link.Link()
    slow = one.carry(arrival_ns=0, airtime_ns=MS, delay_ns=50 * MS)
    quick = one.carry(arrival_ns=0, airtime_ns=MS, delay_ns=1 * MS)
    assert quick.due_ns == slow.due_ns
    assert quick.delay_ns == 49 * MS  # what it really took after its airtime


def test_the_parts_add_up():
    one, rng = link.Link(), np.random.default_rng(3)
    arrival_ns, due_before = 0, 0
    for _ in range(200):
        arrival_ns += int(rng.integers(0, 5 * MS))
        passage = one.carry(arrival_ns, int(rng.integers(0, 4 * MS)), int(rng.integers(0, 9 * MS)))
        parts = passage.queue_ns + passage.airtime_ns + passage.delay_ns
        assert arrival_ns + parts == passage.due_ns
        assert passage.due_ns >= due_before
        due_before = passage.due_ns


def received_of(spec, tokens=4, hidden=100):
    config = parse_channel(spec)
    radio, values = Radio(config), np.ones((tokens, hidden), np.float32)
    times_ns = radio.replay_times_ns(0, tokens)
    return config, radio.transmit(values, stream=1, window=0, position=0, times_ns=times_ns)


def test_airtime_is_bits_over_rate():
    config, received = received_of("awgn,rate_mbps=8")
    assert link.frame_airtime_ns(config, 8192, received) == 8192 * 1000
    assert link.reliable_airtime_ns(config, 8192) == 8192 * 1000
    assert link.reliable_airtime_ns(parse_channel("ideal"), 8192) == 0


def test_a_repeated_token_is_on_the_air_again():
    config, received = received_of("physical,fading=none,snr_db=0,outage_snr_db=5,rate_mbps=8")
    assert received.transmissions.tolist() == [4, 4, 4, 4]
    assert received.erased is None  # 4 copies at 0 dB make 6 dB
    assert link.frame_airtime_ns(config, 8192, received) == 4 * 8192 * 1000


def test_airtime_follows_the_rate_of_the_fade():
    config, received = received_of("physical,bandwidth_mhz=1,coherence_ms=10,outage_snr_db=-20")
    assert received.rate_bps is not None
    expected = sum(2048 * 8 / rate for rate in received.rate_bps)
    assert link.frame_airtime_ns(config, 8192, received) == pytest.approx(expected * 1e9, abs=1)


def test_what_is_not_damaged_goes_at_the_rate_of_the_mean():
    config = parse_channel("physical,bandwidth_mhz=1,snr_db=20,omega=1")
    seconds = 8192 * 8 / (1e6 * np.log2(101))
    assert link.reliable_airtime_ns(config, 8192) == pytest.approx(seconds * 1e9, abs=1)
    absolute = parse_channel("physical,bandwidth_mhz=1,sigma=0.1,omega=1")
    assert link.reliable_airtime_ns(absolute, 8192) == pytest.approx(seconds * 1e9, abs=1)
    silent = parse_channel("physical,sigma=1e-300")
    assert link.reliable_airtime_ns(silent, 8192) == 0
    poor = parse_channel("physical,bandwidth_mhz=1,snr_db=-30,outage_snr_db=0")
    assert link.reliable_airtime_ns(poor, 1000) == 8_000_000


def delays_ms(spec, count=4000):
    config, draws = parse_channel(spec), Draws(0, 1, Direction.UPLINK)
    keys = range(count)
    return np.array([link.delay_ns(config, draws, Purpose.JITTER, 0, k) / MS for k in keys])


def test_delay_without_jitter_is_constant():
    assert set(delays_ms("ideal,delay_ms=7.5", 10)) == {7.5}


@pytest.mark.parametrize(("delay", "jitter"), [(20, 2), (1, 3), (0, 5)])
def test_jitter_is_a_truncated_normal(delay, jitter):
    found = delays_ms(f"ideal,delay_ms={delay},jitter_ms={jitter}")
    assert found.min() >= 0
    expected = stats.truncnorm(-delay / jitter, np.inf, loc=delay, scale=jitter)
    assert stats.kstest(found, expected.cdf).pvalue > 0.001


def test_jitter_is_keyed_and_repeats():
    config, draws = parse_channel("ideal,delay_ms=5,jitter_ms=2"), Draws(0, 1, Direction.UPLINK)
    forwards = [link.delay_ns(config, draws, Purpose.JITTER, 0, k) for k in range(5)]
    backwards = [link.delay_ns(config, draws, Purpose.JITTER, 0, k) for k in reversed(range(5))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 5


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


def test_a_full_lane_makes_its_sender_wait():
    async def scenario():
        clock = VirtualClock()
        gate = asyncio.Event()
        written = []

        async def write(message):
            await gate.wait()
            written.append(message)

        lane = Lane(write, clock, max_waiting=3)
        for number in range(3):
            await lane.send(number, MS)
        fourth = asyncio.create_task(lane.send(3, MS))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not fourth.done()
        gate.set()
        await fourth
        await lane.drain()
        assert written == [0, 1, 2, 3]

    asyncio.run(scenario())


def test_a_lane_that_fails_tells_everyone():
    async def scenario():
        clock = VirtualClock()

        async def write(message):
            raise ConnectionError("gone")

        lane = Lane(write, clock, max_waiting=1)
        await lane.send(0, MS)
        with pytest.raises(ConnectionError):
            await lane.send(1, MS)
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
