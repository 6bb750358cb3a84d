"""Sessions of the edge and who is admitted. Memory for K/V is reserved up front or refused."""

from __future__ import annotations

from dataclasses import dataclass, field

from airsplit import errors
from airsplit.kv_cache import KvCache
from airsplit.layer_range import LayerRange, splits_of
from airsplit.partition import ModelPartition
from airsplit.rpc import MAX_CHUNK_BYTES
from airsplit.session_protocol import SessionLimits, SessionProtocol
from airsplit.v1 import edge_pb2
from edge_server.config import EdgeConfig
from edge_server.sampling import Sampling


@dataclass(slots=True)
class EdgeSession:
    """One UE's session: its rules, its K/V and its wishes. The engine's thread owns `cache`."""

    ue_id: str
    protocol: SessionProtocol
    cache: KvCache
    sampling: Sampling
    return_logits: bool
    kv_bytes: int

    @property
    def id(self) -> str:
        return self.protocol.limits.session_id


@dataclass(slots=True)
class SessionTable:
    """All sessions of one edge."""

    partition: ModelPartition
    identity: edge_pb2.ModelIdentity
    config: EdgeConfig
    _sessions: dict[str, EdgeSession] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def kv_reserved_bytes(self) -> int:
        return sum(session.kv_bytes for session in self._sessions.values())

    @property
    def max_context(self) -> int:
        limit = self.partition.facts.max_positions
        return min(limit, self.config.max_context or limit)

    def get(self, session_id: str) -> EdgeSession:
        """Raises: UnknownSessionError: no such session."""
        if session_id not in self._sessions:
            raise errors.UnknownSessionError(f"session {session_id!r} is not open here")
        return self._sessions[session_id]

    def find(self, session_id: str) -> EdgeSession | None:
        return self._sessions.get(session_id)

    def admit(self, request: edge_pb2.OpenSession) -> EdgeSession:
        """Checks the request and reserves what it needs.

        Raises:
            SessionIdError, SessionExistsError, ModelMismatchError, InputError, SplitError: the
                request does not fit this edge.
            SessionLimitError, KvBudgetError: the edge is full.
        """
        self._check(request)
        if len(self) >= self.config.max_sessions:
            raise errors.SessionLimitError(
                f"sessions: {len(self)} are open; allowed: {self.config.max_sessions} "
                "(--max-sessions)"
            )
        wanted = self.partition.kv_shape.reserved_bytes(
            len(self.partition.held), request.max_context
        )
        reserved = self.kv_reserved_bytes
        if reserved + wanted > self.config.kv_budget_bytes:
            raise errors.KvBudgetError(
                f"K/V: {wanted} bytes wanted, {reserved} reserved; allowed: "
                f"{self.config.kv_budget_bytes} (--kv-budget-mib)"
            )
        ue_layers = LayerRange(request.ue_layers.start, request.ue_layers.stop)
        protocol = SessionProtocol()
        limits = SessionLimits(
            session_id=request.session_id,
            splits=splits_of(ue_layers, self.partition.held),
            hidden_size=self.partition.facts.hidden_size,
            vocab_size=self.partition.facts.vocab_size,
            max_context=request.max_context,
            max_payload_bytes=MAX_CHUNK_BYTES,
        )
        protocol.open(limits, request.split)
        session = EdgeSession(
            ue_id=request.ue_id,
            protocol=protocol,
            cache=self.partition.new_cache(request.max_context),
            sampling=Sampling.from_proto(request.sampling)
            if request.HasField("sampling")
            else Sampling(),
            return_logits=request.return_logits,
            kv_bytes=wanted,
        )
        self._sessions[session.id] = session
        return session

    def release(self, session: EdgeSession) -> None:
        """Frees what the session reserved."""
        self._sessions.pop(session.id, None)

    def _check(self, request: edge_pb2.OpenSession) -> None:
        digits = request.session_id
        if len(digits) != 32 or any(c not in "0123456789abcdef" for c in digits):
            raise errors.SessionIdError(f"session_id: {digits!r}; allowed: 32 hexadecimal digits")
        if digits in self._sessions:
            raise errors.SessionExistsError(f"session_id: {digits!r} is open already")
        ours, theirs = self.identity, request.model
        for name in ("layers", "hidden_size", "vocab_size", "dtype", "fingerprint"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            if name == "dtype" and mine != other:
                mine, other = (_dtype_name(value) for value in (mine, other))
            if mine != other:
                raise errors.ModelMismatchError(
                    f"model.{name}: the UE runs {theirs.name!r} with {other!r}, "
                    f"the edge {ours.name!r} with {mine!r}"
                )
        if not 1 <= request.max_context <= self.max_context:
            raise errors.InputError.of(
                "max_context", request.max_context, f"1-{self.max_context} tokens"
            )
        if request.return_logits and not self.config.allow_logits:
            raise errors.InputError.of(
                "return_logits", True, "false, unless the edge runs with --allow-logits"
            )


def _dtype_name(dtype: edge_pb2.DType) -> str:
    known = edge_pb2.DType.values()
    return edge_pb2.DType.Name(dtype) if dtype in known else str(dtype)
