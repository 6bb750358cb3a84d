"""What is measured of a frame: what happened to it, its pilots, what its receiver knows."""

from __future__ import annotations

import math

import numpy as np

from channel_emulator.kernels.compiling import kernel, part
from channel_emulator.kernels.estimators import nakagami


@part
def _ratio_db(signal, error):
    """Of two powers: infinite without an error, NaN without either."""
    if error == 0:
        return math.inf if signal > 0 else math.nan
    ratio = signal / error
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


@kernel(
    "UniTuple(float64, 4)(float64[::1], int64, float64, float64, float64, float64, float64,"
    " float64, float64)"
)
def truth(power, size, loss, signal, error, noise, sigma, snr_db, most):
    """What happened to a frame.

    Args:
        power: of each token, that an SNR is relative to: [tokens].
        size: number of elements.
        loss: share of them that were erased.
        signal, error, noise: energies of the values that were sent, of what was received less
            that, and of the noise on the elements that arrived, after equalisation.
        sigma: σ of n in y = h·x + n, or NaN: `snr_db` says. Without noise it is 0.
        most: limit of each token's σ.

    Returns:
        σ and SNR in dB of what was received; σ of n, root mean square over the tokens, and SNR in
        dB at h = 1 as configured: one follows from the other by the mean of `power`. Where a
        token's σ is at its limit, the SNR is what it came to.
    """
    received = math.sqrt(noise / (size * (1 - loss))) if loss < 1 else math.nan
    total, tokens = 0.0, len(power)
    for token in range(tokens):
        total += power[token]
    amplitude = math.sqrt(total / tokens)
    if math.isnan(sigma):
        ratio = 10 ** (-snr_db / 20)
        sigma = amplitude * ratio
        if sigma * math.sqrt(tokens) > most:  # else no token's is: none is above their sum's root
            squares = 0.0
            for token in range(tokens):
                squares += min(math.sqrt(power[token]) * ratio, most) ** 2
            sigma = math.sqrt(squares / tokens)
            snr_db = 2 * _ratio_db(amplitude, sigma)
    elif sigma == 0:
        snr_db = math.inf
    else:
        snr_db = 2 * _ratio_db(amplitude, sigma)  # not of squares: a small σ's is zero
    return received, _ratio_db(signal, error), sigma, snr_db


@kernel("float64(float32[:, ::1], float64, float32[::1], float64, float64[:, ::1], float64[::1])")
def pilots(noise, std, h, tiny, received, moments):
    """Unit pilots h + std n to `received`, [blocks, pilots], a block meeting one of `h`.

    To `moments` go <ĥ²>, <ĥ⁴>, <ln(ĥ² + tiny)> of the blocks' means ĥ, and the variance of their
    noise.

    Returns:
        Variance of the noise of a pilot: about its block's mean.
    """
    blocks, each = received.shape
    gains, squares, logs, spread = 0.0, 0.0, 0.0, 0.0
    for block in range(blocks):
        mean = 0.0
        for pilot in range(each):
            x = h[block] + np.float64(noise[0, block * each + pilot]) * std
            received[block, pilot] = x
            mean += x
        mean /= each
        for pilot in range(each):
            spread += (received[block, pilot] - mean) ** 2
        gain = mean * mean
        gains += gain
        squares += gain * gain
        logs += math.log(gain + tiny)
    within = spread / (blocks * (each - 1))
    moments[0], moments[1], moments[2] = gains / blocks, squares / blocks, logs / blocks
    moments[3] = within / each
    return within


@kernel(
    "UniTuple(float64, 5)(float64[:, ::1], float64[::1], UniTuple(float64, 6), int64, int64,"
    " boolean, int64, int64, int64)"
)
def estimate(sums, moments, frame, end, count, held, most, fades, most_telling):
    """Takes in the frame before `end`; what the last `count` tell.

    Args:
        sums: a row is a frame. Columns 0 to 3 are its `moments`: <ĥ²>, <ĥ⁴>, <ln ĥ²> and s; 4 to 9
            are `frame`: its fades; Σ over the elements that arrived of the variance of their noise,
            and how many tell of it; energy and number of those; elements that were sent.
        held: whether h is.
        most: frames that h and loss are made of; h where it is held of as many as `fades` fades
            take.
        most_telling: frames that noise and power are made of, the newest of those that tell.

    Returns:
        σ̂, m̂, Ω̂, the share that was lost, and SNR in dB: NaN where it cannot be told.
    """
    row = sums[end - 1]
    row[:4] = moments
    for i in range(6):
        row[4 + i] = frame[i]
    of_h, frames = np.zeros(5), 0
    while frames < count and (frames < most or (held and of_h[4] < fades)):
        frames += 1
        for column in range(5):
            of_h[column] += sums[end - frames, column]
    variance, told, energy, counted, arrived, sent, telling = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for back in range(1, min(count, most) + 1):
        row = sums[end - back]
        if row[6] > 0 and telling < most_telling:
            telling += 1
            variance += row[5]
            told += row[6]
            energy += row[7]
            counted += row[8]
        arrived += row[8]
        sent += row[9]
    square, fourth, log, s = of_h[0] / frames, of_h[1] / frames, of_h[2] / frames, of_h[3] / frames
    omega, m = nakagami(square, fourth, log, s, of_h[4])
    noise = variance / told if told > 0 else math.nan
    power = energy / counted - noise if counted > 0 else math.nan
    snr_db = _ratio_db(power, noise) if power > 0 else math.nan
    return math.sqrt(noise), m, omega, 1 - arrived / sent, snr_db
