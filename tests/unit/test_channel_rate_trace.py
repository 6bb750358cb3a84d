"""A link that follows a trace: what it can deliver, when, and that no bit comes from nowhere."""

import numpy as np
import pytest

from airsplit.errors import InputError
from channel_emulator.rate_trace import MAX_POINTS, RateTrace

MS = 1_000_000
PACKET = 12_000


def opportunities(*times_ms):
    return RateTrace.of_opportunities(np.array(times_ms, dtype=np.int64) * MS, PACKET)


def rates(*pairs):
    """(seconds, Mbit/s) pieces."""
    lengths, mbps = zip(*pairs, strict=True)
    return RateTrace.of_rates(np.concatenate([[0.0], np.cumsum(lengths)]), np.array(mbps))


SPARSE = opportunities(2, 5, 5, 9)
VARYING = rates((1, 2.0), (1, 0.0), (2, 5.0))  # 2, 0 and 10 Mbit; wraps at 4 s
FRACTION = RateTrace.of([0, 7, 10], [0, 3, 14], False)  # 3/7 and 11/3 bits each nanosecond


def test_opportunities_add_up():
    assert SPARSE.to_lists() == (
        [0, 2 * MS, 5 * MS, 9 * MS],
        [0, PACKET, 3 * PACKET, 4 * PACKET],
        True,
    )
    assert SPARSE.mean_rate_mbps == pytest.approx(4 * PACKET / 9e-3 / 1e6)


def test_rates_add_up():
    assert VARYING.period_ns == 4_000 * MS
    assert VARYING.period_bits == 12_000_000
    assert [VARYING.capacity_bits(t * MS) for t in (0, 500, 1000, 2000, 3000)] == [
        0,
        1_000_000,
        2_000_000,
        2_000_000,
        7_000_000,
    ]


