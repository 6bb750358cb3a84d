"""What a channel does, drawn from the emulator's own functions: over time, and in distribution.

Two views. A `Course` is what one stream of tokens meets, one after the other at the tokens' radio
times. `Statistics` are taken from many streams, and stand beside the closed forms of
`channel_emulator.theory`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from channel_emulator import noise, theory
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.knobs import Fading
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.rate_trace import RateTrace
from channel_emulator.timeline import Snapshot, Timeline

Reals = NDArray[np.float64]

HIDDEN = 64
"""Elements of a token, of unit mean power."""

MAX_TOKENS = 200_000

PROCESSES = (Fading.COPULA, Fading.SUM_OF_SQUARES)
"""Fading with a Doppler spectrum."""

_OF_TIME = (*PROCESSES, Fading.BLOCK, Fading.NONE)
_SAMPLES_PER_PERIOD = 100
_PERIODS_PER_STREAM = 10
_LAG_PERIODS = 2.0
_LEAST_SAMPLES = 8.0
"""A level is measured where a mean fade, and a mean rise above it, last this many samples."""


@dataclass(frozen=True, slots=True)
class Course:
    """What the tokens of one stream meet. Arrays are [tokens]."""

    time_s: Reals
    """Channel time."""

    h: Reals
    """Amplitude of the first transmission; of the first element where elements fade alone."""

    snr_db: Reals
    """h² P/σ² of values with unit power P; infinite without noise."""

    loss: Reals
    """Share of the token's elements that are erased, after the last transmission."""

    rate_mbps: Reals
    """Of the uplink; infinite where there is no airtime."""

    version: NDArray[np.int64]
    """Of the configuration in force."""


def course(timeline: Timeline, duration_s: float, stream: int = 1) -> Course:
    """One token each token interval, from channel time 0 on.

    Raises:
        InputError: too many tokens, or none.
    """
    interval_ns = timeline.interval_ns
    tokens = math.floor(duration_s * 1e9 / interval_ns)
    if not 1 <= tokens <= MAX_TOKENS:
        allowed = f"[{interval_ns / 1e9:g}, {MAX_TOKENS * interval_ns / 1e9:g}] s"
        raise InputError.of("duration", duration_s, f"{allowed}, one token every token_interval_ms")
    times_ns = np.arange(tokens, dtype=np.int64) * interval_ns
    values = np.random.default_rng(0).standard_normal((tokens, HIDDEN), dtype=np.float32)
    values /= np.sqrt(noise.token_power(values)).astype(np.float32)[:, None]
    h, snr, loss, rate = np.empty((4, tokens))
    versions = np.empty(tokens, dtype=np.int64)
    for first, last, snapshot in _stretches(timeline, times_ns):
        config = snapshot.config
        place = _place(snapshot, first, times_ns[first:last], stream)
        radio = Radio(config)
        received = radio.transmit(values[first:last], place)
        part = slice(first, last)
        amplitudes = FadingSource(config, Draws(config.seed, stream, Direction.UPLINK))
        h[part] = amplitudes.amplitudes(place, HIDDEN)[:, 0]
        with np.errstate(divide="ignore"):
            mean_snr = noise.mean_snr(config, np.ones(last - first))
            snr[part] = 10 * np.log10(np.square(h[part]) * mean_snr)
        loss[part] = 0 if received.erased is None else received.erased.mean(axis=1)
        rate[part] = config.rate_mbps if received.rate_bps is None else received.rate_bps / 1e6
        versions[part] = snapshot.version
    traced = [timeline.rate_trace(Direction.UPLINK, int(at)) is not None for at in times_ns]
    if timeline.uplink is not None and any(traced):
        rate = np.where(traced, _trace_rate_mbps(timeline.uplink, times_ns, interval_ns), rate)
    return Course(times_ns / 1e9, h, snr, loss, rate, versions)


