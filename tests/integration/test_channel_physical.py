"""`physical` through real sockets: one fade decides on noise, outage, HARQ's waiting and the rate.

What is expected follows from h(t) by the formulas of docs/channel.md, not by the code that applies
them.
"""

import asyncio
import time

import numpy as np
import pytest
from scipy import special, stats

from channel_emulator import codec
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.spec import parse_channel
from tests.integration.channel_support import Client, EchoEdge, activations, bench, run

MS = 1_000_000
HIDDEN, FRAMES, STREAM = 256, 60, 5
COPIES, RTT_MS, DELAY_MS = 3, 4, 1
SNR, LEAST_SNR, GAP = (10 ** (db / 10) for db in (8, 7, 3))
PHYSICAL = (
    "physical,m=1.5,speed_mps=3,snr_db=8,outage_snr_db=7,h_th=0.05,bandwidth_mhz=10,snr_gap_db=3,"
    f"harq_transmissions={COPIES},harq_rtt_ms={RTT_MS},delay_ms={DELAY_MS},seed=3"
)


def met(config: ChannelConfig, first_ns: np.ndarray, tokens: int) -> np.ndarray:
    """h of every copy of every token: [frames, tokens, copies]."""
    interval_ns, rtt_ns = round(config.token_interval_ms * MS), RTT_MS * MS
    source = FadingSource(config, Draws(config.seed, STREAM, Direction.UPLINK))
    of_token = first_ns[:, None] + np.arange(tokens) * interval_ns
    sent_ns = of_token[:, :, None] + np.arange(COPIES) * rtt_ns
    place = Place(STREAM, 0, 0, 0, 0, sent_ns.ravel())
    return source.amplitudes(place, 1).astype(np.float64).reshape(sent_ns.shape)


@pytest.mark.parametrize("clock", ["replay", "live"])
@pytest.mark.parametrize("tokens", [1, 4])
def test_one_fade_decides_on_noise_outage_waiting_and_rate(tokens, clock):
    config = parse_channel(f"{PHYSICAL},clock={clock}")
    values = activations(FRAMES * tokens, HIDDEN).reshape(FRAMES, tokens, HIDDEN)

    async def exchange():
        edge, results, sent_ns = EchoEdge(), [], []
        async with bench(f"{PHYSICAL},clock={clock}", edge) as b:
            client = await Client.open(b.edge, stream=STREAM)
            for part in values:
                sent_ns.append(time.monotonic_ns())
                frame = client.frame(part.tobytes(), tokens, HIDDEN)
                results.append((await client.exchange(frame)).uplink)
            await client.close()
        took_ns = np.array(edge.arrived_ns[client.session_id]) - sent_ns
        return edge.frames[client.session_id], results, took_ns

    frames, reports, took_ns = run(exchange())
    h = met(config, np.array([report.radio_time_ns for report in reports]), tokens)
    gain = np.square(h).cumsum(axis=2)
    enough = (gain * SNR >= LEAST_SNR) & (gain >= 0.05**2)
    lost = ~enough[:, :, -1]
    copies = np.where(lost, COPIES, enough.argmax(axis=2) + 1)
    if clock == "replay":  # when frames come decides on the others' fades
        assert len(np.unique(copies)) == COPIES, "one, two and three copies"
        assert 0 < lost.sum() < lost.size / 2
        assert np.ptp(h) > 0.8

    # The rate is that of the first copy's fade, and no lower than where outage begins.
    rate_bps = 10e6 * np.log2(1 + np.maximum(np.square(h[:, :, 0]) * SNR, LEAST_SNR) / GAP)
    airtime_ns = (copies * (HIDDEN * 32 / rate_bps)).sum(axis=1) * 1e9
    np.testing.assert_allclose([r.airtime_ns for r in reports], airtime_ns, rtol=1e-5)
    bits = copies.sum(axis=1) * HIDDEN * 32
    np.testing.assert_allclose([r.rate_bps for r in reports], bits / airtime_ns * 1e9, rtol=1e-5)

    # The frame waits for its slowest token, and that time passes.
    slowest = copies.max(axis=1)
    harq_ns = (slowest - 1) * RTT_MS * MS
    assert [r.transmissions for r in reports] == slowest.tolist()
    assert [r.harq_ns for r in reports] == harq_ns.tolist()
    assert [r.delay_ns for r in reports] == (harq_ns + DELAY_MS * MS).tolist()
    assert (took_ns >= harq_ns + DELAY_MS * MS + np.floor(airtime_ns)).all()

    # Lost as a whole by its outage, and else as noisy as division by the combined fade makes it.
    arrived = np.stack([np.frombuffer(f.payload, np.float32) for f in frames])
    arrived = arrived.reshape(values.shape)
    masks = [codec.decode_mask(f.header.erasure_mask, (tokens, HIDDEN)) for f in frames]
    np.testing.assert_array_equal(np.stack(masks), np.broadcast_to(lost[:, :, None], values.shape))
    assert not arrived[lost].any()
    sigma = np.sqrt(np.square(values, dtype=np.float64).mean(axis=2) / SNR)
    kept = np.take_along_axis(gain, copies[:, :, None] - 1, axis=2)[:, :, 0]
    noise = (arrived - values) / (sigma / np.sqrt(kept))[:, :, None]
    power = np.square(noise[~lost]).mean(axis=1)  # χ² of 256 over 256
    assert power.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / HIDDEN / len(power)))
    assert np.ptp(power) < 10 * np.sqrt(2 / HIDDEN)
    gains = [r.truth.mean_gain for r in reports]
    np.testing.assert_allclose(gains, h[:, :, 0].mean(axis=1), rtol=1e-5)


