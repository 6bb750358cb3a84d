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
from experiments.prefixes import Prefixes

CPU_BATCH_TOKENS = 512
"""Of one forward pass. Two windows of 256 tokens: what passes between operators then fits a core's
second-level cache. In one comparison, on a noisy machine, eight took somewhat longer each."""

CUDA_BATCH_TOKENS = 32_768

Floats = NDArray[np.float64]


class Scorer:
    """One worker's model and text. Not for two threads at a time."""

    def __init__(
        self, partition: ModelPartition, prefixes: Prefixes, batch_tokens: int | None = None
    ) -> None:
        on_cpu = partition.device.type == "cpu"
        default = CPU_BATCH_TOKENS if on_cpu else CUDA_BATCH_TOKENS
        self.partition = partition
        self.prefixes = prefixes
        self.batch = max(1, (batch_tokens or default) // prefixes.ids.shape[1])
        """Windows of a forward pass."""

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
        received = np.empty((self.batch, *crossing.shape[1:]), dtype=np.float32)
        pending: list[tuple[list[tuple[int, int]], torch.Tensor]] = []
        for start in range(0, len(jobs), self.batch):
            part = jobs[start : start + self.batch]
            for row, (i, n) in zip(received, part, strict=False):
                place = Place.replay(channels[i], tokens, window=n, offset=n * tokens)
                radios[i].transmit(crossing[n], place, out=row)
            pending.append((part, self._suffix(received[: len(part)], [n for _, n in part], split)))
        for part, means in pending:  # read last: a GPU computes while the radio draws
            for (i, n), mean in zip(part, means.tolist(), strict=True):
                nlls[i, n] = mean
        return nlls

    def _suffix(self, received: NDArray[np.float32], of: Sequence[int], split: int) -> torch.Tensor:
        """Mean NLL of each row, [rows], still on the device."""
        partition = self.partition
        hidden = torch.from_numpy(received).to(partition.device, partition.dtype)
        layers = LayerRange(split, partition.facts.layers)
        hidden = partition.run_whole(hidden, layers)[:, :-1]
        targets = torch.from_numpy(self.prefixes.ids[of, 1:])
        nll = partition.nll(hidden.reshape(1, -1, hidden.shape[-1]), targets.reshape(-1))
        return nll.view(len(of), -1).double().mean(dim=1)