def fine_amplitude(timeline: Timeline, duration_s: float, points: int = 2000) -> Course | None:
    """h and SNR between the tokens of `course`; None where h is no function of time."""
    if not all(snapshot.config.fading in _OF_TIME for snapshot in timeline.snapshots):
        return None
    times_ns = np.linspace(0, duration_s * 1e9, points, endpoint=False).astype(np.int64)
    h, snr = np.empty((2, points))
    versions = np.empty(points, dtype=np.int64)
    for first, last, snapshot in _stretches(timeline, times_ns):
        config, part = snapshot.config, slice(first, last)
        source = FadingSource(config, Draws(config.seed, 1, Direction.UPLINK))
        h[part] = source.amplitudes(_place(snapshot, first, times_ns[part]), 1)[:, 0]
        with np.errstate(divide="ignore"):
            mean_snr = noise.mean_snr(config, np.ones(last - first))
            snr[part] = 10 * np.log10(np.square(h[part]) * mean_snr)
        versions[part] = snapshot.version
    nothing = np.zeros(points)
    return Course(times_ns / 1e9, h, snr, nothing, nothing, versions)


def _stretches(
    timeline: Timeline, times_ns: NDArray[np.int64]
) -> Iterator[tuple[int, int, Snapshot]]:
    """Runs of times under one version: first and last."""
    snapshots = [timeline.at(int(time_ns)) for time_ns in times_ns]
    first = 0
    for last in range(1, len(snapshots) + 1):
        if last == len(snapshots) or snapshots[last].version != snapshots[first].version:
            yield first, last, snapshots[first]
            first = last


def _place(snapshot: Snapshot, first: int, times_ns: NDArray[np.int64], stream: int = 1) -> Place:
    """Of tokens from channel time 0 on, which is radio time 0."""
    return Place(stream, 0, first, first, first, times_ns, anchor=snapshot.anchor)


