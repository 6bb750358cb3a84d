"""Payload bytes to float32 and back, and the erasure mask as bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import TensorError
from airsplit.v1 import edge_pb2
from channel_emulator.kernels import halves

Floats = NDArray[np.float32]

HALVES: dict[int, bool] = {edge_pb2.DTYPE_FLOAT16: False, edge_pb2.DTYPE_BFLOAT16: True}
"""Dtypes of 16 bits; whether it is bfloat16."""

_FLOAT32_MAX = np.finfo(np.float32).max


def decode(payload: bytes, dtype: edge_pb2.DType, shape: tuple[int, int]) -> Floats:
    """A new float32 [tokens, hidden] of a payload that `airsplit.frames.check_frame` let pass.

    Raises:
        TensorError: a dtype that does not cross the radio.
    """
    if dtype == edge_pb2.DTYPE_FLOAT32:
        return np.frombuffer(payload, dtype="<f4").astype(np.float32).reshape(shape)
    if dtype not in HALVES:
        raise TensorError(f"dtype: {dtype} does not cross the radio")
    values = np.empty(shape, dtype=np.float32)
    halves.widened(np.frombuffer(payload, np.uint16), HALVES[dtype], values.reshape(-1))
    return values


def encode(values: Floats, dtype: edge_pb2.DType) -> bytes:
    """The payload of `values`, rounded to nearest; what is too large becomes the largest number.

    No value may be NaN.

    Raises:
        TensorError: a dtype that does not cross the radio.
    """
    if dtype == edge_pb2.DTYPE_FLOAT32:
        return np.clip(values, -_FLOAT32_MAX, _FLOAT32_MAX).astype("<f4", copy=False).tobytes()
    if dtype not in HALVES:
        raise TensorError(f"dtype: {dtype} does not cross the radio")
    encoded = np.empty(values.size, dtype=np.uint16)
    halves.narrowed(values.reshape(-1), HALVES[dtype], encoded)
    return encoded.tobytes()


def encode_mask(erased: NDArray[np.bool_] | None) -> bytes:
    """One bit per element, least significant first; empty where nothing is erased."""
    if erased is None:
        return b""
    return np.packbits(erased, axis=None, bitorder="little").tobytes()


def decode_mask(mask: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [tokens, hidden], True where erased."""
    if not mask:
        return np.zeros(shape, dtype=np.bool_)
    bits = np.frombuffer(mask, dtype=np.uint8)
    flat = np.unpackbits(bits, count=shape[0] * shape[1], bitorder="little")
    return flat.reshape(shape).view(np.bool_)
