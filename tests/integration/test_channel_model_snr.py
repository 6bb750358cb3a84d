"""The SNR that is set is the SNR that is met, at every boundary of a real model's layers."""

from pathlib import Path

import numpy as np
import pytest
import torch

import airsplit
from airsplit.checkpoint import Checkpoint
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.text import load_tokenizer
from airsplit.v1 import edge_pb2
from channel_emulator import codec
from channel_emulator.knobs import PowerReference
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.spec import parse_channel

LAYERS, CONTEXT, WINDOWS = 16, 1024, 2
SPLITS = range(LAYERS + 1)
TOLERANCE_DB = 0.05
"""Of 393 216 elements: the standard error of a mean square, 4.34 sqrt(2/n), is 0.01 dB."""

MASSIVE = 20
"""Medians of a token's magnitudes from which on an element is no inlier (docs/channel.md)."""


@pytest.fixture(scope="module")
def hidden(whole: ModelPartition, embedded: Checkpoint) -> list[np.ndarray]:
    """What would be sent at each split: [tokens, hidden_size] of English text."""
    text = (Path(airsplit.__file__).parent / "assets" / "sample.txt").read_text(encoding="utf-8")
    tokens = torch.tensor(load_tokenizer(embedded.path).encode(text[: 5 * WINDOWS * CONTEXT]))
    found: list[list[np.ndarray]] = [[] for _ in SPLITS]
    for window in range(WINDOWS):
        cache = whole.new_cache(CONTEXT)
        states = whole.embed(tokens[window * CONTEXT : (window + 1) * CONTEXT])
        assert states.shape[1] == CONTEXT
        for split in SPLITS:
            found[split].append(states[0].numpy().copy())
            if split < LAYERS:
                states = whole.run(states, LayerRange(split, split + 1), cache, 0)
    return [np.concatenate(parts) for parts in found]


def inliers(values: np.ndarray) -> np.ndarray:
    magnitude = np.abs(values.astype(np.float64))
    return magnitude <= MASSIVE * np.median(magnitude, axis=1, keepdims=True)


def reference_power(values: np.ndarray, reference: PowerReference) -> np.ndarray:
    """By the definitions, in float64: [tokens]."""
    squares = np.square(values, dtype=np.float64)
    if reference is PowerReference.TENSOR:
        return np.full(len(values), squares.mean())
    if reference is PowerReference.INLIERS:
        return np.mean(squares, axis=1, where=inliers(values))
    return squares.mean(axis=1)


def ratio_db(sent: np.ndarray, arrived: np.ndarray, power: np.ndarray) -> float:
    error = np.square(arrived.astype(np.float64) - sent).mean(axis=1)
    return float(-10 * np.log10((error / power).mean()))


def rounded(values: np.ndarray, dtype: edge_pb2.DType) -> np.ndarray:
    return codec.decode(codec.encode(values.copy(), dtype), dtype, values.shape)


def measured_db(
    values: np.ndarray,
    snr_db: float,
    reference: PowerReference = PowerReference.TOKEN,
    dtype: edge_pb2.DType = edge_pb2.DTYPE_FLOAT32,
    seed: int = 0,
) -> float:
    """Of the values that a receiver has, sent and delivered in `dtype`."""
    sent = rounded(values, dtype)
    config = parse_channel(f"awgn,snr_db={snr_db},power_reference={reference},seed={seed}")
    received = Radio(config).transmit(sent.copy(), Place.replay(config, len(sent))).values
    return ratio_db(sent, rounded(received, dtype), reference_power(sent, reference))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("reference", list(PowerReference))
def test_snr_is_what_was_set_at_every_layer(hidden, split, reference):
    for seed, snr_db in enumerate((-10, 0, 10, 25, 40)):
        found = measured_db(hidden[split], snr_db, reference, seed=seed)
        assert found == pytest.approx(snr_db, abs=TOLERANCE_DB)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("dtype", [edge_pb2.DTYPE_BFLOAT16, edge_pb2.DTYPE_FLOAT16])
def test_snr_survives_sixteen_bits_at_every_layer(hidden, split, dtype):
    for seed, snr_db in enumerate((-10, 10, 30)):
        for reference in PowerReference:
            found = measured_db(hidden[split], snr_db, reference, dtype, seed)
            assert found == pytest.approx(snr_db, abs=TOLERANCE_DB)


CAP_DB = {edge_pb2.DTYPE_BFLOAT16: 55.6, edge_pb2.DTYPE_FLOAT16: 73.7}
"""What rounding alone leaves."""


@pytest.mark.parametrize("split", SPLITS[1:])
@pytest.mark.parametrize("dtype", CAP_DB)
def test_rounding_alone_caps_the_snr_as_documented(hidden, split, dtype):
    """And adds its own noise to that of the channel: 0.11 dB of bfloat16 at 40 dB."""
    values = hidden[split]
    power = reference_power(values, PowerReference.TOKEN)
    assert ratio_db(values, rounded(values, dtype), power) == pytest.approx(CAP_DB[dtype], abs=0.4)
    both = -10 * np.log10(10**-4 + 10 ** (-CAP_DB[dtype] / 10))
    assert measured_db(values, 40, dtype=dtype) == pytest.approx(both, abs=TOLERANCE_DB)


def test_massive_activations_are_there_and_what_they_are_left_out_of(hidden):
    """Beyond the embedding every layer has them; they raise the noise of every other element."""
    assert inliers(hidden[0]).all()
    for split in SPLITS[1:]:
        massive = ~inliers(hidden[split])
        assert 0 < massive.mean() < 0.005
        tokens = massive.any(axis=1)
        with_, without = (
            reference_power(hidden[split][tokens], reference)
            for reference in (PowerReference.TOKEN, PowerReference.INLIERS)
        )
        assert (10 * np.log10(with_ / without) > 0.1).all()


def test_one_sigma_is_another_snr_at_every_split(hidden):
    found = []
    for values in hidden:
        config = parse_channel("awgn,sigma=0.5")
        received = Radio(config).transmit(values.copy(), Place.replay(config, len(values)))
        assert received.truth.sigma == pytest.approx(0.5, rel=0.005)
        found.append(received.truth.snr_db)
    assert (np.diff(found) > 0).all()  # the residual stream grows along the layers
    assert found[-1] - found[0] > 20
