"""The draws of each element of a frame: see `draws`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from channel_emulator.kernels.compiling import inlined, kernel, part

# Philox4x64-10 (Salmon et al. 2011), as in numpy: the counter is raised before each block.
_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ONE = np.uint64(1)


@intrinsic
def _product(typing_context: Any, a: Any, b: Any) -> Any:
    """Of two words: its upper and its lower one."""
    both = types.UniTuple(types.uint64, 2)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(arg, wide) for arg in args))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, both, (high, builder.trunc(product, word)))

    return both(types.uint64, types.uint64), generate


@inlined
def _block(k0, k1, c0, c1, c2, c3):
    """The four words of this value of the counter.

    In the loop that calls it: LLVM then takes out of that what does not change, and a core works on
    several blocks at once by itself.
    """
    for _ in range(10):
        (high0, low0), (high1, low1) = _product(_M0, c0), _product(_M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += _W0
        k1 += _W1
    return c0, c1, c2, c3


@part
def _fill(words, keys, first, width, window, attempt):
    """`words`, [blocks, 4], from the block behind counter `first` on."""
    k0, k1 = keys[0], keys[1]
    for block in range(len(words)):
        counter = first + np.uint64(block) + _ONE
        drawn = _block(k0, k1, counter, width, window, attempt)
        for i in range(4):
            words[block, i] = drawn[i]


@part
def _uniform(word):
    return np.float64(word >> np.uint64(11)) * 2.0**-53


@part
def _of_element(keys, window, position, attempt, element):
    """The first uniform draw of an element for which 16 bits are too few."""
    counter = (np.uint64(element) << np.uint64(32)) + _ONE
    return _uniform(_block(keys[2], keys[3], counter, position, window, attempt)[0])


@kernel("void(uint64[::1], uint64, uint64, uint64, float64[:, ::1])")
def uniform(keys, window, position, attempt, out):
    tokens, width = out.shape
    blocks = (width + 3) // 4
    drawn = np.empty((blocks, 4), np.uint64)
    words = drawn.reshape(drawn.size)
    for token in range(tokens):
        first = (position + np.uint64(token)) * np.uint64(blocks)
        _fill(drawn, keys, first, np.uint64(width), window, attempt)
        for i in range(width):
            out[token, i] = _uniform(words[i])


@part
def room_for_words(draws):
    """Room for as many draws of 16 bits: by block, [blocks, 4], and the same as draws."""
    words = np.empty(((draws + 15) // 16, 4), np.uint64)
    return words, words.reshape(words.size).view(np.uint16)


@kernel("void(uint64[::1], uint64, uint64, uint64, uint16, float64, boolean[:, ::1])")
def events(keys, window, position, attempt, threshold, rest, out):
    tokens, width = out.shape
    drawn, bits = room_for_words(width)
    blocks = len(drawn)
    for token in range(tokens):
        at = position + np.uint64(token)
        _fill(drawn, keys, at * np.uint64(blocks), np.uint64(width), window, attempt)
        nearest = np.uint16(65535)
        for i in range(width):
            out[token, i] = bits[i] < threshold
            nearest = min(nearest, np.uint16(threshold ^ bits[i]))
        if nearest == 0 and rest > 0:  # seldom, and such a search is slow
            for i in range(width):
                if bits[i] == threshold:
                    out[token, i] = _of_element(keys, window, at, attempt, i) < rest


# Φ⁻¹ of the tail as in Cephes (Moshier 1989, ndtri): x = √(-2 ln y), two ranges of it.
_NEAR = (
    (4.05544892305962419923, 3.15251094599893866154e1, 5.71628192246421288162e1,
     4.40805073893200834700e1, 1.46849561928858024014e1, 2.18663306850790267539,
     -1.40256079171354495875e-1, -3.50424626827848203418e-2, -8.57456785154685413611e-4),
    (1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1,
     1.50425385692907503408e1, 2.50464946208309415979, -1.42182922854787788574e-1,
     -3.80806407691578277194e-2, -9.33259480895457427372e-4),
)  # fmt: skip
_FAR = (
    (3.23774891776946035970, 6.91522889068984211695, 3.93881025292474443415,
     1.33303460815807542389, 2.01485389549179081538e-1, 1.23716634817820021358e-2,
     3.01581553508235416007e-4, 2.65806974686737550832e-6, 6.23974539184983293730e-9),
    (1.0, 6.02427039364742014255, 3.67983563856160859403, 1.37702099489081330271,
     2.16236993594496635890e-1, 1.34204006088543189037e-2, 3.28014464682127739104e-4,
     2.89247864745380683936e-6, 6.79019408009981274425e-9),
)  # fmt: skip
_HALF_ROOT = math.sqrt(0.5)


@part
def _ratio(z, fit):
    top, bottom = 0.0, 0.0
    for coefficient in fit[0]:
        top = top * z + coefficient
    for coefficient in fit[1]:
        bottom = bottom * z + coefficient
    return top / bottom


@part
def _lower_tail(y):
    """Φ⁻¹(y), y in (0, e^-2)."""
    x = math.sqrt(-2 * math.log(y))
    z = 1 / x
    fitted = z * _ratio(z, _NEAR) if x < 8 else z * _ratio(z, _FAR)
    return fitted - (x - math.log(x) / x)


@part
def _exact(bits, table, keys, window, position, attempt, element):
    """The quantile of an element: of the outermost cells by more bits."""
    cell = bits[element]
    if cell != 0 and cell != 65535:
        return table[cell]
    u = _of_element(keys, window, position, attempt, element)
    tail = _HALF_ROOT * _lower_tail((1 - u) / 65536)
    return np.float32(tail if cell == 0 else -tail)


@part
def _look_up(table, keys, first, width, window, attempt, words, out):
    """As `_fill`, as many as `out` has, [blocks, 16]: to that, what the table has for each 16 bits.

    Each block's at once: while the table, larger than a core's first cache, is waited for, the next
    block is made.
    """
    k0, k1 = keys[0], keys[1]
    for block in range(len(out)):
        counter = first + np.uint64(block) + _ONE
        drawn = _block(k0, k1, counter, width, window, attempt)
        for i in range(4):
            words[block, i] = drawn[i]
            for j in range(4):
                cell = (drawn[i] >> np.uint64(16 * j)) & np.uint64(0xFFFF)
                out[block, 4 * i + j] = table[cell]


@part
def normal_row(table, keys, window, position, attempt, drawn, out):
    """The normal draws of one token: see `Draws.normal`. `drawn` is from `room_for_words`."""
    drawn, bits = drawn
    width = len(out)
    pairs = (width + 1) // 2
    both = width - pairs
    words = np.uint64(2 * pairs)
    first = position * np.uint64(len(drawn))
    whole = width // 16
    cells = out[: 16 * whole].reshape(whole, 16)
    _look_up(table, keys, first, words, window, attempt, drawn, cells)
    if whole < len(drawn):
        _fill(drawn[whole:], keys, first + np.uint64(whole), words, window, attempt)
        for i in range(16 * whole, width):
            out[i] = table[bits[i]]
    upper = out[pairs:]
    for i in range(both):
        a, b = out[i], upper[i]
        out[i] = a + b
        upper[i] = a - b
    if both < pairs:
        out[both] += table[bits[pairs + both]]
    least, most = bits[0], bits[0]
    for i in range(2 * pairs):
        least, most = min(least, bits[i]), max(most, bits[i])
    if least == 0 or most == 65535:
        for i in range(2 * pairs):
            if bits[i] == 0 or bits[i] == 65535:
                one = i % pairs
                other = pairs + one
                a = _exact(bits, table, keys, window, position, attempt, one)
                b = _exact(bits, table, keys, window, position, attempt, other)
                out[one] = a + b
                if other < width:
                    out[other] = a - b


@kernel("void(float32[::1], uint64[::1], uint64, uint64, uint64, float32[:, ::1])")
def normal(table, keys, window, position, attempt, out):
    drawn = room_for_words(out.shape[1] + out.shape[1] % 2)
    for token in range(len(out)):
        at = position + np.uint64(token)
        normal_row(table, keys, window, at, attempt, drawn, out[token])
