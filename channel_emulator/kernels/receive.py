"""What becomes of the elements of a frame: the radio's arithmetic, and sums over it.

A token at a time, so that what passes between the steps stays in a core's cache. `receive_halves`
takes a payload of 16-bit numbers as it is: float32 arrays of a whole frame would not stay there,
and of a decode frame each step would cost a call.
"""

from __future__ import annotations

import math

import numpy as np

from channel_emulator.kernels.compiling import kernel, part
from channel_emulator.kernels.draws import normal_row, normal_words
from channel_emulator.kernels.halves import narrow, widen
from channel_emulator.kernels.sums import mean_of_squares, room_for_sums


@part
def _scale(row, factors, out):
    """By one factor, or each element by its own, to `out`, maybe `row`."""
    if len(factors) == 1:
        factor = factors[0]
        for i in range(len(row)):
            out[i] = row[i] * factor
    else:
        for i in range(len(row)):
            out[i] = row[i] * factors[i]


@part
def _saturated(x):
    return min(max(x, -_LARGEST), _LARGEST)


@part
def _erase(row, erased):
    """Zeros, also in place of what is not finite. All of a row or single elements."""
    if len(erased) == 1:
        if erased[0]:
            row[:] = 0
    else:
        for i in range(len(row)):
            row[i] = np.float32(0) if erased[i] else row[i]


_LARGEST = np.finfo(np.float32).max

_LANES = 64
"""Partial sums side by side: a compiler that may not reorder additions has them vectorised."""


@part
def _add_squares(row, lanes):
    whole = len(row) - len(row) % _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            x = np.float64(row[start + lane])
            lanes[lane] += x * x
    for i in range(whole, len(row)):
        lanes[0] += np.float64(row[i]) * np.float64(row[i])


@part
def _room_for(width):
    """What `_receive_row` works with: of one token, so that it stays in a core's cache."""
    return np.empty(width, np.float32), np.empty(width, np.float32), normal_words(width)


@part
def _receive_row(token, sent, h, std, erased, draws, room, energies):
    """h x + std n of one token, zero where erased.

    Args:
        std: [hidden], [1], or [0].
        h, erased, draws: as `receive` has them; `draws` is (normals, table, ..., position).
        energies: [3, lanes], to which those that `receive` returns are added.

    Returns:
        In `room`: what is received.
    """
    received, added, drawn = room
    normals, table, keys, window, position = draws
    if h.shape[1]:
        _scale(sent, h[token], received)
    else:
        received[:] = sent
    if len(std):
        if len(normals):
            added[:] = normals[token]
        else:
            at = position + np.uint64(token)
            normal_row(table, keys, window, at, np.uint64(0), drawn, added)
        _scale(added, std, added)
        if erased.shape[1]:
            _erase(added, erased[token])
        _add_squares(added, energies[1])
        for i in range(len(sent)):
            received[i] += added[i]
    if erased.shape[1]:
        _erase(received, erased[token])
    for i in range(len(sent)):
        received[i] = _saturated(received[i])
    for i in range(len(sent)):
        added[i] = _saturated(received[i] - sent[i])
    _add_squares(added, energies[0])
    _add_squares(received, energies[2])
    return received


@kernel(
    "UniTuple(float64, 3)(Array(float32, 2, 'C', readonly=True), float32[:, ::1],"
    " float32[:, ::1], boolean[:, ::1], float32[:, ::1], float32[::1], uint64[::1], uint64, uint64,"
    " float32[:, ::1])"
)
def receive(values, h, std, erased, normals, table, keys, window, position, out):
    """h x + std n, zero where erased, to `out`, maybe `values`. See `Radio.transmit`.

    What is beyond float32 becomes its largest number, as in the codec.

    `h`, `std` and `erased` are [tokens, hidden], [tokens, 1], or [tokens, 0]: none. `normals` are
    the draws of n, [tokens, hidden], or [0, hidden]: to be made.

    Returns:
        Energies of the error, of the noise on what arrived, and of what was received.
    """
    tokens, width = values.shape
    draws = normals, table, keys, window, position
    room, energies, none = _room_for(width), np.zeros((3, _LANES)), np.empty(0, np.float32)
    for token in range(tokens):
        of_token = std[token] if std.shape[1] else none
        out[token] = _receive_row(token, values[token], h, of_token, erased, draws, room, energies)
    return energies[0].sum(), energies[1].sum(), energies[2].sum()


@kernel(
    "UniTuple(float64, 4)(Array(uint16, 2, 'C', readonly=True), boolean, float32[:, ::1],"
    " float64, float64, float64, boolean[:, ::1], float32[:, ::1], float32[::1], uint64[::1],"
    " uint64, uint64, uint16[:, ::1], float64[::1])"
)
def receive_halves(
    halves, is_bfloat16, h, sigma, ratio, most, erased, normals, table, keys, window, position,
    out, power
):  # fmt: skip
    """`receive` of halves, to halves; the tokens' mean squares to `power`.

    Noise has a standard deviation of `sigma`, or of √(power ratio), up to `most`: one of the two is
    0, and without noise both are.

    Returns:
        Energy of what was sent, and those of `receive`.
    """
    tokens, width = halves.shape
    draws = normals, table, keys, window, position
    room, energies, sums = _room_for(width), np.zeros((3, _LANES)), room_for_sums()
    sent, std, total = np.empty(width, np.float32), np.empty(1, np.float32), 0.0
    if sigma == 0 and ratio == 0:
        std = std[:0]
    for token in range(tokens):
        widen(halves[token], is_bfloat16, sent)
        power[token] = mean_of_squares(sent, sums)
        total += power[token]
        if len(std):
            std[0] = sigma + min(math.sqrt(power[token] * ratio), most)
        received = _receive_row(token, sent, h, std, erased, draws, room, energies)
        narrow(received, is_bfloat16, out[token])
    return total * width, energies[0].sum(), energies[1].sum(), energies[2].sum()
