"""Numbers of 16 bits to float32 and back, by integer and float32 arithmetic.

numpy has no bfloat16, and converts float16 one by one; numba has neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from channel_emulator.kernels.compiling import kernel, part

_FLOAT16_MAX = np.float32(65504)
_BFLOAT16_MAX = np.float32(3.3895314e38)
_SIGN = np.uint32(0x8000)
_EXPONENT = np.uint32(0x7F800000)
_NAN = np.float32(np.nan)
_BEYOND_FLOAT16 = np.float32(65536)
"""What an exponent of all ones would be, which stands for infinities and NaNs."""


# float16 has 5 exponent bits with a bias of 15, float32 8 with 127: where float16's bits stand at
# float32's places, the float32 is the number times 2^(15 - 127), subnormal numbers included.
_TO_FLOAT16 = np.float32(2.0**-112)
_FROM_FLOAT16 = np.float32(2.0**112)
_MANTISSA_BITS = np.uint32(23 - 10)
"""By which float32's mantissa is longer."""

_PLACES = np.uint32(0x8000_0000 | 0x7FFF << 13)
"""Of float16's bits in a float32."""

_FLOAT16_MIN = np.float32(2.0**-14)
"""Smallest normal number: below it the spacing stays the same."""

_ROUNDING = np.uint32(13 << 23 | 1 << 22)
"""Turns the bits of 2^e into those of 1.5 · 2^(e + 13), whose last bit is worth 2^(e - 10)."""


@intrinsic
def _bits(typing_context: Any, value: Any) -> Any:
    """A float32's, as a uint32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@intrinsic
def _float(typing_context: Any, bits: Any) -> Any:
    """The float32 of a uint32's bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), generate


@part
def _from_float16(halves, out):
    """Exactly; what was not finite is a NaN."""
    for i in range(len(out)):
        # As a signed number its sign is at all places above.
        placed = (np.uint32(np.int16(halves[i])) << _MANTISSA_BITS) & _PLACES
        value = _float(np.uint32(placed)) * _FROM_FLOAT16
        out[i] = value if abs(value) < _BEYOND_FLOAT16 else _NAN


@part
def _to_float16(values, out):
    """To nearest, ties to even, as IEEE 754 has it."""
    for i in range(len(out)):
        value = min(max(values[i], -_FLOAT16_MAX), _FLOAT16_MAX)
        # What is added and taken away again leaves as many bits as float16 has at that exponent.
        exponent = max(_float(np.uint32(_bits(value) & _EXPONENT)), _FLOAT16_MIN)
        magic = _float(np.uint32(_bits(exponent) + _ROUNDING))
        rounded = ((value + magic) - magic) * _TO_FLOAT16
        # A number that became zero lost its sign on the way: that of the original is taken.
        magnitude = _bits(abs(rounded)) >> _MANTISSA_BITS
        out[i] = np.uint16(magnitude | ((_bits(value) >> np.uint32(16)) & _SIGN))


@part
def _from_bfloat16(halves, out):
    for i in range(len(out)):
        out[i] = _float(np.uint32(np.uint32(halves[i]) << np.uint32(16)))


@part
def _to_bfloat16(values, out):
    """To nearest, ties to even, as torch does."""
    for i in range(len(out)):
        bits = _bits(min(max(values[i], -_BFLOAT16_MAX), _BFLOAT16_MAX))
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        out[i] = np.uint16((bits + odd + np.uint32(0x7FFF)) >> np.uint32(16))


@part
def widen(halves, is_bfloat16, out):
    if is_bfloat16:
        _from_bfloat16(halves, out)
    else:
        _from_float16(halves, out)


@part
def narrow(values, is_bfloat16, out):
    if is_bfloat16:
        _to_bfloat16(values, out)
    else:
        _to_float16(values, out)


@kernel("void(Array(uint16, 1, 'C', readonly=True), boolean, float32[::1])")
def widened(halves, is_bfloat16, out):
    widen(halves, is_bfloat16, out)


@kernel("void(float32[::1], boolean, uint16[::1])")
def narrowed(values, is_bfloat16, out):
    narrow(values, is_bfloat16, out)
