"""What becomes of the elements of a frame: the radio's arithmetic, and sums over it.

A token at a time, and of that a strip: what passes between the steps stays in a core's cache.
`receive_halves` takes a payload of 16-bit numbers as it is: float32 arrays of a whole frame would
not stay there, and of a decode frame each step would cost a call.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from channel_emulator.kernels.compiling import kernel, part
from channel_emulator.kernels.draws import normal_row, room_for_words
from channel_emulator.kernels.halves import narrow, widen
from channel_emulator.kernels.sums import mean_of_squares, room_for_sums

_LARGEST = np.finfo(np.float32).max

_NOTHING = np.float32(-0.0)
"""What leaves any number as it is, -0 as well, where it is added."""

_LANES = 64
"""Partial sums side by side: a compiler that may not reorder additions has them vectorised."""

_STRIP = 2048
"""Elements worked on at a time, a multiple of the lanes: they stay in a core's first cache."""


@part
def _saturated(x):
    return min(max(x, -_LARGEST), _LARGEST)


@part
def _scale_noise(normals, std, gone, noise):
    """`normals` by one factor, each by its own, or none: zero where `gone`."""
    if len(std) == 1:
        factor = std[0]
        for i in range(len(noise)):
            n = normals[i] * factor
            noise[i] = np.float32(0) if gone[i] else n
    elif len(std):
        for i in range(len(noise)):
            n = normals[i] * std[i]
            noise[i] = np.float32(0) if gone[i] else n
    else:
        for i in range(len(noise)):
            noise[i] = _NOTHING


@part
def _add_faded(sent, h, gone, received, added):
    """h x and what is in `added`: zero where `gone`, even if it was too large for a float32.

    `added` becomes the error.
    """
    if len(h) > 1:
        for i in range(len(sent)):
            arrived = _saturated(sent[i] * h[i] + added[i])
            arrived = np.float32(0) if gone[i] else arrived
            received[i] = arrived
            added[i] = _saturated(arrived - sent[i])
    else:
        factor = h[0] if len(h) else np.float32(1)
        for i in range(len(sent)):
            arrived = _saturated(sent[i] * factor + added[i])
            arrived = np.float32(0) if gone[i] else arrived
            received[i] = arrived
            added[i] = _saturated(arrived - sent[i])


@intrinsic
def _and_square(typing_context: Any, total: Any, x: Any) -> Any:
    """total + x² in float64. Fused where the machine can: as the square of a float32 is exact, the
    sum is rounded the same."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double = ir.DoubleType()
        of_three = ir.FunctionType(double, [double] * 3)
        fused = builder.module.declare_intrinsic("llvm.fmuladd", [double], of_three)
        return builder.call(fused, [args[1], args[1], args[0]])

    return types.float64(types.float64, types.float64), generate


@part
def _add_squares(row, lanes):
    """To each of `lanes` one after the other: four at a time, as lanes are kept in memory."""
    once = len(row) // _LANES * _LANES
    four = once // (4 * _LANES) * (4 * _LANES)
    for start in range(0, four, 4 * _LANES):
        for lane in range(_LANES):
            i = start + lane
            total = _and_square(_and_square(lanes[lane], row[i]), row[i + _LANES])
            i += 2 * _LANES
            lanes[lane] = _and_square(_and_square(total, row[i]), row[i + _LANES])
    for start in range(four, once, _LANES):
        for lane in range(_LANES):
            lanes[lane] = _and_square(lanes[lane], row[start + lane])
    for i in range(once, len(row)):
        lanes[0] = _and_square(lanes[0], row[i])


@part
def _room_for(width):
    """What `_receive_row` works with: of one token, and of one strip."""
    row = np.empty(width, np.float32)
    added, gone = np.empty(_STRIP, np.float32), np.zeros(width, np.bool_)
    return row, np.empty_like(row), added, gone, room_for_words(width + width % 2)


@part
def _of_strip(row, start, stop):
    """A strip of one for each element; what is for all of them, or for none, itself."""
    return row[start:stop] if len(row) > 1 else row


@part
def _receive_row(token, sent, h, std, erased, draws, room, energies):
    """h x + std n of one token, zero where erased.

    Args:
        h, std: [hidden], [1], or [0]: none.
        erased, draws: as `receive` has them; `draws` is (normals, table, ..., position).
        energies: three times [lanes], to which those that `receive` returns are added.

    Returns:
        In `room`: what is received.
    """
    received, n, strip, gone, drawn = room
    normals, table, keys, window, position = draws
    if erased.shape[1] == 1:
        gone[:] = erased[token, 0]
    elif erased.shape[1]:
        gone = erased[token]
    if len(normals):
        n = normals[token]
    elif len(std):
        normal_row(table, keys, window, position + np.uint64(token), np.uint64(0), drawn, n)
    for start in range(0, len(sent), _STRIP):
        stop = min(start + _STRIP, len(sent))
        x, y, lost = sent[start:stop], received[start:stop], gone[start:stop]
        added = strip[: stop - start]
        _scale_noise(n[start:stop], _of_strip(std, start, stop), lost, added)
        if len(std):
            _add_squares(added, energies[1])
        _add_faded(x, _of_strip(h, start, stop), lost, y, added)
        _add_squares(added, energies[0])
        _add_squares(y, energies[2])
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
    room, none = _room_for(width), np.empty(0, np.float32)
    energies = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    for token in range(tokens):
        of_h = h[token] if h.shape[1] else none
        of_std = std[token] if std.shape[1] else none
        out[token] = _receive_row(token, values[token], of_h, of_std, erased, draws, room, energies)
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
    room, sums, none = _room_for(width), room_for_sums(), np.empty(0, np.float32)
    energies = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    sent, std, total = np.empty(width, np.float32), np.empty(1, np.float32), 0.0
    if sigma == 0 and ratio == 0:
        std = none
    for token in range(tokens):
        widen(halves[token], is_bfloat16, sent)
        power[token] = mean_of_squares(sent, sums)
        total += power[token]
        if len(std):
            std[0] = sigma + min(math.sqrt(power[token] * ratio), most)
        of_h = h[token] if h.shape[1] else none
        received = _receive_row(token, sent, of_h, std, erased, draws, room, energies)
        narrow(received, is_bfloat16, out[token])
    return total * width, energies[0].sum(), energies[1].sum(), energies[2].sum()
