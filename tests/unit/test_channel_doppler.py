"""The Gaussian processes against Clarke's model, and their independence of who asks when."""

import cmath
import gc

import numpy as np
import pytest
from scipy import special

from channel_emulator import doppler, theory
from channel_emulator.doppler import WAVES, GaussianProcess
from channel_emulator.draws import Direction, Draws
from channel_emulator.travel import Anchor, Travel

DOPPLER_HZ = 10.0


def draws(stream=0, seed=0, direction=Direction.UPLINK):
    return Draws(seed, stream, direction)


def process(processes=1, doppler_hz=DOPPLER_HZ, **key):
    return GaussianProcess.of(draws(**key), processes, doppler_hz)


def instants(seconds):
    return np.rint(np.asarray(seconds) * 1e9).astype(np.uint64)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_correlation_is_that_of_clarke(seed):
    """Complex autocorrelation J0(2π f_D τ), with its first zero at 2.405."""
    zero_s = special.jn_zeros(0, 1)[0] / (2 * np.pi * DOPPLER_HZ)
    tau_s = np.concatenate([[zero_s], np.linspace(0.003, 0.1, 8)])
    times = instants((np.arange(400) * 1.37)[:, None] + np.concatenate([[0], tau_s]))
    found = []
    for stream in range(60):
        r = process(stream=stream, seed=seed).at(times.ravel())[:, 0].reshape(times.shape)
        found.append((r[:, 1:] * r[:, :1].conj()).mean(axis=0))
    for part, expected in (
        (np.real(found), theory.autocorrelation(tau_s, DOPPLER_HZ)),
        (np.imag(found), 0),
    ):
        error = part.std(axis=0, ddof=1) / np.sqrt(len(found))
        assert error.max() < 0.01
        # 54 comparisons together have 0.1 % false alarms: Student's t of 59 degrees of freedom.
        assert (np.abs(part.mean(axis=0) - expected) < 4.7 * error).all()


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


@pytest.mark.parametrize("hz", [0.0, 3.3, 16.34, 700.0])
def test_from_an_anchor_on_it_is_the_same_process(hz):
    """However many cycles there were and whenever: nearly the same numbers."""
    source, times = process(doppler_hz=hz), instants(np.linspace(50, 60, 300))
    for anchor_s in (0.0, 20.0, 55.5, 1e4):
        cycles = round(hz * anchor_s * 2**64)
        anchor = Anchor(round(anchor_s * 1e9), Travel(cycles))
        np.testing.assert_allclose(source.at(times, anchor), source.at(times), atol=2e-5)
    half = Anchor(0, Travel(cycles=2**63))
    turned = np.angle(source.at(times, half)) - np.angle(source.at(times))
    assert np.abs(turned).max() > 0.3


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
