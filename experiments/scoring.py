"""NLL through a channel: the emulator's own radio on what crosses, then the layers that remain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from channel_emulator.config import ChannelConfig
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from experiments.prefixes import Floats, Prefixes, batches, mean_nll


class Scorer:
    """One worker's model and text. Not for two threads at a time."""

    def __init__(self, partition: ModelPartition, prefixes: Prefixes) -> None:
        self.partition = partition
        self.prefixes = prefixes

    def nlls(self, channels: Sequence[ChannelConfig], split: int) -> Floats:
        """Mean NLL of each window through each channel at `split`, nats: [channels, windows].

        Window n meets the draws of window n of stream 0, at the place it has in that stream: the
        same for every split, so that splits differ by what crosses and not by luck.
        """
        crossing = self.prefixes.at(split)
        count, tokens, _ = crossing.shape
        nlls = np.tile(self.prefixes.clean, (len(channels), 1))
        jobs = [
            (i, n)
            for i, channel in enumerate(channels)
            if not channel.is_transparent  # nothing happens to what crosses
            for n in range(count)
        ]
        radios = [Radio(channel) for channel in channels]
        item_bytes = self.partition.dtype.itemsize
        pending: list[tuple[list[tuple[int, int]], torch.Tensor]] = []
        for batch in batches(self.partition.device, len(jobs), tokens):
            part = jobs[batch]
            received = np.empty((len(part), *crossing.shape[1:]), dtype=np.float32)
            for row, (i, n) in zip(received, part, strict=True):
                place = Place.replay(channels[i], tokens, window=n, offset=n * tokens)
                radios[i].transmit(crossing[n], place, item_bytes, out=row)
            pending.append((part, self._suffix(received, [n for _, n in part], split)))
        for part, means in pending:  # read last: a GPU computes while the radio draws
            for (i, n), mean in zip(part, means.tolist(), strict=True):
                nlls[i, n] = mean
        return nlls

    @torch.inference_mode()
    def _suffix(self, received: NDArray[np.float32], of: Sequence[int], split: int) -> torch.Tensor:
        """Mean NLL of each row, [rows], still on the device."""
        partition = self.partition
        most = torch.finfo(partition.dtype).max  # what is larger is encoded as this
        sent_on = torch.from_numpy(received).clamp_(-most, most)
        hidden = sent_on.to(partition.device, partition.dtype)
        hidden = partition.run_whole(hidden, LayerRange(split, partition.facts.layers))
        return mean_nll(partition, hidden, self.prefixes.ids[of])
