"""A frame that finds the queue full: it arrives as one that is erased whole."""

from __future__ import annotations

import math

import numpy as np

from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator import codec

_ALL_LOST = channel_pb2.ChannelTruth(
    sigma=math.nan,
    mean_gain=math.nan,
    loss=1.0,
    snr_db=0.0,
    configured_sigma=math.nan,
    configured_snr_db=math.nan,
)
_UNKNOWN = channel_pb2.ChannelEstimate(sigma=math.nan, m=math.nan, omega=math.nan, snr_db=math.nan)


def erase(frame: edge_pb2.ActivationFrame, known: channel_pb2.ChannelEstimate | None) -> None:
    """Payload, mask and report of a frame of which nothing arrives.

    Args:
        known: the last estimate of the channel, which stays but for the loss.
    """
    header, report = frame.header, frame.header.channel
    shape = header.shape[0], header.shape[1]
    frame.payload = bytes(len(frame.payload))
    header.erasure_mask = codec.encode_mask(np.ones(shape, dtype=np.bool_))
    report.dropped = True
    report.truth.CopyFrom(_ALL_LOST)
    report.estimate.CopyFrom(known or _UNKNOWN)
    report.estimate.loss = 1.0
