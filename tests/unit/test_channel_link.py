"""Time on the link, on computed times: schedules, airtimes, delays."""

import math

import numpy as np
import pytest
from scipy import stats

from channel_emulator import airtime, delay
from channel_emulator.airtime import Load
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.link import Airway, Instant, Link
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.rate_trace import RateTrace
from channel_emulator.spec import parse_channel

MS = 1_000_000
UP, DOWN = Direction.UPLINK, Direction.DOWNLINK


def at(now_ns):
    """On the air at once: wall and channel time agree."""
    return Instant(now_ns, now_ns)


def load(airtime_ns, n_bytes=0):
    return Load(n_bytes, n_bytes * 8, airtime_ns)


def test_a_message_waits_for_those_before_it():
    one = Link()
    first = one.carry(at(10 * MS), load(4 * MS), delay_ns=5 * MS)
    second = one.carry(at(11 * MS), load(4 * MS), delay_ns=5 * MS)
    third = one.carry(at(30 * MS), load(4 * MS), delay_ns=5 * MS)
    assert [p.queue_ns for p in (first, second, third)] == [0, 3 * MS, 0]
    assert [p.due_ns for p in (first, second, third)] == [19 * MS, 23 * MS, 39 * MS]


def test_what_has_no_airtime_waits_as_well():
    way = Airway()
    assert way.occupy(0, 0, 100) == 0
    assert way.waiting_bytes(0) == 0  # nothing was before it
    way.occupy(0, 10, 200)
    assert way.occupy(5, 0, 300) == 10
    assert [way.waiting_bytes(t) for t in (5, 9, 10)] == [500, 500, 0]


def test_a_shorter_delay_does_not_overtake():
    one = Link()
    slow = one.carry(at(0), load(MS), delay_ns=50 * MS)
    quick = one.carry(at(0), load(MS), delay_ns=1 * MS)
    assert quick.due_ns == slow.due_ns
    assert quick.delay_ns == 49 * MS  # what it really took after its airtime
    dropped = one.skip(wall_ns=MS, delay_ns=MS)
    assert (dropped.due_ns, dropped.delay_ns, dropped.airtime_ns) == (slow.due_ns, 50 * MS, 0)


def test_the_parts_add_up():
    one, rng = Link(), np.random.default_rng(3)
    arrival_ns, due_before = 0, 0
    for _ in range(200):
        arrival_ns += int(rng.integers(0, 5 * MS))
        passage = one.carry(
            at(arrival_ns), load(int(rng.integers(0, 4 * MS))), int(rng.integers(0, 9 * MS))
        )
        parts = passage.queue_ns + passage.airtime_ns + passage.delay_ns
        assert arrival_ns + parts == passage.due_ns
        assert passage.due_ns >= due_before
        due_before = passage.due_ns


def test_what_waits_is_what_is_not_through():
    way = Airway()
    for n_bytes in (100, 200, 300):
        way.occupy(0, 10, n_bytes)
    assert [way.waiting_bytes(t) for t in (0, 9, 10, 20, 29, 30)] == [600, 600, 500, 300, 300, 0]


def test_room_is_when_enough_is_through():
    way = Airway()
    for n_bytes in (100, 200, 300):
        way.occupy(0, 10, n_bytes)
    assert way.room_ns(0, 100, limit_bytes=700) == 0
    assert way.room_ns(0, 101, limit_bytes=700) == 10
    assert way.room_ns(0, 301, limit_bytes=700) == 20
    assert way.room_ns(5, 10_000, limit_bytes=700) == 30
    assert Airway().room_ns(5, 10_000, limit_bytes=1) == 5  # alone


def test_a_long_queue_takes_bounded_memory():
    way = Airway()
    for _ in range(20_000):
        way.occupy(0, 10, 7)
    assert len(way._waiting) <= 4096
    assert way.waiting_bytes(0) == 140_000
    assert way.waiting_bytes(199_999) > 0
    assert way.waiting_bytes(200_000) == 0


def test_the_schedule_decides_and_the_wall_paces():
    """A UE whose frames come late still finds the queue that their radio times make."""
    one = Link()
    for number in range(3):
        wall_ns, channel_ns = number * 1000 * MS, number * MS
        passage = one.carry(Instant(wall_ns, channel_ns), load(10 * MS, 1000), delay_ns=0)
        assert passage.queue_ns == 0
    full = Instant(5000 * MS, 3 * MS)
    assert one.is_full(full, 1000, limit_bytes=3999)
    assert not one.is_full(full, 1000, limit_bytes=4000)
    assert one.room_ns(5000 * MS, 1000, limit_bytes=1000) == 5000 * MS


