"""Compiled loops against numpy, and how they are compiled."""

import importlib.util
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from channel_emulator import noise
from channel_emulator.draws import QUANTILES, Direction, Draws, Purpose
from channel_emulator.kernels import compiling, receive, sums
from channel_emulator.kernels import draws as kernels
from channel_emulator.kernels.compiling import kernel
from channel_emulator.kernels.halves import narrowed, widened

NOISE = Purpose.NOISE


def test_a_kernel_that_cannot_be_kept_is_compiled_each_time():
    """As where the package's folder and the home directory are read-only: numba finds no place for
    a function without a file either."""
    namespace: dict = {}
    exec("def double(x):\n    return 2 * x", namespace)  # noqa: S102
    assert kernel("float64(float64)")(namespace["double"])(4.0) == 8.0


def test_an_error_in_a_kernel_is_not_taken_for_a_place_that_is_missing():
    with pytest.raises(Exception, match="nothing_of_that_name"):
        kernel("float64(float64)")(lambda x: nothing_of_that_name(x))  # noqa: F821


def test_what_was_compiled_of_other_sources_or_options_is_not_taken(tmp_path, monkeypatch):
    file = tmp_path / "doubling.py"
    file.write_text("def double(x):\n    return 2 * x\n")

    def is_taken() -> bool:
        """A new compilation of the same file: whether the code was there."""
        spec = importlib.util.spec_from_file_location("doubling", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return bool(kernel("float64(float64)")(module.double).stats.cache_hits)

    assert [is_taken(), is_taken()] == [False, True]
    monkeypatch.setitem(compiling._OPTIONS, "nogil", False)
    digests = [compiling._DIGEST, compiling._digest()]
    folder = shutil.copytree(Path(compiling.__file__).parent, tmp_path / "kernels")
    assert compiling._digest(folder) == digests[1]
    with (folder / "halves.py").open("a") as source:
        source.write("# another part\n")
    digests.append(compiling._digest(folder))
    for digest in digests[1:]:
        monkeypatch.setattr(compiling, "_DIGEST", digest)
        assert [is_taken(), is_taken()] == [False, True]


def test_a_kernel_lets_other_threads_run():
    """Another thread sees an array half drawn."""
    draws = Draws(0, 1, Direction.UPLINK)
    out = np.empty((2000, 4096), np.float32)
    for _ in range(50):
        out[:] = 0
        arguments = QUANTILES, draws.keys(NOISE), 0, 0, 0, out
        thread = threading.Thread(target=kernels.normal, args=arguments)
        thread.start()
        half_drawn = False
        while thread.is_alive() and not half_drawn:
            half_drawn = bool(out[0, 0] != 0 and out[-1, -1] == 0)
        thread.join()
        if half_drawn:
            break
    assert half_drawn


def column(rng: np.random.Generator, tokens: int, width: int) -> np.ndarray:
    return rng.uniform(0.1, 2, (tokens, width)).astype(np.float32)


@pytest.mark.parametrize("hidden", [1, 7, 64, 2500, 4096])  # one to two strips
@pytest.mark.parametrize("h_width", ["none", "token", "element"])
@pytest.mark.parametrize("std_width", ["none", "token", "element"])
@pytest.mark.parametrize("erased_width", ["none", "token", "element"])
def test_values_are_faded_get_noise_and_are_erased(hidden, h_width, std_width, erased_width):
    rng, tokens = np.random.default_rng(hidden), 5
    widths = {"none": 0, "token": 1, "element": hidden}
    values = rng.normal(0, 2, (tokens, hidden)).astype(np.float32)
    h = column(rng, tokens, widths[h_width])
    std = column(rng, tokens, widths[std_width])
    erased = rng.random((tokens, widths[erased_width])) < 0.4
    draws = Draws(3, 1, Direction.UPLINK)

    n = draws.normal(NOISE, 2, 9, (tokens, hidden)) * std if std.size else np.zeros_like(values)
    gone = np.broadcast_to(erased if erased.size else np.False_, values.shape)
    n = np.where(gone, np.float32(0), n)
    expected = values * h if h.size else values
    expected = np.where(gone, np.float32(0), expected + n)
    energies = [np.square(x.astype(np.float64)).sum() for x in (expected - values, n, expected)]

    source = np.empty((0, hidden), np.float32), QUANTILES, draws.keys(NOISE)
    out = np.empty_like(values)
    values.flags.writeable = False  # as what was read from a message is
    found = receive.receive(values, h, std, erased, *source, 2, 9, out)
    values.flags.writeable = True
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_allclose(found, energies, rtol=1e-12)
    drawn = draws.normal(NOISE, 2, 9, (tokens, hidden)), *source[1:]  # ahead
    assert receive.receive(values, h, std, erased, *drawn, 2, 9, out) == found
    np.testing.assert_array_equal(out, expected)
    again = receive.receive(values, h, std, erased, *source, 2, 9, values)  # in its own place
    np.testing.assert_array_equal(values, expected)
    assert again == found


def test_what_is_erased_is_zero_even_where_it_was_too_large():
    values = np.full((1, 8), 3e38, np.float32)
    h, erased = np.full((1, 1), 10, np.float32), np.arange(8)[None] % 2 == 0
    out, draws = np.empty_like(values), Draws(0, 1, Direction.UPLINK)
    none = np.empty((0, 8), np.float32)
    receive.receive(values, h, h, erased, none, QUANTILES, draws.keys(NOISE), 0, 0, out)
    np.testing.assert_array_equal(out[0, ::2], 0)
    np.testing.assert_array_equal(out[0, 1::2], np.finfo(np.float32).max)


@pytest.mark.parametrize("is_bfloat16", [False, True])
@pytest.mark.parametrize("hidden", [1, 17, 250, 2500])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_halves_are_received_as_the_floats_that_they_are(hidden, is_bfloat16, sigma):
    rng = np.random.default_rng(hidden)
    halves = rng.integers(0, 0x7000, (3, hidden)).astype(np.uint16)  # finite
    halves |= rng.integers(0, 2, halves.shape, np.uint16) << np.uint16(15)
    values = np.empty(halves.shape, np.float32)
    widened(halves.ravel(), is_bfloat16, values.ravel())
    h, erased = column(rng, 3, 1), rng.random(halves.shape) < 0.4
    keys = Draws(3, 1, Direction.UPLINK).keys(NOISE)
    source = np.empty((0, hidden), np.float32), QUANTILES, keys, 2, 9
    std = np.full((3, 1), sigma, np.float32)[:, : bool(sigma)].copy()

    expected, out, power = np.empty_like(values), np.empty_like(halves), np.empty(3)
    energies = receive.receive(values, h, std, erased, *source, expected)
    signal, *found = receive.receive_halves(
        halves, is_bfloat16, h, sigma, 0.0, noise.MAX_STD, erased, *source, out, power
    )
    rounded = np.empty_like(halves)
    narrowed(expected.ravel(), is_bfloat16, rounded.ravel())
    np.testing.assert_array_equal(out, rounded)
    np.testing.assert_array_equal(power, noise.token_power(values))
    assert signal == pytest.approx(power.sum() * hidden)
    assert tuple(found) == energies


def test_added_nothing_leaves_negative_zero():
    """Bits of zeros count: what is erased is a positive one, what arrives keeps its sign."""
    values = np.full((1, 70), -0.0, np.float32)
    erased, out = np.arange(70)[None] % 2 == 0, np.empty_like(values)
    none, keys = np.empty((1, 0), np.float32), Draws(0, 1, Direction.UPLINK).keys(NOISE)
    receive.receive(values, none, none, erased, none[:0], QUANTILES, keys, 0, 0, out)
    np.testing.assert_array_equal(np.signbit(out), ~erased)


@pytest.mark.parametrize("width", [1, 7, 8, 129, 136, 1000, 3584, 4096, 5120, 8192, 16_384, 65_536])
def test_squares_are_summed_pairwise_as_numpy_does(width):
    """The order of additions decides bits of the noise. numpy's pairwise sum has the same."""
    values = np.random.default_rng(width).normal(1, 2, (3, width)).astype(np.float32)
    expected = np.square(values).sum(axis=1).astype(np.float64) / width
    np.testing.assert_array_equal(noise.token_power(values), expected)


@pytest.mark.parametrize("width", [1, 7, 8, 127, 128, 129, 1000, 4096, 12_345, 200_000])
def test_power_and_mean_are_exact_to_float32_at_any_width(width):
    values = np.random.default_rng(width).normal(1, 2, (3, width)).astype(np.float32)
    expected = np.square(values, dtype=np.float64).mean(axis=1)
    np.testing.assert_allclose(noise.token_power(values), expected, rtol=5e-7)
    assert sums.mean(values) == pytest.approx(values.mean(dtype=np.float64), rel=1e-12)