def _trace_rate_mbps(trace: RateTrace, times_ns: NDArray[np.int64], interval_ns: int) -> Reals:
    """Mean rate of each token's interval, or of 1/200 of the time where that is longer."""
    width_ns = max(interval_ns, int(times_ns[-1] + interval_ns) // 200)
    starts = (times_ns // width_ns) * width_ns
    unique, of_token = np.unique(starts, return_inverse=True)
    bits = [trace.capacity_bits(int(at) + width_ns) - trace.capacity_bits(int(at)) for at in unique]
    rates: Reals = np.array(bits)[of_token] / width_ns * 1e3
    return rates


@dataclass(frozen=True, slots=True)
class Statistics:
    """Measured, with the closed form of the same generator. Levels are amplitudes."""

    h: Reals
    """Every sample: [samples]."""

    lag_s: Reals
    power_correlation: Reals
    """Of h²: [lags]; empty without a process."""

    power_correlation_theory: Reals

    level: Reals
    """Where crossings were measured: [levels]; empty without a process."""

    crossings_hz: Reals
    fade_s: Reals
    """Mean length of a fade below the level."""

    def summary(self, config: ChannelConfig) -> dict[str, float]:
        """How far the measurement is from theory; each number is a difference or a share."""
        found = {
            "samples": float(len(self.h)),
            "mean_power": float(np.square(self.h).mean()),
            "mean_power_theory": config.omega,
            "cdf_distance": _cdf_distance(self.h, config),
            "below_threshold": float((self.h < config.threshold).mean()),
            "below_threshold_theory": theory.outage_probability(
                config.m, config.omega, config.threshold
            ),
        }
        if self.lag_s.size:
            error = np.abs(self.power_correlation - self.power_correlation_theory)
            found["power_correlation_error"] = float(error.max())
        if self.level.size:
            expected = crossing_rate(config, self.level)
            found["crossing_rate_ratio"] = float(np.median(self.crossings_hz / expected))
        return found


def statistics(config: ChannelConfig, samples: int) -> Statistics:
    """Of about `samples` amplitudes: from many streams where h(t) is a process.

    One sum of sinusoids is one realisation of scattered waves; only many of them are the process.
    """
    nothing = np.empty(0)
    if config.fading not in PROCESSES or config.doppler_hz == 0:
        return Statistics(_independent(config, samples), *(nothing,) * 6)
    step_ns = max(round(1e9 / (config.doppler_hz * _SAMPLES_PER_PERIOD)), 1)
    length = min(_SAMPLES_PER_PERIOD * _PERIODS_PER_STREAM, samples)
    times_ns = np.arange(length, dtype=np.int64) * step_ns
    paths = np.stack(
        [_amplitudes(config, stream, times_ns) for stream in range(max(samples // length, 1))]
    )
    lags = np.arange(0, min(round(_LAG_PERIODS * _SAMPLES_PER_PERIOD), length - 1), 4)
    lag_s = lags * step_ns / 1e9
    level, crossings_hz, fade_s = _crossings(config, paths, step_ns / 1e9)
    return Statistics(
        h=paths.ravel(),
        lag_s=lag_s,
        power_correlation=_correlation(np.square(paths), lags),
        power_correlation_theory=power_correlation(config, lag_s),
        level=level,
        crossings_hz=crossings_hz,
        fade_s=fade_s,
    )


def power_correlation(config: ChannelConfig, lag_s: Reals) -> Reals:
    """Theory, of the generator that is configured."""
    if config.fading is Fading.COPULA:
        return theory.power_correlation_of_copula(lag_s, config.doppler_hz, config.m)
    return theory.power_correlation_of_squares(lag_s, config.doppler_hz)


def crossing_rate(config: ChannelConfig, level: Reals) -> Reals:
    """Upward crossings per second in theory, of the generator that is configured."""
    of = theory.crossing_rate_of_squares
    if config.fading is Fading.COPULA:
        of = theory.crossing_rate_of_copula
    return of(level, config.m, config.omega, config.doppler_hz)


def _amplitudes(config: ChannelConfig, stream: int, times_ns: NDArray[np.int64]) -> Reals:
    source = FadingSource(config, Draws(config.seed, stream, Direction.UPLINK))
    place = Place(stream, 0, 0, 0, 0, times_ns)
    return source.amplitudes(place, 1)[:, 0].astype(np.float64)


def _independent(config: ChannelConfig, samples: int) -> Reals:
    """Amplitudes that have nothing to do with each other."""
    draws = Draws(config.seed, 0, Direction.UPLINK)
    source = FadingSource(config, draws)
    coherence_ns = config.coherence_ns
    match config.fading:
        case Fading.ELEMENT:
            tokens = -(-samples // HIDDEN)
            found = source.amplitudes(Place.replay(config, tokens), HIDDEN).ravel()
        case Fading.TOKEN:
            found = source.amplitudes(Place.replay(config, samples), 1)[:, 0]
        case Fading.FRAME:
            places = (Place.replay(config, 1, position=frame) for frame in range(samples))
            found = np.concatenate([source.amplitudes(place, 1)[:, 0] for place in places])
        case Fading.BLOCK if coherence_ns is not None:
            times_ns = np.arange(samples, dtype=np.int64) * coherence_ns
            found = source.amplitudes(Place(0, 0, 0, 0, 0, times_ns), 1)[:, 0]
        case _:  # h never changes: one of each stream
            zero = np.zeros(1, dtype=np.int64)
            streams = range(min(samples, 4000))
            return np.concatenate([_amplitudes(config, stream, zero) for stream in streams])
    return found[:samples].astype(np.float64)


def _correlation(power: Reals, lags: NDArray[np.int64]) -> Reals:
    """Correlation coefficient over all paths [paths, samples] at each lag."""
    centred = power - power.mean()
    length = power.shape[1]
    products = [(centred[:, : length - lag] * centred[:, lag:]).mean() for lag in lags]
    found: Reals = np.array(products) / centred.var()
    return found


def _crossings(config: ChannelConfig, paths: Reals, step_s: float) -> tuple[Reals, Reals, Reals]:
    """Levels, upward crossings per second, and mean length of a fade, where they can be told."""
    level = math.sqrt(config.omega) * 10 ** (np.arange(-30, 9, 1.5) / 20)
    expected_hz = crossing_rate(config, level)
    below = theory.nakagami_cdf(level, config.m, config.omega)
    shortest_s = np.minimum(below, 1 - below) / np.maximum(expected_hz, 1e-300)
    total_s = paths.size * step_s
    level = level[(shortest_s >= _LEAST_SAMPLES * step_s) & (expected_hz * total_s >= 50)]
    fades = [paths < at for at in level]
    upward = np.array([np.count_nonzero(fade[:, :-1] & ~fade[:, 1:]) for fade in fades])
    time_below_s = np.array([np.count_nonzero(fade) * step_s for fade in fades])
    measured_s = len(paths) * (paths.shape[1] - 1) * step_s
    return level, upward / measured_s, time_below_s / np.maximum(upward, 1)


def _cdf_distance(h: Reals, config: ChannelConfig) -> float:
    """Kolmogorov-Smirnov distance from the Nakagami distribution."""
    expected = theory.nakagami_cdf(np.sort(h), config.m, config.omega)
    steps = np.arange(len(h) + 1) / len(h)
    return float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))
