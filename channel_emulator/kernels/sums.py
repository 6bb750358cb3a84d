"""Powers of tokens, and means: see `noise`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from channel_emulator.kernels.compiling import kernel, part

_PAIRWISE, _LANES, _MAX_LEAVES, _MAX_DEPTH = 128, 8, 64, 64
_WIDE_LANES = 64


@intrinsic
def _add_squares_of_eight(typing_context: Any, row: Any, start: Any, lanes: Any) -> Any:
    """Of `row` from `start` on, to those of `lanes`: numba alone adds them one by one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, lanes = (make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2))
        eight = ir.VectorType(ir.FloatType(), _LANES).as_pointer()
        values = builder.bitcast(builder.gep(row, [args[1]]), eight)
        values = builder.load(values, align=4)
        lanes = builder.bitcast(lanes, eight)
        added = builder.fadd(builder.load(lanes, align=4), builder.fmul(values, values))
        builder.store(added, lanes, align=4)
        return context.get_dummy_value()

    return types.void(row, types.intp, lanes), generate


@part
def _sum_of_squares(row, room):
    """In float32, pairwise: of halves in whole lanes; 128 elements or fewer side by side in lanes.

    All halves of most widths are of a length: those are summed first, without a branch that a core
    could mistake, then these sums.
    """
    few, leaves = len(row), 1
    while few > _PAIRWISE and few % (2 * _LANES) == 0 and leaves < _MAX_LEAVES:
        few //= 2
        leaves *= 2
    if few > _PAIRWISE:
        return _sum_of_unequal(row, *room)
    lanes, sums = room[0], room[1]
    for leaf in range(leaves):
        sums[leaf] = _sum_of_few(row, leaf * few, (leaf + 1) * few, lanes)
    while leaves > 1:
        leaves //= 2
        for i in range(leaves):
            sums[i] = sums[2 * i] + sums[2 * i + 1]
    return sums[0]


@part
def _sum_of_unequal(row, lanes, halves, ends):
    """As `_sum_of_squares`, where halves are not all of a length.

    numba keeps no recursive functions. So `ends` holds where halves on the right end, 0 once the
    left one is summed, which is in `halves` then.
    """
    start, stop, depth = 0, len(row), 0
    while True:
        while stop - start > _PAIRWISE:
            ends[depth] = stop
            stop = start + (stop - start) // 2 // _LANES * _LANES
            depth += 1
        total = _sum_of_few(row, start, stop, lanes)
        start = stop
        while depth and not ends[depth - 1]:
            depth -= 1
            total = halves[depth] + total
        if not depth:
            return total
        halves[depth - 1] = total
        stop, ends[depth - 1] = ends[depth - 1], 0


@part
def _sum_of_few(row, start, stop, lanes):
    """Of `row` from `start` to `stop`: eight sums side by side."""
    for lane in range(_LANES):
        lanes[lane] = 0
    whole = stop - (stop - start) % _LANES
    for i in range(start, whole, _LANES):
        _add_squares_of_eight(row, i, lanes)
    left = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    total = left + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    for i in range(whole, stop):
        total += row[i] * row[i]
    return total


@part
def room_for_sums():
    """What `mean_of_squares` works with."""
    sums = np.empty(max(_MAX_LEAVES, _MAX_DEPTH), np.float32)
    return np.empty(_LANES, np.float32), sums, np.empty(_MAX_DEPTH, np.int64)


@part
def mean_of_squares(row, room):
    total = np.float64(_sum_of_squares(row, room))
    if not 1e-25 < total < 3e38:  # squares that float32 cannot hold, or only roughly
        total = 0.0
        for i in range(len(row)):
            total += np.float64(row[i]) * np.float64(row[i])
    return total / len(row)


@kernel("void(Array(float32, 2, 'C', readonly=True), float64[::1])")
def mean_square(values, out):
    room = room_for_sums()
    for token in range(len(values)):
        out[token] = mean_of_squares(values[token], room)


@kernel("void(float64[::1], float64, float64, float32[:, ::1])")
def root(power, factor, most, out):
    for token in range(len(power)):
        out[token, 0] = np.float32(min(math.sqrt(power[token] * factor), most))


@kernel("float64(float32[:, ::1])")
def mean(values):
    """Of all elements."""
    lanes = np.zeros(_WIDE_LANES)
    for token in range(len(values)):
        row = values[token]
        whole = len(row) - len(row) % _WIDE_LANES
        for start in range(0, whole, _WIDE_LANES):
            for lane in range(_WIDE_LANES):
                lanes[lane] += row[start + lane]
        for i in range(whole, len(row)):
            lanes[0] += row[i]
    return lanes.sum() / values.size
