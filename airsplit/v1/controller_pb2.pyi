from airsplit.v1 import channel_pb2 as _channel_pb2
from airsplit.v1 import edge_pb2 as _edge_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_UE: _ClassVar[Role]
    ROLE_EDGE: _ClassVar[Role]
    ROLE_CHANNEL: _ClassVar[Role]
ROLE_UNSPECIFIED: Role
ROLE_UE: Role
ROLE_EDGE: Role
ROLE_CHANNEL: Role

class Hello(_message.Message):
    __slots__ = ("role", "id", "address")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    role: Role
    id: str
    address: str
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., id: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class SessionStarted(_message.Message):
    __slots__ = ("session_id", "ue_id", "model", "splits", "split", "pinned")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    ue_id: str
    model: _edge_pb2.ModelIdentity
    splits: _edge_pb2.Layers
    split: int
    pinned: bool
    def __init__(self, session_id: _Optional[str] = ..., ue_id: _Optional[str] = ..., model: _Optional[_Union[_edge_pb2.ModelIdentity, _Mapping]] = ..., splits: _Optional[_Union[_edge_pb2.Layers, _Mapping]] = ..., split: _Optional[int] = ..., pinned: _Optional[bool] = ...) -> None: ...

class SessionReport(_message.Message):
    __slots__ = ("session_id", "split", "split_version", "position", "channel", "ue_compute_ns", "edge_compute_ns", "stream_offset")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    UE_COMPUTE_NS_FIELD_NUMBER: _ClassVar[int]
    EDGE_COMPUTE_NS_FIELD_NUMBER: _ClassVar[int]
    STREAM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    split: int
    split_version: int
    position: int
    channel: _channel_pb2.ChannelReport
    ue_compute_ns: int
    edge_compute_ns: int
    stream_offset: int
    def __init__(self, session_id: _Optional[str] = ..., split: _Optional[int] = ..., split_version: _Optional[int] = ..., position: _Optional[int] = ..., channel: _Optional[_Union[_channel_pb2.ChannelReport, _Mapping]] = ..., ue_compute_ns: _Optional[int] = ..., edge_compute_ns: _Optional[int] = ..., stream_offset: _Optional[int] = ...) -> None: ...

class SplitCommitted(_message.Message):
    __slots__ = ("session_id", "split_version", "split_from", "split_to", "position", "handoff_bytes", "gap_ns", "controller_instance", "decision_version")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FROM_FIELD_NUMBER: _ClassVar[int]
    SPLIT_TO_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_BYTES_FIELD_NUMBER: _ClassVar[int]
    GAP_NS_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    DECISION_VERSION_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    split_version: int
    split_from: int
    split_to: int
    position: int
    handoff_bytes: int
    gap_ns: int
    controller_instance: str
    decision_version: int
    def __init__(self, session_id: _Optional[str] = ..., split_version: _Optional[int] = ..., split_from: _Optional[int] = ..., split_to: _Optional[int] = ..., position: _Optional[int] = ..., handoff_bytes: _Optional[int] = ..., gap_ns: _Optional[int] = ..., controller_instance: _Optional[str] = ..., decision_version: _Optional[int] = ...) -> None: ...

class SplitRejected(_message.Message):
    __slots__ = ("session_id", "split", "controller_instance", "decision_version", "reason")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    DECISION_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    split: int
    controller_instance: str
    decision_version: int
    reason: str
    def __init__(self, session_id: _Optional[str] = ..., split: _Optional[int] = ..., controller_instance: _Optional[str] = ..., decision_version: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class SessionEnded(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ("hello", "started", "report", "committed", "rejected", "ended")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    started: SessionStarted
    report: SessionReport
    committed: SplitCommitted
    rejected: SplitRejected
    ended: SessionEnded
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., started: _Optional[_Union[SessionStarted, _Mapping]] = ..., report: _Optional[_Union[SessionReport, _Mapping]] = ..., committed: _Optional[_Union[SplitCommitted, _Mapping]] = ..., rejected: _Optional[_Union[SplitRejected, _Mapping]] = ..., ended: _Optional[_Union[SessionEnded, _Mapping]] = ...) -> None: ...

class SplitDecision(_message.Message):
    __slots__ = ("ue_id", "session_id", "controller_instance", "version", "split", "reason", "stream_offset")
    UE_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STREAM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ue_id: str
    session_id: str
    controller_instance: str
    version: int
    split: int
    reason: str
    stream_offset: int
    def __init__(self, ue_id: _Optional[str] = ..., session_id: _Optional[str] = ..., controller_instance: _Optional[str] = ..., version: _Optional[int] = ..., split: _Optional[int] = ..., reason: _Optional[str] = ..., stream_offset: _Optional[int] = ...) -> None: ...

class Attached(_message.Message):
    __slots__ = ("controller_instance", "policy", "report_interval_ms", "report_interval_tokens")
    CONTROLLER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REPORT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    REPORT_INTERVAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    controller_instance: str
    policy: str
    report_interval_ms: int
    report_interval_tokens: int
    def __init__(self, controller_instance: _Optional[str] = ..., policy: _Optional[str] = ..., report_interval_ms: _Optional[int] = ..., report_interval_tokens: _Optional[int] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("attached", "decision")
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    attached: Attached
    decision: SplitDecision
    def __init__(self, attached: _Optional[_Union[Attached, _Mapping]] = ..., decision: _Optional[_Union[SplitDecision, _Mapping]] = ...) -> None: ...

class SessionStatus(_message.Message):
    __slots__ = ("session_id", "ue_id", "splits", "split", "target", "split_version", "switches", "overridden", "channel", "pinned")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UE_ID_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SPLIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    OVERRIDDEN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    ue_id: str
    splits: _edge_pb2.Layers
    split: int
    target: int
    split_version: int
    switches: int
    overridden: bool
    channel: _channel_pb2.ChannelEstimate
    pinned: bool
    def __init__(self, session_id: _Optional[str] = ..., ue_id: _Optional[str] = ..., splits: _Optional[_Union[_edge_pb2.Layers, _Mapping]] = ..., split: _Optional[int] = ..., target: _Optional[int] = ..., split_version: _Optional[int] = ..., switches: _Optional[int] = ..., overridden: _Optional[bool] = ..., channel: _Optional[_Union[_channel_pb2.ChannelEstimate, _Mapping]] = ..., pinned: _Optional[bool] = ...) -> None: ...

class GetSplitRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class SetSplitRequest(_message.Message):
    __slots__ = ("session_id", "split", "release")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    split: int
    release: bool
    def __init__(self, session_id: _Optional[str] = ..., split: _Optional[int] = ..., release: _Optional[bool] = ...) -> None: ...

class SplitStatus(_message.Message):
    __slots__ = ("controller_instance", "policy", "sessions", "attached")
    CONTROLLER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    controller_instance: str
    policy: str
    sessions: _containers.RepeatedCompositeFieldContainer[SessionStatus]
    attached: _containers.RepeatedCompositeFieldContainer[Hello]
    def __init__(self, controller_instance: _Optional[str] = ..., policy: _Optional[str] = ..., sessions: _Optional[_Iterable[_Union[SessionStatus, _Mapping]]] = ..., attached: _Optional[_Iterable[_Union[Hello, _Mapping]]] = ...) -> None: ...
