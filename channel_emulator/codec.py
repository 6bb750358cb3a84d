"""Payload bytes to float32 and back (numpy has no bfloat16), and the erasure mask as bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import TensorError
from airsplit.v1 import edge_pb2
from channel_emulator.fading import Floats

_BFLOAT16_MAX = np.float32(3.3895314e38)


def decode(payload: bytes, dtype: edge_pb2.DType, shape: tuple[int, int]) -> Floats:
    """float32 [tokens, hidden] of a payload that `airsplit.frames.check_frame` let pass.

    Raises:
        TensorError: a dtype that does not cross the radio.
    """
    if dtype == edge_pb2.DTYPE_FLOAT32:
        return np.frombuffer(payload, dtype="<f4").astype(np.float32, copy=False).reshape(shape)
    if dtype == edge_pb2.DTYPE_FLOAT16:
        return np.frombuffer(payload, dtype="<f2").astype(np.float32).reshape(shape)
    if dtype == edge_pb2.DTYPE_BFLOAT16:
        bits = np.frombuffer(payload, dtype="<u2").astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32).reshape(shape)
    raise TensorError(f"dtype: {dtype} does not cross the radio")


def encode(values: Floats, dtype: edge_pb2.DType) -> bytes:
    """The payload of `values`, rounded to nearest; what is too large becomes the largest number.

    Raises:
        TensorError: a dtype that does not cross the radio.
    """
    if dtype == edge_pb2.DTYPE_FLOAT32:
        largest = np.finfo(np.float32).max
        return np.clip(values, -largest, largest).astype("<f4", copy=False).tobytes()
    if dtype == edge_pb2.DTYPE_FLOAT16:
        return np.clip(values, np.float32(-65504), np.float32(65504)).astype("<f2").tobytes()
    if dtype == edge_pb2.DTYPE_BFLOAT16:
        bits = np.clip(values, -_BFLOAT16_MAX, _BFLOAT16_MAX).view(np.uint32)
        # To nearest, ties to even, as torch does.
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return (bits >> np.uint32(16)).astype("<u2").tobytes()
    raise TensorError(f"dtype: {dtype} does not cross the radio")


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