def test_channel_time_that_is_set_takes_the_queue_along():
    one = Link()
    one.carry(Instant(0, 100 * MS), load(10 * MS, 1000), delay_ns=0)
    one.shift_schedule(-95 * MS)
    assert one.is_full(Instant(0, 14 * MS), 1, limit_bytes=1000)
    assert not one.is_full(Instant(0, 15 * MS), 1, limit_bytes=1000)
    one.carry(Instant(0, 5 * MS), load(10 * MS, 500), delay_ns=0)  # behind the other: until 25 ms
    assert one.is_full(Instant(0, 24 * MS), 1, limit_bytes=500)
    assert not one.is_full(Instant(0, 25 * MS), 1, limit_bytes=500)


def linear_trace():
    """1 Mbit/s for 10 ms, nothing for 10 ms."""
    return RateTrace.of([0, 10 * MS, 20 * MS], [0, 10_000, 10_000], stepwise=False)


def test_a_trace_says_how_long_the_airtime_is():
    one, trace = Link(), linear_trace()
    passages = [one.carry(at(0), load(0, 750), 0, trace) for _ in range(3)]  # 6000 bits each
    assert [p.airtime_ns for p in passages] == [6 * MS, 16 * MS, 6 * MS]
    assert [p.due_ns for p in passages] == [6 * MS, 22 * MS, 28 * MS]
    # What it could have delivered before a message came is lost.
    assert one.carry(at(45 * MS), load(0, 250), 0, trace).airtime_ns == 2 * MS


def test_a_trace_conserves_bytes():
    """Never is more through by a time than the trace gives, and a full queue uses all of it."""
    rng = np.random.default_rng(5)
    time_ns = np.concatenate([[0], np.cumsum(rng.integers(1, 5 * MS, 40))])
    bits = np.concatenate([[0], np.cumsum(rng.integers(0, 20_000, 40))])
    for stepwise in (False, True):
        one, sent = Link(), 0
        trace = RateTrace.of(time_ns.tolist(), bits.tolist(), stepwise=stepwise)
        for _ in range(300):
            n_bytes = int(rng.integers(1, 4000))
            sent += n_bytes * 8
            due_ns = one.carry(at(0), load(0, n_bytes), 0, trace).due_ns
            assert trace.capacity_bits(due_ns) >= sent > trace.capacity_bits(due_ns - 1) - 1


def test_what_is_not_scheduled_is_paced_by_the_same_trace():
    one, trace = Link(), linear_trace()
    rows = one.carry(at(0), load(0, 500), 0, trace, scheduled=False)
    frame = one.carry(at(0), load(0, 500), 0, trace)
    assert (rows.airtime_ns, frame.airtime_ns) == (4 * MS, 4 * MS)
    assert frame.queue_ns == 4 * MS
    assert one.is_full(at(0), 1, 500)
    assert not one.is_full(at(0), 1, 501)


def received_of(spec, tokens=4, hidden=100):
    config = parse_channel(spec)
    values = np.ones((tokens, hidden), np.float32)
    return config, Radio(config).transmit(values, Place.replay(config, tokens, stream=1))


def test_airtime_is_bits_over_rate():
    config, received = received_of("awgn,rate_mbps=8")
    assert airtime.frame_load(config, 8192, received) == Load(8192, 65536, 8192 * 1000)
    assert airtime.plain_load(config, 8192) == Load(8192, 65536, 8192 * 1000)
    for direction in Direction:
        assert airtime.reliable(config, direction).load(8192).airtime_ns == 8192 * 1000
    assert airtime.plain_load(parse_channel("ideal"), 8192).airtime_ns == 0
    assert airtime.reliable(parse_channel("ideal"), UP).load(8192).airtime_ns == 0


def test_a_repeated_token_is_on_the_air_again():
    config, received = received_of("physical,fading=none,snr_db=0,outage_snr_db=5,rate_mbps=8")
    assert received.transmissions.tolist() == [4, 4, 4, 4]
    assert received.erased is None  # 4 copies at 0 dB make 6 dB
    assert airtime.frame_load(config, 8192, received) == Load(8192, 4 * 65536, 4 * 8192 * 1000)
    assert delay.harq_ns(config, received) == 3 * 8 * MS


