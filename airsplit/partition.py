"""ModelPartition: loads and runs a range of layers of a Hugging Face causal language model.

One class for both ends. What an end does not hold is an `Identity` or is absent, so that running
has no branch for the first, the last or no layer. What crosses between ends is the residual stream
before layer p, pre-norm, for p = 0 (embeddings) to p = L (all layers done).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from airsplit.checkpoint import Checkpoint
from airsplit.errors import InputError, KvBudgetError
from airsplit.families import family_of, max_positions_of, windows_of
from airsplit.kv_cache import KvCache, KvShape
from airsplit.layer_range import LayerRange
from airsplit.materialise import direct, materialise
from airsplit.whole import compiled, run_layer, token_nll

SCORE_SLICE_TOKENS = 128
"""Tokens whose logits are held at a time when scoring: 128 x 128k vocabulary is 64 MiB in fp32."""

SCORE_SLICE_LOGITS = 1 << 21
"""More tokens, of a small vocabulary, up to 8 MiB of logits: few operators, within a cache."""


def parse_device(field: str, name: str) -> torch.device:
    """`cpu`, `cuda` or `cuda:N`, checked to be there.

    Raises:
        InputError: no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    present = device.type == "cpu" or (
        device.type == "cuda"
        and torch.cuda.is_available()
        and (device.index or 0) < torch.cuda.device_count()
    )
    if not present:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise InputError.of(field, name, f"cpu, cuda, cuda:N ({count} CUDA devices are here)")
    return device


