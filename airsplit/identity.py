"""Who a model is: both ends have to run the same weights in the same dtype."""

from __future__ import annotations

from airsplit.partition import ModelPartition
from airsplit.tensor_codec import dtype_to_proto
from airsplit.v1 import edge_pb2


def identity_of(name: str, partition: ModelPartition) -> edge_pb2.ModelIdentity:
    """What the other end has to match; `name` is for people."""
    facts = partition.facts
    return edge_pb2.ModelIdentity(
        name=name,
        fingerprint=facts.fingerprint,
        layers=facts.layers,
        hidden_size=facts.hidden_size,
        vocab_size=facts.vocab_size,
        dtype=dtype_to_proto(partition.dtype),
    )
