"""The Gaussian processes against Clarke's model, and their independence of who asks when."""

import cmath
import gc

import numpy as np
import pytest
from scipy import special

from channel_emulator import doppler, theory
from channel_emulator.doppler import WAVES, GaussianProcess
from channel_emulator.draws import Direction, Draws

DOPPLER_HZ = 10.0


def draws(stream=0, seed=0, direction=Direction.UPLINK):
    return Draws(seed, stream, direction)


def process(processes=1, doppler_hz=DOPPLER_HZ, **key):
    return GaussianProcess.of(draws(**key), processes, doppler_hz)


def instants(seconds):
    return np.rint(np.asarray(seconds) * 1e9).astype(np.uint64)


def test_correlation_is_that_of_clarke():
    """Complex autocorrelation J0(2π f_D τ), with its first zero at 2.405."""
    zero_s = special.jn_zeros(0, 1)[0] / (2 * np.pi * DOPPLER_HZ)
    tau_s = np.concatenate([[0, zero_s], np.linspace(0.003, 0.1, 8)])
    times = instants((np.arange(400) * 1.37)[:, None] + tau_s)
    found = np.zeros(len(tau_s), dtype=complex)
    streams = 150
    for stream in range(streams):
        r = process(stream=stream).at(times.ravel())[:, 0].reshape(times.shape)
        found += (r * r[:, :1].conj()).mean(axis=0) / streams
    # 60 000 products of variance about 1 each: a standard error of 0.004.
    np.testing.assert_allclose(found, theory.autocorrelation(tau_s, DOPPLER_HZ), atol=0.018)
    assert abs(found[1]) < 0.018


def test_powers_are_nearly_those_of_a_rayleigh_process():
    times = instants(np.arange(500) * 1.37)
    power = np.array([np.abs(process(stream=s).at(times)) ** 2 for s in range(100)])
    assert power.mean() == pytest.approx(1, abs=0.015)
    assert np.square(power).mean() == pytest.approx(2 - 1 / WAVES, abs=0.06)


def test_spectrum_lies_within_the_doppler_frequency():
    """All power inside ±f_D, spread as Clarke's U shape."""
    samples, rate_hz = 1 << 14, 128.0
    times = instants(np.arange(samples) / rate_hz)
    window = np.blackman(samples)
    spectrum = np.zeros(samples)
    for stream in range(20):
        r = process(stream=stream).at(times)[:, 0]
        spectrum += np.abs(np.fft.fft(r * window)) ** 2
    frequency = np.fft.fftfreq(samples, 1 / rate_hz)
    outside = np.abs(frequency) > DOPPLER_HZ + 0.05  # the window's main lobe is 6 bins wide
    assert spectrum[outside].sum() / spectrum.sum() < 1e-6
    for edge in (-9.5, -7, -3, 0, 2, 6, 9, 9.9):
        share = spectrum[frequency < edge].sum() / spectrum.sum()
        assert share == pytest.approx(theory.doppler_distribution(edge, DOPPLER_HZ), abs=0.01)


def test_parts_are_independent_processes_of_equal_power():
    times = instants(np.arange(300) * 1.37)
    parts = np.concatenate([process(3, stream=s).at(times).view(float) for s in range(100)])
    covariance = parts.T @ parts / len(parts)
    np.testing.assert_allclose(covariance, np.eye(6) / 2, atol=0.02)


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_a_time_has_its_value_whoever_asks(processes):
    times = np.random.default_rng(1).integers(0, 2**63, 2500, dtype=np.uint64)
    whole = process(processes).at(times)
    shuffled = np.random.default_rng(2).permutation(len(times))
    np.testing.assert_array_equal(process(processes).at(times[shuffled]), whole[shuffled])
    chunks = [process(processes).at(chunk) for chunk in np.split(times, [1, 2, 9, 1200])]
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


@pytest.mark.parametrize("time_ns", [0, 1, 10**9, 2**53 + 1, 2**63 - 1, 2**64 - 1])
def test_phases_are_exact_at_any_time(time_ns):
    source = process()
    expected = 0
    pairs = zip(source.frequencies[0].tolist(), source.phases[0].tolist(), strict=True)
    for frequency, phase in pairs:
        turns = (frequency * time_ns + phase) % 2**64 / 2**64
        expected += cmath.exp(2j * cmath.pi * turns) / WAVES**0.5
    assert source.at(np.array([time_ns], np.uint64))[0, 0] == pytest.approx(expected, abs=3e-6)


def test_waves_come_from_all_around():
    hz = np.sort(process().frequencies.view(np.int64)[0] * (1e9 / 2**64))
    assert np.abs(hz).max() <= DOPPLER_HZ
    # One wave in each 64th of a turn: none farther than that from an even spread.
    angles = np.arccos(hz / DOPPLER_HZ)[::-1]
    np.testing.assert_allclose(angles, (np.arange(64) + 0.5) * np.pi / 64, atol=2 * np.pi / 64)


def test_no_doppler_no_change():
    r = process(doppler_hz=0).at(instants([0, 1, 1e6, 9e9]))
    assert len(np.unique(r)) == 1


def test_twice_the_doppler_frequency_is_twice_as_fast():
    one, times = draws(), instants(np.arange(20) * 0.01)
    slow = GaussianProcess.of(one, 1, 10).at(times * np.uint64(2))
    fast = GaussianProcess.of(one, 1, 20).at(times)
    np.testing.assert_allclose(fast, slow, atol=1e-6)
    assert (fast[1:] != GaussianProcess.of(one, 1, 10).at(times)[1:]).all()


def test_each_stream_direction_and_seed_has_its_own():
    times = instants(np.arange(5) * 0.01)
    keys = [{}, {"stream": 1}, {"seed": 1}, {"direction": Direction.DOWNLINK}]
    found = np.array([process(**key).at(times)[:, 0] for key in keys])
    assert len(np.unique(found[:, 0])) == len(keys)
    np.testing.assert_array_equal(process(4).at(times)[:, :1], process(1).at(times))


def test_what_is_kept_goes_with_the_stream():
    one = draws()
    first = GaussianProcess.of(one, 1, 10)
    assert GaussianProcess.of(one, 1, 10) is first
    GaussianProcess.of(one, 2, 10)
    assert GaussianProcess.of(one, 1, 10) is not first  # the latest alone is kept
    gc.collect()
    kept = len(doppler._LATEST)
    del one
    gc.collect()
    assert len(doppler._LATEST) == kept - 1