@pytest.mark.parametrize("trace", [SPARSE, VARYING, FRACTION, opportunities(0, 3)])
def test_the_capacity_begins_anew_after_its_period(trace):
    for time_ns in (1, trace.period_ns // 3, trace.period_ns - 1):
        later = trace.capacity_bits(time_ns + 3 * trace.period_ns)
        assert later == trace.capacity_bits(time_ns) + 3 * trace.period_bits


def test_an_opportunity_at_zero_comes_once_each_period():
    trace = opportunities(0, 3)
    served, finish_ns, position = [], 0, 0
    for _ in range(4):
        finish_ns, position = trace.serve(finish_ns, position, PACKET)
        served.append(finish_ns // MS)
    assert served == [0, 3, 3, 6]


def test_a_message_takes_as_many_opportunities_as_it_needs():
    assert SPARSE.serve(0, 0, PACKET) == (2 * MS, PACKET)
    assert SPARSE.serve(0, 0, PACKET + 1) == (5 * MS, PACKET + 1)
    assert SPARSE.serve(0, 0, 5 * PACKET) == (11 * MS, 5 * PACKET)


def test_an_opportunity_that_nobody_waits_for_is_lost():
    assert SPARSE.serve(2 * MS, 0, 1)[0] == 2 * MS
    assert SPARSE.serve(2 * MS + 1, 0, 1)[0] == 5 * MS


def test_the_rest_of_an_opportunity_serves_who_waits():
    finish_ns, position = SPARSE.serve(0, 0, 5_000)
    assert finish_ns == 2 * MS
    assert SPARSE.serve(finish_ns, position, 7_000) == (2 * MS, PACKET)
    assert SPARSE.serve(finish_ns, position, 7_001)[0] == 5 * MS
    assert SPARSE.serve(finish_ns + 1, position, 1)[0] == 5 * MS  # came too late for the rest


def test_a_rate_of_zero_is_waited_for():
    finish_ns, position = VARYING.serve(500 * MS, 0, 1_500_000)  # 1.0 Mbit until 1 s
    assert finish_ns == pytest.approx(2_100 * MS, abs=1)
    assert position == pytest.approx(2_500_000, abs=1)


def test_nothing_takes_no_time():
    assert SPARSE.serve(7, 3, 0) == (7, 3)


@pytest.mark.parametrize("trace", [SPARSE, VARYING, FRACTION])
def test_bits_are_conserved_over_whole_periods(trace):
    """A link that is never idle delivers the capacity to the bit, however it is cut."""
    rng = np.random.default_rng(1)
    periods, sent, finish_ns, position = 50, 0, 0, 0
    total = periods * trace.period_bits
    largest = max(2, trace.period_bits // 3)
    while sent < total:
        bits = min(int(rng.integers(1, largest)), total - sent)
        before_ns = finish_ns
        finish_ns, position = trace.serve(finish_ns, position, bits)
        sent += bits
        assert finish_ns >= before_ns
        assert position == sent
    assert finish_ns == periods * trace.period_ns


@pytest.mark.parametrize("trace", [SPARSE, VARYING, FRACTION])
def test_no_message_is_through_before_its_bits_could_leave(trace):
    rng = np.random.default_rng(2)
    sent, free_ns, position = 0, 0, 0
    for _ in range(300):
        start_ns = max(free_ns, free_ns + int(rng.integers(-trace.period_ns, trace.period_ns)))
        bits = int(rng.integers(1, trace.period_bits))
        free_ns, position = trace.serve(start_ns, position, bits)
        sent += bits
        assert free_ns >= start_ns
        assert trace.capacity_bits(free_ns) >= position >= sent
        assert trace.capacity_bits(free_ns - 1) <= position


def test_it_is_the_same_as_serving_bit_by_bit():
    """An independent reckoning: walk nanosecond by nanosecond through whole bits of capacity."""
    trace = FRACTION
    capacity = [trace.capacity_bits(t) for t in range(60)]
    for start_ns in range(20):
        for bits in range(1, 30):
            lost = capacity[start_ns - 1] if start_ns else 0
            finish_ns = next(t for t in range(60) if exact(t) >= lost + bits)
            assert trace.serve(start_ns, 0, bits) == (finish_ns, lost + bits)


def exact(time_ns):
    rounds, rest = divmod(time_ns, 10)
    return 14 * rounds + (3 / 7 * rest if rest <= 7 else 3 + 11 / 3 * (rest - 7))


def test_the_plain_form_is_the_whole():
    for trace in (SPARSE, VARYING):
        again = RateTrace.of(*trace.to_lists())
        assert again == trace
        assert hash(again) == hash(trace)
    assert SPARSE != VARYING
    assert SPARSE != "trace"


def test_it_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        VARYING.bits[0] = 1


@pytest.mark.parametrize(
    ("time_ns", "bits", "stepwise", "named"),
    [
        ([0], [1], True, "points: 1 "),
        ([0, 1], [1], True, r"\[2\] and \[1\]"),
        (range(MAX_POINTS + 1), range(MAX_POINTS + 1), True, "points"),
        ([1, 2], [0, 1], True, r"time_ns\[0\]: 1 "),
        ([0, 5, 5], [0, 1, 2], True, r"time_ns\[2\]: 5 .* 6 or more"),
        ([0, 5, 9], [0, 2, 1], True, r"bits\[2\]: 1 .* 2 or more"),
        ([0, 5], [-1, 2], True, r"bits\[0\]: -1"),
        ([0, 5], [1, 2], False, r"bits\[0\]: 1"),
        ([0, 5], [0, 0], False, "period_bits: 0"),
        ([0, 2 * 10**18], [0, 1], False, "period_ns"),
        ([0, 2**64], [0, 1], False, "64-bit"),
    ],
)
def test_what_is_no_trace_is_refused(time_ns, bits, stepwise, named):
    with pytest.raises(InputError, match=named):
        RateTrace.of(time_ns, bits, stepwise)


@pytest.mark.parametrize("mbps", [-1.0, float("nan"), float("inf"), 0.0])
def test_rates_that_carry_nothing_are_refused(mbps):
    with pytest.raises(InputError):
        rates((1, mbps))
