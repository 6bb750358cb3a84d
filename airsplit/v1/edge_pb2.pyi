from airsplit.v1 import channel_pb2 as _channel_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[DType]
    DTYPE_FLOAT32: _ClassVar[DType]
    DTYPE_FLOAT16: _ClassVar[DType]
    DTYPE_BFLOAT16: _ClassVar[DType]

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_PREFILL: _ClassVar[Task]
    TASK_SAMPLE: _ClassVar[Task]
    TASK_SCORE: _ClassVar[Task]
DTYPE_UNSPECIFIED: DType
DTYPE_FLOAT32: DType
DTYPE_FLOAT16: DType
DTYPE_BFLOAT16: DType
TASK_UNSPECIFIED: Task
TASK_PREFILL: Task
TASK_SAMPLE: Task
TASK_SCORE: Task

class ModelIdentity(_message.Message):
    __slots__ = ("name", "fingerprint", "layers", "hidden_size", "vocab_size", "dtype")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    layers: int
    hidden_size: int
    vocab_size: int
    dtype: DType
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., layers: _Optional[int] = ..., hidden_size: _Optional[int] = ..., vocab_size: _Optional[int] = ..., dtype: _Optional[_Union[DType, str]] = ...) -> None: ...

class Layers(_message.Message):
    __slots__ = ("start", "stop")
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    start: int
    stop: int
    def __init__(self, start: _Optional[int] = ..., stop: _Optional[int] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "top_k", "seed")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    top_k: int
    seed: int
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class OpenSession(_message.Message):
    __slots__ = ("session_id", "ue_id", "stream", "model", "split", "max_context", "sampling", "return_logits", "ue_layers")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UE_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    RETURN_LOGITS_FIELD_NUMBER: _ClassVar[int]
    UE_LAYERS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    ue_id: str
    stream: int
    model: ModelIdentity
    split: int
    max_context: int
    sampling: Sampling
    return_logits: bool
    ue_layers: Layers
    def __init__(self, session_id: _Optional[str] = ..., ue_id: _Optional[str] = ..., stream: _Optional[int] = ..., model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., split: _Optional[int] = ..., max_context: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., return_logits: _Optional[bool] = ..., ue_layers: _Optional[_Union[Layers, _Mapping]] = ...) -> None: ...

class SessionOpened(_message.Message):
    __slots__ = ("session_id", "edge_layers", "credits", "kv_reserved_bytes", "model")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EDGE_LAYERS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    KV_RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    edge_layers: Layers
    credits: int
    kv_reserved_bytes: int
    model: ModelIdentity
    def __init__(self, session_id: _Optional[str] = ..., edge_layers: _Optional[_Union[Layers, _Mapping]] = ..., credits: _Optional[int] = ..., kv_reserved_bytes: _Optional[int] = ..., model: _Optional[_Union[ModelIdentity, _Mapping]] = ...) -> None: ...