def test_a_decode_frame_pays_for_each_copy_too():
    spec = "physical,fading=none,snr_db=0,outage_snr_db=5,rate_mbps=8"
    config, received = received_of(spec, tokens=1)
    assert received.transmissions.tolist() == [4]
    assert airtime.frame_load(config, 1000, received) == Load(1000, 4 * 8000, 4 * MS)


def test_airtime_follows_the_rate_of_the_fade():
    config, received = received_of("physical,bandwidth_mhz=1,outage_snr_db=-20")
    assert received.rate_bps is not None
    repeated = received.transmissions * 2048 * 8 / received.rate_bps
    found = airtime.frame_load(config, 8192, received)
    assert found.airtime_ns == pytest.approx(repeated.sum() * 1e9, abs=1)
    assert found.bits == received.transmissions.sum() * 2048 * 8


def test_what_is_not_damaged_goes_at_the_rate_of_the_mean():
    quiet = "physical,bandwidth_mhz=1,h_th=0.001,outage_snr_db=-60,omega=1,"
    seconds = 8192 * 8 / (1e6 * np.log2(101))
    for spec in (quiet + "snr_db=20", quiet + "sigma=0.1"):
        found = airtime.reliable(parse_channel(spec), UP).load(8192)
        assert found.airtime_ns == pytest.approx(seconds * 1e9, rel=1e-5)
    silent = parse_channel("physical,sigma=1e-300")
    assert airtime.reliable(silent, UP).load(8192).airtime_ns == 0
    poor = parse_channel("physical,bandwidth_mhz=1,snr_db=-30,outage_snr_db=0")
    assert airtime.reliable_rate_bps(poor, UP) == pytest.approx(1e6)


def test_a_real_code_is_slower_than_shannon():
    def rate(**changes):
        config = parse_channel("physical,snr_db=20,bandwidth_mhz=10").changed(changes)
        return airtime.reliable_rate_bps(config, UP) / 1e6

    assert rate() == pytest.approx(10 * np.log2(101))
    assert rate(snr_gap_db=10) == pytest.approx(10 * np.log2(11))
    assert rate(bandwidth_efficiency=0.6) == pytest.approx(6 * np.log2(101))
    assert rate(max_efficiency=4.5) == pytest.approx(45)


def test_what_is_not_damaged_is_repeated_until_it_is_there():
    config = parse_channel("nakagami,m=1,target_loss=0.2,loss=0.5,rate_mbps=8")
    found = airtime.reliable(config, UP).load(1000)
    assert found.airtime_ns == pytest.approx(MS / (0.5 * 0.8), rel=1e-9)
    assert found.bits == 20_000
    hopeless = parse_channel("nakagami,h_th=900,rate_mbps=8")
    assert airtime.reliable(hopeless, UP).load(1000).airtime_ns == 1000 * MS


def test_a_rate_of_next_to_nothing_is_bounded():
    config = parse_channel("physical,bandwidth_mhz=0.001,bandwidth_efficiency=1e-300")
    assert airtime.reliable(config, UP).load(1).airtime_ns == 1e15
    config, received = received_of("physical,bandwidth_mhz=0.001,bandwidth_efficiency=1e-300")
    assert airtime.frame_load(config, 1600, received).airtime_ns == 1e15


def test_the_downlink_has_a_rate_and_a_delay_of_its_own():
    config = parse_channel("ideal,rate_mbps=8,downlink_rate_mbps=80,delay_ms=5,downlink_delay_ms=2")
    assert airtime.reliable(config, UP).load(1000).airtime_ns == MS
    assert airtime.reliable(config, DOWN).load(1000).airtime_ns == MS // 10
    draws = Draws(0, 1, UP)
    found = [delay.delay_ns(config, draws, d, Purpose.JITTER, 0, 0) for d in (UP, DOWN)]
    assert found == [5 * MS, 2 * MS]
    plain = parse_channel("ideal,rate_mbps=8,delay_ms=5")
    assert airtime.reliable(plain, DOWN).load(1000).airtime_ns == MS
    assert delay.delay_ns(plain, draws, DOWN, Purpose.JITTER, 0, 0) == 5 * MS


