"""Tensor to bytes and back, with shape and dtype beside them. Little-endian, C order."""

from __future__ import annotations

import numpy as np
import torch

from airsplit.errors import InputError, TensorError
from airsplit.frames import ITEM_BYTES
from airsplit.v1 import edge_pb2

DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Names on the command line."""

_TO_PROTO = {
    torch.float32: edge_pb2.DTYPE_FLOAT32,
    torch.float16: edge_pb2.DTYPE_FLOAT16,
    torch.bfloat16: edge_pb2.DTYPE_BFLOAT16,
}
_FROM_PROTO = {proto: dtype for dtype, proto in _TO_PROTO.items()}


def parse_dtype(field: str, name: str) -> torch.dtype:
    """The torch dtype of a command-line name.

    Raises:
        InputError: no such name.
    """
    if name not in DTYPES:
        raise InputError.of(field, name, ", ".join(DTYPES))
    return DTYPES[name]


def dtype_to_proto(dtype: torch.dtype) -> edge_pb2.DType:
    return _TO_PROTO[dtype]


def dtype_from_proto(dtype: edge_pb2.DType) -> torch.dtype:
    """Raises: TensorError: not a dtype that may cross."""
    if dtype not in _FROM_PROTO:
        raise TensorError(f"dtype: {dtype}; allowed: {sorted(ITEM_BYTES)}")
    return _FROM_PROTO[dtype]


def encode(tensor: torch.Tensor) -> bytes:
    """The elements of `tensor`, in its own dtype."""
    source = tensor.detach().contiguous().view(-1)
    if source.is_cuda:  # straight into pinned memory: one copy, by the device itself
        source = torch.empty_like(source, device="cpu", pin_memory=True).copy_(source)
    return source.cpu().view(torch.uint8).numpy().tobytes()


def decode(
    payload: bytes,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device | None = None,
) -> torch.Tensor:
    """A tensor on `device` (default: the CPU) with the elements of `payload`.

    Raises:
        TensorError: the number of bytes does not fit.
    """
    elements = 1
    for size in shape:
        elements *= size
    if len(payload) != elements * dtype.itemsize:
        raise TensorError(
            f"payload: {len(payload)} bytes for shape {list(shape)} of {dtype.itemsize}-byte items"
        )
    if elements == 0:
        return torch.empty(shape, dtype=dtype, device=device)
    # A copy into memory that torch may write to; one memcpy is less than its warning costs.
    pinned = device is not None and device.type == "cuda"
    host = torch.empty(len(payload), dtype=torch.uint8, pin_memory=pinned)
    host.numpy()[:] = np.frombuffer(payload, dtype=np.uint8)
    return host.to(device, non_blocking=pinned).view(dtype).view(shape)
