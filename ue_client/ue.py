"""A UE that is ready to work: its part of the model, its link, and who steers its split."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

from transformers import PreTrainedTokenizerBase

from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import InputError
from airsplit.layer_range import LayerRange, splits_of
from airsplit.partition import ModelPartition, parse_device, use_threads
from airsplit.telemetry import plain
from airsplit.tensor_codec import parse_dtype
from airsplit.text import load_tokenizer
from ue_client.config import AUTO, UeConfig
from ue_client.control import ControllerSteering
from ue_client.link import Link
from ue_client.records import SessionRequest
from ue_client.session import UeSession
from ue_client.steering import Schedule, Stay, Steering


class Ue:
    """Owns the partition, the link and the attachment; opens sessions. Use it as a context."""

    def __init__(self, config: UeConfig) -> None:
        """Loads the model and connects.

        Raises:
            InputError: what cannot be loaded or does not fit.
            PeerUnavailableError: the edge does not answer.
        """
        self.config = config
        use_threads(config.threads)
        schedule = config.switch_schedule
        inner = Stay() if schedule is None else Schedule.parse("--switch-schedule", schedule)
        checkpoint = Checkpoint(locate(config.model))
        layers = int(checkpoint.config.num_hidden_layers)
        held = LayerRange.parse("--layers", config.layers, layers)
        if held.start != 0:
            raise InputError.of("--layers", config.layers, "a range that begins at 0")
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(checkpoint.path)
        wire = config.wire_dtype
        self._wire_dtype = parse_dtype("--wire-dtype", wire) if wire else None
        device = parse_device("--device", config.device)
        dtype = parse_dtype("--dtype", config.dtype)
        with ExitStack() as stack:
            self.link = stack.enter_context(Link(config.edge, deadline_s=config.deadline_s))
            edge = self.link.describe()
            self.max_context = edge.max_context
            edge_layers = LayerRange(edge.edge_layers.start, edge.edge_layers.stop)
            self.splits = splits_of(held, edge_layers)
            self.first_split = self._first_split()
            for split in inner.moves.values() if isinstance(inner, Schedule) else ():
                self._require_split("--switch-schedule", split)
            self.partition = ModelPartition(
                checkpoint, held, head=False, device=device, dtype=dtype
            )
            self._controlled: ControllerSteering | None = None
            if config.controller is not None:
                self._controlled = ControllerSteering(
                    config.controller, config.ue_id, inner=inner, wait_s=config.decision_wait_s
                )
                stack.callback(self._controlled.close)
            self.steering: Steering = self._controlled or inner
            self._stack = stack.pop_all()

    def open(self, max_context: int, *, stream: int | None = None, **request: Any) -> UeSession:
        """Opens a session.

        Args:
            stream: key of the session's channel draws; the seed when None.
            request: further fields of `SessionRequest`.
        """
        session = UeSession(
            self.partition,
            self.link,
            SessionRequest(
                model=self.config.model,
                split=self.first_split,
                max_context=min(max_context, self.max_context),
                ue_id=self.config.ue_id,
                stream=self.config.seed if stream is None else stream,
                seed=self.config.seed,
                wire_dtype=self._wire_dtype,
                **request,
            ),
        )
        if self._controlled is not None:
            self._controlled.begin(session, pinned=self.config.pinned)
        return session

    def close_session(self, session: UeSession) -> None:
        """Ends a session and says so to the controller."""
        if self._controlled is not None:
            self._controlled.end(session)
        session.close()

    def channel(self) -> dict[str, Any] | None:
        """The radio's configuration and counters; None where no emulator is in between."""
        state = self.link.channel_state()
        if state is None:
            return None
        state.ClearField("links")
        return plain(state)

    def __enter__(self) -> Ue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _first_split(self) -> int:
        if self.config.split != AUTO:
            split = int(self.config.split)
            self._require_split("--split", split)
            return split
        # Nothing is known of the channel yet: the middle is nearest to wherever the policy goes.
        return (self.splits.start + self.splits.stop - 1) // 2

    def _require_split(self, field: str, split: int) -> None:
        if split not in self.splits:
            allowed = f"{self.splits.start}-{self.splits.stop - 1} (held by both ends), or auto"
            raise InputError.of(field, split, allowed)