def test_the_mean_rate_counts_every_copy():
    assert airtime.mean_rate_bps(1000, MS) == 1e6
    assert airtime.mean_rate_bps(1000, 0) == math.inf


def delays_ms(spec, count=4000):
    config, draws = parse_channel(spec), Draws(0, 1, UP)
    keys = range(count)
    return np.array(
        [delay.delay_ns(config, draws, UP, Purpose.JITTER, 0, key) / MS for key in keys]
    )


def test_delay_without_jitter_is_constant():
    assert set(delays_ms("ideal,delay_ms=7.5", 10)) == {7.5}


def truncated_normal(mean, jitter):
    return stats.truncnorm(-mean / jitter, np.inf, loc=mean, scale=jitter)


def truncated_uniform(mean, jitter):
    low, high = max(mean - math.sqrt(3) * jitter, 0), mean + math.sqrt(3) * jitter
    return stats.uniform(low, high - low)


def exponential(mean, jitter):
    return stats.expon(mean, jitter)


@pytest.mark.parametrize(("mean", "jitter"), [(20, 2), (1, 3), (0, 5)])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("normal", truncated_normal),
        ("uniform", truncated_uniform),
        ("exponential", exponential),
    ],
)
def test_jitter_has_its_distribution(name, expected, mean, jitter):
    found = delays_ms(f"ideal,delay_ms={mean},jitter_ms={jitter},jitter_distribution={name}")
    assert found.min() >= 0
    assert stats.kstest(found, expected(mean, jitter).cdf).pvalue > 0.001
    if mean == 20:
        assert found.std() == pytest.approx(jitter, rel=0.05)


def test_jitter_is_keyed_and_repeats():
    config, draws = parse_channel("ideal,delay_ms=5,jitter_ms=2"), Draws(0, 1, UP)
    key = config, draws, UP, Purpose.JITTER, 0
    forwards = [delay.delay_ns(*key, k) for k in range(5)]
    backwards = [delay.delay_ns(*key, k) for k in reversed(range(5))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 5


def copies_of(spec):
    return airtime.mean_copies(parse_channel(spec))


def test_reliable_messages_pay_for_outages_of_the_snr():
    """They are repeated until they are received: the worse the channel, the longer."""
    physical = "physical,h_th=0.001,snr_db"
    by_outage = [copies_of(f"{physical}=10,outage_snr_db={db}") for db in (-5, 5, 15)]
    by_snr = [copies_of(f"{physical}={db},outage_snr_db=3") for db in (20, 5, -10)]
    for copies in (by_outage, by_snr):
        assert 1 <= copies[0] < copies[1] < copies[2]
    seconds = [
        airtime.reliable(parse_channel(f"physical,snr_db={db}"), UP).load(1 << 20).airtime_ns
        for db in (20, 0, -20)
    ]
    assert seconds[0] < seconds[1] < seconds[2]


def test_mean_copies_are_those_of_closed_forms():
    outage = stats.gamma(1).cdf(10 ** (-0.5))  # Rayleigh power, 5 dB below its mean
    alone = "physical,m=1,h_th=0.001,snr_db=10,outage_snr_db=5,harq_transmissions=1"
    assert copies_of(alone) == pytest.approx(1 / (1 - outage))
    assert copies_of(f"{alone},loss=0.2") == pytest.approx(1 / (1 - outage) / 0.8)
    apart = copies_of(alone.replace("transmissions=1", "transmissions=2") + ",fading=token")
    twice = stats.gamma(2).cdf(10 ** (-0.5))
    assert apart == pytest.approx((1 + outage) / (1 - twice))
    # A round trip of 8 ms in a block of 9: one fade for two copies. In one of 8: two.
    held = alone.replace("transmissions=1", "transmissions=2") + ",fading=block,coherence_ms"
    half = stats.gamma(1).cdf(10 ** (-0.5) / 2)
    assert copies_of(f"{held}=9") == pytest.approx((1 + outage) / (1 - half))
    assert copies_of(f"{held}=8") == pytest.approx(apart)
    assert airtime.mean_copies(parse_channel("nakagami,h_th=2").changed({"fading": "none"})) == 1
    still = "physical,fading=none,snr_db=0,harq_transmissions=2,outage_snr_db"
    assert (copies_of(f"{still}=2"), copies_of(f"{still}=4")) == (2, math.inf)
