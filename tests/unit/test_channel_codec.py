"""Payloads to numbers and back, against torch."""

import numpy as np
import pytest
import torch

from airsplit import tensor_codec
from airsplit.errors import TensorError
from airsplit.v1 import edge_pb2
from channel_emulator import codec

DTYPES = [
    (edge_pb2.DTYPE_FLOAT32, torch.float32),
    (edge_pb2.DTYPE_FLOAT16, torch.float16),
    (edge_pb2.DTYPE_BFLOAT16, torch.bfloat16),
]


@pytest.mark.parametrize(("dtype", "torch_dtype"), DTYPES)
def test_bytes_are_those_of_torch(dtype, torch_dtype):
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(16, 64, generator=generator) * torch.logspace(-8, 4, 64)
    # Halfway cases decide between "to nearest even" and the rest.
    values[0, :8] = torch.tensor([1.00390625, 1.01171875, -1.00390625, 0.0, -0.0, 3e4, 1e-7, 1.5])
    expected = tensor_codec.encode(values.to(torch_dtype))
    assert codec.encode(values.numpy(), dtype) == expected
    decoded = codec.decode(expected, dtype, (16, 64))
    np.testing.assert_array_equal(decoded, values.to(torch_dtype).float().numpy())
    assert decoded.dtype == np.float32


@pytest.mark.parametrize(("dtype", "torch_dtype"), DTYPES)
def test_too_large_becomes_the_largest(dtype, torch_dtype):
    values = np.array([[np.inf, -np.inf, 3.4e38, 1.0]], np.float32)
    decoded = codec.decode(codec.encode(values, dtype), dtype, (1, 4))
    largest = torch.finfo(torch_dtype).max
    np.testing.assert_allclose(decoded[0, :3], [largest, -largest, min(3.4e38, largest)], rtol=0.01)
    assert np.isfinite(decoded).all()


def test_the_mask_has_the_least_bit_first():
    erased = np.zeros((2, 5), bool)
    erased[0, 0] = erased[1, 4] = True
    assert codec.encode_mask(erased) == bytes([0b00000001, 0b00000010])
    np.testing.assert_array_equal(codec.decode_mask(codec.encode_mask(erased), (2, 5)), erased)
    assert codec.encode_mask(None) == b""
    assert not codec.decode_mask(b"", (2, 5)).any()


def test_a_dtype_that_does_not_cross_is_refused():
    with pytest.raises(TensorError):
        codec.decode(b"", edge_pb2.DTYPE_UNSPECIFIED, (0, 0))
    with pytest.raises(TensorError):
        codec.encode(np.zeros((1, 1), np.float32), edge_pb2.DTYPE_UNSPECIFIED)