def use_threads(count: int | None) -> int:
    """Sets and returns the threads of torch's CPU operators.

    None takes half of the logical cores: UE, edge and radio often share a host, and two ends that
    each want every core slow each other down many times over.
    """
    count = count or max(1, (os.cpu_count() or 2) // 2)
    torch.set_num_threads(count)
    return count


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of the whole model, whatever part is held."""

    layers: int
    hidden_size: int
    vocab_size: int
    max_positions: int
    fingerprint: str


class ModelPartition:
    """Layers `held` of a model, with the embedding and/or the final norm and head.

    Not thread-safe; one thread owns it. All sessions share the weights, each has its own `KvCache`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        held: LayerRange | None = None,
        *,
        embedding: bool = True,
        head: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
    ) -> None:
        """Reads the weights of `held` (default: all layers) and nothing else.

        Args:
            compile: `run_whole` and `nll` through torch.compile, which rounds in another order and
                takes some seconds at the first call.

        Raises:
            UnsupportedModelError: a family or a feature that cannot be split; says what can.
            InputError: the checkpoint is incomplete, or `held` is not within the model.
        """
        config = checkpoint.config
        self.family = family_of(config)
        self.config = config
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self.facts = ModelFacts(
            layers=int(config.num_hidden_layers),
            hidden_size=int(config.hidden_size),
            vocab_size=int(config.vocab_size),
            max_positions=max_positions_of(config),
            fingerprint=checkpoint.fingerprint,
        )
        self.held = LayerRange(0, self.facts.layers) if held is None else held
        if self.held.stop > self.facts.layers:
            raise InputError.of("layers", str(self.held), f"within [0, {self.facts.layers})")
        model = materialise(checkpoint, self.held, embedding, head, self.device, dtype)
        self._model = model
        self._embedding = model.model.embed_tokens
        self._layers = {n: direct(model.model.layers[n]) for n in self.held}
        self._norm = direct(model.model.norm)
        self._head = direct(model.lm_head)
        self._rotary = model.model.rotary_emb
        self._eager = model.config._attn_implementation == "eager"
        multiplier = self.family.embedding_multiplier
        self._multiplier = multiplier(config) if multiplier else None
        heads = int(config.num_attention_heads)
        self.kv_shape = KvShape(
            kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            dtype=dtype,
            windows=windows_of(config),
        )
        self._types = tuple(getattr(config, "layer_types", None) or ("",) * self.facts.layers)
        self._tables: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._run_layer = compiled(run_layer) if compile else run_layer
        self._token_nll = compiled(token_nll) if compile else token_nll

    @property
    def layer_bytes(self) -> int:
        """Bytes of the layers' weights that this process holds."""
        return sum(p.nbytes for p in self._model.model.layers.parameters())

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights that this process holds; a tied head counts once."""
        return sum(p.nbytes for p in self._model.parameters())

    def new_cache(self, max_context: int) -> KvCache:
        """An empty cache for the held layers and `max_context` positions.

        Raises:
            InputError: the model cannot be split exactly at that length.
            KvBudgetError: the device has no memory for it.
        """
        if not 1 <= max_context <= self.facts.max_positions:
            raise InputError.of("max_context", max_context, f"1-{self.facts.max_positions}")
        try:
            return KvCache(self.kv_shape, self.held, max_context, self.device)
        except torch.OutOfMemoryError as error:
            raise KvBudgetError(f"K/V: no memory left on {self.device}") from error

    @torch.inference_mode()
    def embed(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Token ids [tokens] to the residual stream before layer 0, [1, tokens, hidden_size]."""
        hidden: torch.Tensor = self._embedding(token_ids.to(self.device)[None])
        return hidden if self._multiplier is None else hidden * self._multiplier

    @torch.inference_mode()
    def run(
        self, hidden: torch.Tensor, layers: LayerRange, cache: KvCache, position: int
    ) -> torch.Tensor:
        """Runs `layers` on tokens that begin at `position`, writing their K/V rows.

        Args:
            hidden: residual stream before `layers.start`, [1, tokens, hidden_size].

        Returns:
            The residual stream before `layers.stop`, the same shape.

        Raises:
            InputError: a layer is not held here.
            StaleCacheError: the cache lacks rows before `position`.
            ContextOverflowError: past the reserved context.
        """
        if len(layers) == 0:
            return hidden
        if not self.held.covers(layers):
            raise InputError.of("layers", str(layers), f"within {self.held}")
        count = hidden.shape[1]
        cache.begin(layers, position, count)
        masks: dict[int | None, torch.Tensor | None] = {}
        for n in layers:
            window = self.kv_shape.windows[n]
            if window not in masks:
                masks[window] = self._mask(position, count, window)
            hidden = self._layers[n](
                hidden,
                attention_mask=masks[window],
                position_embeddings=self._rotate(self._types[n], position, count, hidden),
                past_key_values=cache,
                use_cache=True,
            )
        return hidden

    @torch.inference_mode()
    def run_whole(self, hidden: torch.Tensor, layers: LayerRange) -> torch.Tensor:
        """Runs `layers` on whole contexts, each from position 0; nothing is kept of their K/V.

        Args:
            hidden: residual stream before `layers.start`, [batch, tokens, hidden_size].

        Returns:
            The residual stream before `layers.stop`, the same shape.

        Raises:
            InputError: a layer is not held here, or the contexts are too long.
        """
        count = hidden.shape[1]
        if not self.held.covers(layers):
            raise InputError.of("layers", str(layers), f"within {self.held}")
        if not 1 <= count <= self.facts.max_positions:
            raise InputError.of("tokens", count, f"1-{self.facts.max_positions}")
        for n in layers:
            mask = self._mask(0, count, self.kv_shape.windows[n])
            rotation = self._rotate(self._types[n], 0, count, hidden)
            hidden = self._run_layer(hidden, self._layers[n], mask, rotation)
        return hidden

    def synchronize(self) -> None:
        """Waits for what was asked of the device, so that a clock read next tells of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Final norm and head: [1, tokens, hidden_size] to fp32 logits [tokens, vocab_size]."""
        logits = self._head(self._norm(hidden))[0]
        return self.family.logits(logits, self.config).float()

    @torch.inference_mode()
    def nll(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood (natural logarithm) of each target, fp32 [targets].

        Args:
            hidden: [1, tokens, hidden_size] after the last layer.
            targets: [targets], at most as many as tokens; the i-th follows the i-th token.
        """
        pieces = []
        step = max(SCORE_SLICE_TOKENS, SCORE_SLICE_LOGITS // self.facts.vocab_size)
        for start in range(0, len(targets), step):
            wanted = targets[start : start + step].to(self.device)
            sliced = hidden[0, start : start + len(wanted)]
            pieces.append(self._token_nll(sliced, wanted, self.logits))
        return torch.cat(pieces) if pieces else torch.empty(0)

    def _mask(self, position: int, count: int, window: int | None) -> torch.Tensor | None:
        """What tokens [position, position + count) may see of rows [0, position + count).

        None where attention needs no mask: a single token (the cache cuts its window), or a causal
        block from position 0, which the kernel masks by itself.
        """
        end = position + count
        if count == 1:
            return None
        if position == 0 and not self._eager and (window is None or end <= window):
            return None
        row = torch.arange(end, device=self.device)
        query = row[position:, None]
        seen = row[None] <= query
        if window is not None:
            seen &= row[None] > query - window
        if not self._eager:
            return seen[None, None]
        bias = torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.where(seen, bias, torch.finfo(self.dtype).min)[None, None]

    def _rotate(
        self, layer_type: str, position: int, count: int, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin [1, count, rotary_dim] for the positions, from a table that grows."""
        kind = layer_type if self.family.rotary_per_layer_type else ""
        end = position + count
        table = self._tables.get(kind)
        if table is None or table[0].shape[1] < end:
            length = min(max(2 * end, 256), self.facts.max_positions)
            positions = torch.arange(length, device=self.device)[None]
            table = self._rotary(like, positions, kind) if kind else self._rotary(like, positions)
            self._tables[kind] = table
        return table[0][:, position:end], table[1][:, position:end]
