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


def test_every_float16_is_decoded_exactly():
    bits = np.arange(65536, dtype=np.uint16)
    halves = bits.view(np.float16)
    decoded = codec.decode(bits.tobytes(), edge_pb2.DTYPE_FLOAT16, (256, 256)).ravel()
    finite = np.isfinite(halves)
    np.testing.assert_array_equal(np.isfinite(decoded), finite)
    expected = halves[finite].astype(np.float32)
    np.testing.assert_array_equal(decoded[finite].view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("dtype", [edge_pb2.DTYPE_FLOAT16, edge_pb2.DTYPE_BFLOAT16])
def test_numbers_of_every_size_and_halfway_cases_are_rounded_to_nearest_even(dtype):
    torch_dtype = dict(DTYPES)[dtype]
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(torch_dtype).double()
    every = torch.sort(every[every.isfinite()])[0]
    halfway = ((every[1:] + every[:-1]) / 2).float().numpy()
    halfway = halfway[np.abs(halfway) >= np.finfo(np.float32).tiny]
    bits = np.random.default_rng(1).integers(0, 2**32, 1 << 18, dtype=np.uint32)
    wild = bits.view(np.float32)
    values = np.concatenate(
        [
            every.float().numpy(),
            halfway,
            np.nextafter(halfway, np.float32(np.inf)),
            np.nextafter(halfway, np.float32(-np.inf)),
            wild[np.isfinite(wild)],
        ]
    )
    largest = torch.finfo(torch_dtype).max
    expected = torch.from_numpy(values).clamp(-largest, largest).to(torch_dtype)
    found = np.frombuffer(codec.encode(values[None], dtype), "<u2")
    np.testing.assert_array_equal(found, expected.view(torch.int16).numpy().view(np.uint16))


@pytest.mark.parametrize(("dtype", "torch_dtype"), DTYPES)
def test_a_view_of_a_larger_array_is_encoded_as_its_copy(dtype, torch_dtype):
    values = np.random.default_rng(2).standard_normal((40, 2000)).astype(np.float32)[::2, 3:1500]
    expected = torch.from_numpy(values.copy()).to(torch_dtype)
    assert codec.encode(values, dtype) == tensor_codec.encode(expected)


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
