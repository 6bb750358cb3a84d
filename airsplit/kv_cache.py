"""Preallocated keys and values of one session for the layers that one end holds.

Per layer it knows *valid up to which position*: rows [0, valid) are what the model computed for
the current window. Computing raises it, a handoff raises it, nothing else does. Rows of layers that
left for the other end stay, so that coming back moves only what is new.

Hugging Face's attention modules call `update` and nothing else of a cache; concatenating caches
copy the whole past at every token, this one writes rows in place and returns views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from airsplit.errors import ContextOverflowError, StaleCacheError, TensorError
from airsplit.layer_range import LayerRange


@dataclass(frozen=True, slots=True)
class KvShape:
    """What one row of one layer is, and how far back each layer of the model looks."""

    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    windows: tuple[int | None, ...]
    """Per layer of the model: positions seen including the token's own; None sees all."""

    @property
    def row_bytes(self) -> int:
        """Bytes of key and value of one position in one layer."""
        return 2 * self.kv_heads * self.head_dim * self.dtype.itemsize

    def reserved_bytes(self, layers: int, positions: int) -> int:
        """Bytes of `positions` rows in `layers` layers."""
        return self.row_bytes * layers * positions


class KvCache:
    """K/V of one session: per layer two tensors [1, kv_heads, max_context, head_dim]."""

    def __init__(
        self, shape: KvShape, layers: LayerRange, max_context: int, device: torch.device
    ) -> None:
        self.shape = shape
        self.layers = layers
        self.max_context = max_context
        size = (1, shape.kv_heads, max_context, shape.head_dim)
        self._keys = {n: torch.empty(size, dtype=shape.dtype, device=device) for n in layers}
        self._values = {n: torch.empty(size, dtype=shape.dtype, device=device) for n in layers}
        self._valid = dict.fromkeys(layers, 0)
        self._start = self._end = 0

    def valid(self, layer: int) -> int:
        """Rows [0, valid) of `layer` are right; 0 for a layer that this end does not hold."""
        return self._valid.get(layer, 0)

    def reset(self) -> None:
        """Begins a new window: nothing is valid."""
        self._valid = dict.fromkeys(self.layers, 0)

    def truncate(self, position: int) -> None:
        """Forgets rows from `position` on."""
        self._valid = {layer: min(valid, position) for layer, valid in self._valid.items()}

    def begin(self, layers: LayerRange, position: int, count: int) -> None:
        """Says which positions the next forward pass over `layers` computes.

        Raises:
            ContextOverflowError: they run past what was reserved.
            StaleCacheError: a layer lacks rows before `position`.
        """
        if position + count > self.max_context:
            raise ContextOverflowError(
                f"position: {position + count} positions; allowed: 1-{self.max_context}"
            )
        for layer in layers:
            if self.valid(layer) < position:
                raise StaleCacheError(
                    f"layer {layer}: rows are valid up to {self.valid(layer)}, needed {position}"
                )
        self._start, self._end = position, position + count

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes the rows announced by `begin`; returns views of all rows that attention needs.

        Args:
            key: [1, kv_heads, count, head_dim], as is `value`.

        Returns:
            Rows [0, end), or for one token in a layer with a sliding window only those in sight,
            so that it needs no mask.
        """
        start, end = self._start, self._end
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[:, :, start:end] = key
        values[:, :, start:end] = value
        self._valid[layer_idx] = end
        window = self.shape.windows[layer_idx]
        first = max(0, end - window) if window is not None and end - start == 1 else 0
        return keys[:, :, first:end], values[:, :, first:end]

    def export(self, layer: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Key and value rows [kv_heads, stop - start, head_dim] of `layer`.

        Raises:
            StaleCacheError: not all of them are valid.
        """
        if not 0 <= start <= stop <= self.valid(layer):
            raise StaleCacheError(
                f"layer {layer}: rows {start}-{stop} asked for, valid up to {self.valid(layer)}"
            )
        return self._keys[layer][0, :, start:stop], self._values[layer][0, :, start:stop]

    def take(self, layer: int, start: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Takes over rows [start, start + n) computed by the other end.

        Args:
            key: [kv_heads, n, head_dim] in the cache's dtype, as is `value`.

        Raises:
            TensorError: another shape or dtype.
            ContextOverflowError: past what was reserved.
            StaleCacheError: they would leave a gap, or the layer is not held here.
        """
        count = key.shape[1] if key.dim() == 3 else -1
        wanted = (self.shape.kv_heads, count, self.shape.head_dim)
        for tensor in (key, value):
            if tuple(tensor.shape) != wanted or tensor.dtype != self.shape.dtype:
                raise TensorError(
                    f"rows: {list(tensor.shape)} of {tensor.dtype}; "
                    f"allowed: {list(wanted)} of {self.shape.dtype}"
                )
        if layer not in self._valid:
            raise StaleCacheError(f"layer {layer} is not held here; held: {self.layers}")
        if start > self._valid[layer]:
            raise StaleCacheError(
                f"layer {layer}: rows from {start} would leave a gap after {self._valid[layer]}"
            )
        if start + count > self.max_context:
            raise ContextOverflowError(
                f"rows: up to {start + count}; allowed: 1-{self.max_context}"
            )
        self._keys[layer][0, :, start : start + count] = key
        self._values[layer][0, :, start : start + count] = value
        self._valid[layer] = max(self._valid[layer], start + count)