class FrameHeader(_message.Message):
    __slots__ = ("session_id", "split_version", "sequence", "split", "window", "position", "token_count", "task", "dtype", "shape", "targets", "stream_offset", "erasure_mask", "channel")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    STREAM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ERASURE_MASK_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    split_version: int
    sequence: int
    split: int
    window: int
    position: int
    token_count: int
    task: Task
    dtype: DType
    shape: _containers.RepeatedScalarFieldContainer[int]
    targets: _containers.RepeatedScalarFieldContainer[int]
    stream_offset: int
    erasure_mask: bytes
    channel: _channel_pb2.ChannelReport
    def __init__(self, session_id: _Optional[str] = ..., split_version: _Optional[int] = ..., sequence: _Optional[int] = ..., split: _Optional[int] = ..., window: _Optional[int] = ..., position: _Optional[int] = ..., token_count: _Optional[int] = ..., task: _Optional[_Union[Task, str]] = ..., dtype: _Optional[_Union[DType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., targets: _Optional[_Iterable[int]] = ..., stream_offset: _Optional[int] = ..., erasure_mask: _Optional[bytes] = ..., channel: _Optional[_Union[_channel_pb2.ChannelReport, _Mapping]] = ...) -> None: ...

class ActivationFrame(_message.Message):
    __slots__ = ("header", "payload")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    payload: bytes
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class EdgeTimings(_message.Message):
    __slots__ = ("queue_ns", "decode_ns", "compute_ns", "head_ns", "total_ns")
    QUEUE_NS_FIELD_NUMBER: _ClassVar[int]
    DECODE_NS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_NS_FIELD_NUMBER: _ClassVar[int]
    HEAD_NS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_NS_FIELD_NUMBER: _ClassVar[int]
    queue_ns: int
    decode_ns: int
    compute_ns: int
    head_ns: int
    total_ns: int
    def __init__(self, queue_ns: _Optional[int] = ..., decode_ns: _Optional[int] = ..., compute_ns: _Optional[int] = ..., head_ns: _Optional[int] = ..., total_ns: _Optional[int] = ...) -> None: ...

class InferenceResult(_message.Message):
    __slots__ = ("session_id", "split_version", "sequence", "window", "position", "token_count", "token_id", "nll", "logits", "timings", "uplink", "downlink")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SPLIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    NLL_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    UPLINK_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    split_version: int
    sequence: int
    window: int
    position: int
    token_count: int
    token_id: int
    nll: _containers.RepeatedScalarFieldContainer[float]
    logits: bytes
    timings: EdgeTimings
    uplink: _channel_pb2.ChannelReport
    downlink: _channel_pb2.ChannelReport
    def __init__(self, session_id: _Optional[str] = ..., split_version: _Optional[int] = ..., sequence: _Optional[int] = ..., window: _Optional[int] = ..., position: _Optional[int] = ..., token_count: _Optional[int] = ..., token_id: _Optional[int] = ..., nll: _Optional[_Iterable[float]] = ..., logits: _Optional[bytes] = ..., timings: _Optional[_Union[EdgeTimings, _Mapping]] = ..., uplink: _Optional[_Union[_channel_pb2.ChannelReport, _Mapping]] = ..., downlink: _Optional[_Union[_channel_pb2.ChannelReport, _Mapping]] = ...) -> None: ...

class FrameRefused(_message.Message):
    __slots__ = ("sequence", "error", "detail")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    error: str
    detail: str
    def __init__(self, sequence: _Optional[int] = ..., error: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class InferRequest(_message.Message):
    __slots__ = ("open", "frame")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    open: OpenSession
    frame: ActivationFrame
    def __init__(self, open: _Optional[_Union[OpenSession, _Mapping]] = ..., frame: _Optional[_Union[ActivationFrame, _Mapping]] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("opened", "result", "refused")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    opened: SessionOpened
    result: InferenceResult
    refused: FrameRefused
    def __init__(self, opened: _Optional[_Union[SessionOpened, _Mapping]] = ..., result: _Optional[_Union[InferenceResult, _Mapping]] = ..., refused: _Optional[_Union[FrameRefused, _Mapping]] = ...) -> None: ...

class CacheRows(_message.Message):
    __slots__ = ("session_id", "window", "layer", "start", "stop", "dtype", "kv_heads", "head_dim", "key", "value")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    KV_HEADS_FIELD_NUMBER: _ClassVar[int]
    HEAD_DIM_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    window: int
    layer: int
    start: int
    stop: int
    dtype: DType
    kv_heads: int
    head_dim: int
    key: bytes
    value: bytes
    def __init__(self, session_id: _Optional[str] = ..., window: _Optional[int] = ..., layer: _Optional[int] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., dtype: _Optional[_Union[DType, str]] = ..., kv_heads: _Optional[int] = ..., head_dim: _Optional[int] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class PushCacheResponse(_message.Message):
    __slots__ = ("bytes", "validity")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    validity: _containers.RepeatedCompositeFieldContainer[LayerValidity]
    def __init__(self, bytes: _Optional[int] = ..., validity: _Optional[_Iterable[_Union[LayerValidity, _Mapping]]] = ...) -> None: ...

class LayerValidity(_message.Message):
    __slots__ = ("layer", "valid")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    layer: int
    valid: int
    def __init__(self, layer: _Optional[int] = ..., valid: _Optional[int] = ...) -> None: ...

class PullCacheRequest(_message.Message):
    __slots__ = ("session_id", "window", "rows")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    window: int
    rows: _containers.RepeatedCompositeFieldContainer[RowRange]
    def __init__(self, session_id: _Optional[str] = ..., window: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[RowRange, _Mapping]]] = ...) -> None: ...

class RowRange(_message.Message):
    __slots__ = ("layer", "start", "stop")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    layer: int
    start: int
    stop: int
    def __init__(self, layer: _Optional[int] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ...) -> None: ...

class DescribeEdgeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EdgeDescription(_message.Message):
    __slots__ = ("model", "edge_layers", "sessions", "max_sessions", "kv_reserved_bytes", "kv_budget_bytes", "max_context", "weight_bytes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    EDGE_LAYERS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    KV_RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    KV_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    model: ModelIdentity
    edge_layers: Layers
    sessions: int
    max_sessions: int
    kv_reserved_bytes: int
    kv_budget_bytes: int
    max_context: int
    weight_bytes: int
    def __init__(self, model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., edge_layers: _Optional[_Union[Layers, _Mapping]] = ..., sessions: _Optional[int] = ..., max_sessions: _Optional[int] = ..., kv_reserved_bytes: _Optional[int] = ..., kv_budget_bytes: _Optional[int] = ..., max_context: _Optional[int] = ..., weight_bytes: _Optional[int] = ...) -> None: ...
