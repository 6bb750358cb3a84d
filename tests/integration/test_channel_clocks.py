"""Live and replay are one channel in distribution, and replay is one in bits, through sockets.

Sessions of many streams at once; Bonferroni holds the false alarms of a test's comparisons together
at ALARMS. It is small: in `live`, what a fade in time is depends on when frames come.
"""

import asyncio
from itertools import chain

import numpy as np
import pytest
from scipy import stats

from airsplit.v1 import channel_pb2
from channel_emulator import codec, theory
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.spec import parse_channel
from tests.channel_replay import CUT, HIDDEN, by_change, fingerprint, message, values_of
from tests.integration.channel_support import Bench, Client, EchoEdge, activations, bench, run

MS = 1_000_000
ALARMS = 1e-5
CLOCKS = ["replay", "live"]
SESSIONS, FRAMES = 8, 60


async def met(spec: str, clock: str, tokens: int = 1, hidden: int = 32) -> list[list]:
    """What SESSIONS streams that send FRAMES frames each at the same time are told: results."""
    first = 1 + SESSIONS * CLOCKS.index(clock)

    async def exchange(b: Bench, stream: int) -> list:
        client = await Client.open(b.edge, stream=stream)
        values = activations(tokens * FRAMES, hidden, seed=stream)
        found = []
        for part in np.split(values, FRAMES):
            found.append(await client.exchange(client.frame(part.tobytes(), tokens, hidden)))
        await client.close()
        return found

    async with bench(f"{spec},clock={clock}", EchoEdge()) as b:
        return await asyncio.gather(*(exchange(b, first + i) for i in range(SESSIONS)))


def of_both(spec: str, **sizes: int) -> dict[str, list]:
    async def scenario():
        return {clock: list(chain(*await met(spec, clock, **sizes))) for clock in CLOCKS}

    return run(scenario())


def agree(one: np.ndarray, other: np.ndarray, tests: int = 1) -> bool:
    return bool(stats.ks_2samp(one, other).pvalue > ALARMS / tests)


LAWS = {
    "normal": stats.norm(10, 2),
    "uniform": stats.uniform(10 - 2 * np.sqrt(3), 4 * np.sqrt(3)),
    "exponential": stats.expon(10, 2),
}
"""A delay of 10 ms with a jitter of 2 ms."""


@pytest.mark.parametrize("distribution", LAWS)
def test_delay_and_jitter_have_one_law_by_both_clocks(distribution):
    """Delays are reported with the wait for a predecessor that is later still: none follows
    within the time that it takes."""
    spec = f"ideal,delay_ms=10,jitter_ms=2,jitter_distribution={distribution}"
    found = of_both(spec)
    up, down = (
        {
            clock: np.array([getattr(result, way).delay_ns / MS for result in results])
            for clock, results in found.items()
        }
        for way in ("uplink", "downlink")
    )
    for delays in (up, down):
        assert agree(delays["replay"], delays["live"], tests=6)
        for each in delays.values():
            assert stats.kstest(each, LAWS[distribution].cdf).pvalue > ALARMS / 6
    # Half a millisecond would be seen: the tolerance is one.
    assert not agree(up["replay"], up["live"] + 1, tests=6)


@pytest.mark.parametrize("fading", ["token", "block,coherence_ms=0.02", "copula", "sum_of_squares"])
def test_outage_has_one_law_by_both_clocks(fading):
    """And its closed form. A UE so fast that tokens fade independently."""
    spec = f"nakagami,sigma=0.1,m=1.5,h_th=0.6,fading={fading},token_interval_ms=1"
    if "coherence" not in fading and fading != "token":
        spec += ",speed_mps=1000,carrier_ghz=300"
    tokens = 4
    found = of_both(spec, tokens=tokens)
    lost = {
        clock: round(sum(result.uplink.truth.loss for result in results) * tokens)
        for clock, results in found.items()
    }
    sent = SESSIONS * FRAMES * tokens
    expected = theory.outage_probability(1.5, 1, 0.6)
    for each in lost.values():
        assert stats.binomtest(each, sent, expected).pvalue > ALARMS / 3
    table = [[each, sent - each] for each in lost.values()]
    assert stats.fisher_exact(table).pvalue > ALARMS / 3
    gains = [np.array([r.uplink.truth.mean_gain for r in results]) for results in found.values()]
    assert agree(*gains)


@pytest.mark.parametrize(
    "fading", ["token", "block,coherence_ms=0.02", "copula,speed_mps=1000,carrier_ghz=300"]
)
def test_one_fade_decides_on_all_by_one_law_by_both_clocks(fading):
    """On outage, on copies and so on HARQ's waiting, and on the rate; copies fade apart."""
    m, copies = 1.5, 3
    spec = (
        f"physical,m={m},snr_db=6,outage_snr_db=4,h_th=0.001,bandwidth_mhz=1000,fading={fading},"
        f"harq_transmissions={copies},harq_rtt_ms=1,token_interval_ms=1"
    )
    found = {clock: [r.uplink for r in results] for clock, results in of_both(spec).items()}
    sent, tests = SESSIONS * FRAMES, 12
    failures = [
        theory.harq_failure_probability(m, 10**0.6, 10**0.4, k) for k in range(1, copies + 1)
    ]
    counts = []
    for reports in found.values():
        lost = sum(report.truth.loss == 1 for report in reports)
        assert lost == sum(report.truth.loss for report in reports)
        told = np.array([(r.transmissions, r.harq_ns, r.delay_ns) for r in reports])
        np.testing.assert_array_equal(told[:, 1], (told[:, 0] - 1) * MS)
        np.testing.assert_array_equal(told[:, 2], told[:, 1])
        more = [int((told[:, 0] > k).sum()) for k in range(1, copies)] + [lost]
        for number, probability in zip(more, failures, strict=True):
            assert stats.binomtest(number, sent, probability).pvalue > ALARMS / tests
        counts.append(-np.diff([sent, *more, 0]))
    assert stats.chi2_contingency(counts).pvalue > ALARMS / tests
    rates = [np.array([report.rate_bps for report in reports]) for reports in found.values()]
    fades = [np.array([report.truth.mean_gain for report in reports]) for reports in found.values()]
    assert agree(*rates, tests=tests)
    assert agree(*fades, tests=tests)
    for each in fades:
        assert stats.kstest(each, stats.nakagami(m).cdf).pvalue > ALARMS / tests
    assert not agree(fades[0], fades[1] * 1.6, tests=tests)


