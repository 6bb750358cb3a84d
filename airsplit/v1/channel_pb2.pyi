from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fading(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FADING_UNSPECIFIED: _ClassVar[Fading]
    FADING_NONE: _ClassVar[Fading]
    FADING_ELEMENT: _ClassVar[Fading]
    FADING_TOKEN: _ClassVar[Fading]
    FADING_BLOCK: _ClassVar[Fading]

class Equalizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EQUALIZER_UNSPECIFIED: _ClassVar[Equalizer]
    EQUALIZER_NONE: _ClassVar[Equalizer]
    EQUALIZER_ZERO_FORCING: _ClassVar[Equalizer]

class RadioClock(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RADIO_CLOCK_UNSPECIFIED: _ClassVar[RadioClock]
    RADIO_CLOCK_REPLAY: _ClassVar[RadioClock]
    RADIO_CLOCK_LIVE: _ClassVar[RadioClock]
FADING_UNSPECIFIED: Fading
FADING_NONE: Fading
FADING_ELEMENT: Fading
FADING_TOKEN: Fading
FADING_BLOCK: Fading
EQUALIZER_UNSPECIFIED: Equalizer
EQUALIZER_NONE: Equalizer
EQUALIZER_ZERO_FORCING: Equalizer
RADIO_CLOCK_UNSPECIFIED: RadioClock
RADIO_CLOCK_REPLAY: RadioClock
RADIO_CLOCK_LIVE: RadioClock

class ChannelConfig(_message.Message):
    __slots__ = ("preset", "fading", "m", "omega", "h_th", "sigma", "snr_db", "loss", "delay_ms", "jitter_ms", "rate_mbps", "coherence_ms", "equalizer", "outage_snr_db", "harq_transmissions", "token_interval_ms", "clock", "seed", "bandwidth_mhz")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    FADING_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    OMEGA_FIELD_NUMBER: _ClassVar[int]
    H_TH_FIELD_NUMBER: _ClassVar[int]
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_MS_FIELD_NUMBER: _ClassVar[int]
    RATE_MBPS_FIELD_NUMBER: _ClassVar[int]
    COHERENCE_MS_FIELD_NUMBER: _ClassVar[int]
    EQUALIZER_FIELD_NUMBER: _ClassVar[int]
    OUTAGE_SNR_DB_FIELD_NUMBER: _ClassVar[int]
    HARQ_TRANSMISSIONS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_MHZ_FIELD_NUMBER: _ClassVar[int]
    preset: str
    fading: Fading
    m: float
    omega: float
    h_th: float
    sigma: float
    snr_db: float
    loss: float
    delay_ms: float
    jitter_ms: float
    rate_mbps: float
    coherence_ms: float
    equalizer: Equalizer
    outage_snr_db: float
    harq_transmissions: int
    token_interval_ms: float
    clock: RadioClock
    seed: int
    bandwidth_mhz: float
    def __init__(self, preset: _Optional[str] = ..., fading: _Optional[_Union[Fading, str]] = ..., m: _Optional[float] = ..., omega: _Optional[float] = ..., h_th: _Optional[float] = ..., sigma: _Optional[float] = ..., snr_db: _Optional[float] = ..., loss: _Optional[float] = ..., delay_ms: _Optional[float] = ..., jitter_ms: _Optional[float] = ..., rate_mbps: _Optional[float] = ..., coherence_ms: _Optional[float] = ..., equalizer: _Optional[_Union[Equalizer, str]] = ..., outage_snr_db: _Optional[float] = ..., harq_transmissions: _Optional[int] = ..., token_interval_ms: _Optional[float] = ..., clock: _Optional[_Union[RadioClock, str]] = ..., seed: _Optional[int] = ..., bandwidth_mhz: _Optional[float] = ...) -> None: ...

class ChannelEstimate(_message.Message):
    __slots__ = ("sigma", "m", "omega", "loss", "snr_db")
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    OMEGA_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    sigma: float
    m: float
    omega: float
    loss: float
    snr_db: float
    def __init__(self, sigma: _Optional[float] = ..., m: _Optional[float] = ..., omega: _Optional[float] = ..., loss: _Optional[float] = ..., snr_db: _Optional[float] = ...) -> None: ...

class ChannelTruth(_message.Message):
    __slots__ = ("sigma", "mean_gain", "loss", "snr_db")
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    MEAN_GAIN_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    sigma: float
    mean_gain: float
    loss: float
    snr_db: float
    def __init__(self, sigma: _Optional[float] = ..., mean_gain: _Optional[float] = ..., loss: _Optional[float] = ..., snr_db: _Optional[float] = ...) -> None: ...

class ChannelReport(_message.Message):
    __slots__ = ("config_version", "radio_time_ns", "estimate", "truth", "airtime_ns", "queue_ns", "delay_ns", "payload_bytes", "transmissions", "proxy_ns")
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    RADIO_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    AIRTIME_NS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_NS_FIELD_NUMBER: _ClassVar[int]
    DELAY_NS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRANSMISSIONS_FIELD_NUMBER: _ClassVar[int]
    PROXY_NS_FIELD_NUMBER: _ClassVar[int]
    config_version: int
    radio_time_ns: int
    estimate: ChannelEstimate
    truth: ChannelTruth
    airtime_ns: int
    queue_ns: int
    delay_ns: int
    payload_bytes: int
    transmissions: int
    proxy_ns: int
    def __init__(self, config_version: _Optional[int] = ..., radio_time_ns: _Optional[int] = ..., estimate: _Optional[_Union[ChannelEstimate, _Mapping]] = ..., truth: _Optional[_Union[ChannelTruth, _Mapping]] = ..., airtime_ns: _Optional[int] = ..., queue_ns: _Optional[int] = ..., delay_ns: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., transmissions: _Optional[int] = ..., proxy_ns: _Optional[int] = ...) -> None: ...

class ChannelState(_message.Message):
    __slots__ = ("config", "config_version", "sessions", "frames", "payload_bytes", "handoff_bytes", "links")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_BYTES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    config: ChannelConfig
    config_version: int
    sessions: int
    frames: int
    payload_bytes: int
    handoff_bytes: int
    links: _containers.RepeatedCompositeFieldContainer[SessionChannel]
    def __init__(self, config: _Optional[_Union[ChannelConfig, _Mapping]] = ..., config_version: _Optional[int] = ..., sessions: _Optional[int] = ..., frames: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., handoff_bytes: _Optional[int] = ..., links: _Optional[_Iterable[_Union[SessionChannel, _Mapping]]] = ...) -> None: ...

class SessionChannel(_message.Message):
    __slots__ = ("session_id", "ue_id", "frames", "last")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UE_ID_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    ue_id: str
    frames: int
    last: ChannelReport
    def __init__(self, session_id: _Optional[str] = ..., ue_id: _Optional[str] = ..., frames: _Optional[int] = ..., last: _Optional[_Union[ChannelReport, _Mapping]] = ...) -> None: ...

class GetChannelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConfigureChannelRequest(_message.Message):
    __slots__ = ("config", "expected_version")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    config: ChannelConfig
    expected_version: int
    def __init__(self, config: _Optional[_Union[ChannelConfig, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class WatchChannelRequest(_message.Message):
    __slots__ = ("interval_ms",)
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    interval_ms: int
    def __init__(self, interval_ms: _Optional[int] = ...) -> None: ...