RATIO = 10 ** (-2 / 10)
REGIMES = [
    ("fading=token,harq_rtt_ms=0", False),
    ("fading=copula,speed_mps=1000,carrier_ghz=300,token_interval_ms=9,harq_rtt_ms=1", False),
    ("fading=block,coherence_ms=9,token_interval_ms=9,harq_rtt_ms=0", True),
]
"""Copies that fade by themselves, drawn so or by a UE so fast; and copies of one fade."""


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("fading", "same_fade"), REGIMES)
def test_outage_copies_and_rate_have_their_closed_forms(fading, same_fade, seed):
    m, count = 1.5, 400
    spec = (
        f"physical,m={m},snr_db=6,outage_snr_db=4,h_th=0.001,bandwidth_mhz=1000,"
        f"harq_transmissions={COPIES},{fading},seed={seed}"
    )

    async def exchange():
        async with bench(spec, EchoEdge()) as b:
            client = await Client.open(b.edge, stream=STREAM)
            values = activations(count, 8)

            async def send() -> None:
                for token in values:
                    await client.send(client.frame(token.tobytes(), 1, 8))

            sending = asyncio.create_task(send())
            found = [(await client.read()).result.uplink for _ in range(count)]
            await sending
            await client.close()
        return found

    reports = run(exchange())
    failures = [
        special.gammainc(m, m * RATIO / k) if same_fade else special.gammainc(k * m, m * RATIO)
        for k in range(1, COPIES + 1)
    ]
    at_the_least = np.log2(1 + 10**0.4) * 1e9
    copies = np.array([report.transmissions for report in reports])
    rate_bps = np.array([r.rate_bps for r in reports])
    found = [(copies > k).sum() for k in range(1, COPIES)]
    found += [sum(report.truth.loss for report in reports)]
    # Whose first copy fails was sent at the least rate, and nobody else was.
    slow = rate_bps < at_the_least * 1.001
    np.testing.assert_array_equal(slow, copies > 1)
    for number, probability in zip(found, failures, strict=True):
        low, high = stats.binom(count, probability).interval(1 - 1e-4)
        assert low <= number <= high
    # A rate above that is the logarithm of a gain above the threshold's.
    gain = (2 ** (rate_bps[~slow] / 1e9) - 1) / 10**0.6
    share = special.gammainc(m, m * gain)
    law = stats.uniform(failures[0], 1 - failures[0])
    assert stats.kstest(share, law.cdf).pvalue > 1e-4