@pytest.mark.parametrize("power_reference", ["token", "tensor", "inliers"])
def test_snr_has_one_law_by_both_clocks(power_reference):
    """Of each frame: χ² of its elements about what was set."""
    tokens, hidden = 4, 64
    found = of_both(
        f"awgn,snr_db=12,power_reference={power_reference}", tokens=tokens, hidden=hidden
    )
    snr = [np.array([r.uplink.truth.snr_db for r in results]) for results in found.values()]
    assert agree(*snr)
    degrees = tokens * hidden
    for each in snr:
        # Noise over signal, in units of what was set; tokens of one frame differ little in power.
        ratio = 10 ** ((12 - each) / 10)
        assert ratio.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / degrees / len(each)))
        assert ratio.std() == pytest.approx(np.sqrt(2 / degrees), rel=0.2)
    assert not agree(snr[0], snr[1] + 0.3)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("fading", ["copula,m=2.5", "sum_of_squares,m=1.5"])
def test_the_fade_that_is_met_is_that_of_the_way_until_then(fading, clock):
    """Over changes of the speed at once, each from the frame on that first meets it: the h of the
    time that is reported, by the cycles until then."""
    spec = f"nakagami,sigma=0,h_th=0,fading={fading},token_interval_ms=1,clock={clock}"

    async def scenario():
        found = []
        async with bench(f"{spec},speed_mps=3", EchoEdge()) as b:
            client = await Client.open(b.edge, stream=9)
            for speed in (3.0, 14.0, 0.0, 1.5):
                config = channel_pb2.ChannelConfig(speed_mps=speed)
                await b.channel.ConfigureChannel(channel_pb2.ConfigureChannelRequest(config=config))
                for _ in range(20):
                    result = await client.exchange(client.frame(bytes(16), 1, 4))
                    up = result.uplink
                    found.append((up.radio_time_ns, up.truth.mean_gain, speed))
            await client.close()
        return found

    times_ns, met_h, speeds = np.array(run(scenario())).T
    # The old speed holds until the first frame under the new one.
    way_m = np.cumsum([speeds[0] * times_ns[0], *(np.diff(times_ns) * speeds[:-1])])
    config = parse_channel(f"nakagami,sigma=0,h_th=0,fading={fading},speed_mps=5")
    place = Place(9, 0, 0, 0, 0, np.rint(way_m / 5).astype(np.int64))
    expected = FadingSource(config, Draws(0, 9, Direction.UPLINK)).amplitudes(place, 1)[:, 0]
    np.testing.assert_allclose(met_h, expected, atol=5e-5)
    assert np.ptp(expected) > 0.1


SCENARIO = """
[channel]
preset = "nakagami"
sigma = 0.1
h_th = 0.3
fading = "copula"
m = 2
seed = 7

[[phase]]
name = "walks"
duration_s = 0.2

[[phase]]
name = "drives"
duration_s = 0.2
channel = { speed_mps = 14 }

[[phase]]
name = "stands"
duration_s = 1
channel = { m = 3, speed_mps = 0.2 }
"""


def test_what_sessions_at_the_same_time_receive_has_the_hash_of_each_alone(tmp_path):
    """Payload and mask of frames through sockets, over changes of the speed at stated times."""
    path = tmp_path / "changes.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    streams = [1, 2**63, 2, 3, 4, 5]

    async def send(b: Bench, edge: EchoEdge, stream: int) -> str:
        client, values = await Client.open(b.edge, stream=stream), values_of(stream)
        for number, (first, last) in enumerate(CUT):
            frame = message(values[first:last], first, number)
            frame.header.session_id = client.session_id
            await client.exchange(frame)
        await client.close()
        found = []
        for frame in edge.frames[client.session_id]:
            erased = codec.decode_mask(
                frame.header.erasure_mask, (frame.header.token_count, HIDDEN)
            )
            payload = np.frombuffer(frame.payload, dtype=np.uint8).reshape(len(erased), -1)
            found.append(np.concatenate([payload, np.packbits(erased, axis=1)], axis=1))
        return fingerprint(np.concatenate(found))

    async def scenario():
        edge = EchoEdge()
        async with bench(str(path), edge) as b:
            return await asyncio.gather(*(send(b, edge, stream) for stream in streams))

    found = run(scenario())
    spec = "nakagami,sigma=0.1,h_th=0.3,fading=copula,m=2,seed=7"
    assert found == [fingerprint(by_change(spec, stream, CUT)) for stream in streams]
    assert len(set(found)) == len(streams)
