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
    FADING_FRAME: _ClassVar[Fading]
    FADING_COPULA: _ClassVar[Fading]
    FADING_SUM_OF_SQUARES: _ClassVar[Fading]

class PowerReference(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POWER_REFERENCE_UNSPECIFIED: _ClassVar[PowerReference]
    POWER_REFERENCE_TOKEN: _ClassVar[PowerReference]
    POWER_REFERENCE_TENSOR: _ClassVar[PowerReference]
    POWER_REFERENCE_INLIERS: _ClassVar[PowerReference]

class LossUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_UNIT_UNSPECIFIED: _ClassVar[LossUnit]
    LOSS_UNIT_ELEMENT: _ClassVar[LossUnit]
    LOSS_UNIT_TOKEN: _ClassVar[LossUnit]
    LOSS_UNIT_PACKET: _ClassVar[LossUnit]
    LOSS_UNIT_FRAME: _ClassVar[LossUnit]

class LossModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_MODEL_UNSPECIFIED: _ClassVar[LossModel]
    LOSS_MODEL_IID: _ClassVar[LossModel]
    LOSS_MODEL_GILBERT_ELLIOTT: _ClassVar[LossModel]

class JitterDistribution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JITTER_DISTRIBUTION_UNSPECIFIED: _ClassVar[JitterDistribution]
    JITTER_DISTRIBUTION_NORMAL: _ClassVar[JitterDistribution]
    JITTER_DISTRIBUTION_UNIFORM: _ClassVar[JitterDistribution]
    JITTER_DISTRIBUTION_EXPONENTIAL: _ClassVar[JitterDistribution]

class QueuePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUEUE_POLICY_UNSPECIFIED: _ClassVar[QueuePolicy]
    QUEUE_POLICY_BLOCK: _ClassVar[QueuePolicy]
    QUEUE_POLICY_DROP: _ClassVar[QueuePolicy]

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
FADING_FRAME: Fading
FADING_COPULA: Fading
FADING_SUM_OF_SQUARES: Fading
POWER_REFERENCE_UNSPECIFIED: PowerReference
POWER_REFERENCE_TOKEN: PowerReference
POWER_REFERENCE_TENSOR: PowerReference
POWER_REFERENCE_INLIERS: PowerReference
LOSS_UNIT_UNSPECIFIED: LossUnit
LOSS_UNIT_ELEMENT: LossUnit
LOSS_UNIT_TOKEN: LossUnit
LOSS_UNIT_PACKET: LossUnit
LOSS_UNIT_FRAME: LossUnit
LOSS_MODEL_UNSPECIFIED: LossModel
LOSS_MODEL_IID: LossModel
LOSS_MODEL_GILBERT_ELLIOTT: LossModel
JITTER_DISTRIBUTION_UNSPECIFIED: JitterDistribution
JITTER_DISTRIBUTION_NORMAL: JitterDistribution
JITTER_DISTRIBUTION_UNIFORM: JitterDistribution
JITTER_DISTRIBUTION_EXPONENTIAL: JitterDistribution
QUEUE_POLICY_UNSPECIFIED: QueuePolicy
QUEUE_POLICY_BLOCK: QueuePolicy
QUEUE_POLICY_DROP: QueuePolicy
EQUALIZER_UNSPECIFIED: Equalizer
EQUALIZER_NONE: Equalizer
EQUALIZER_ZERO_FORCING: Equalizer
RADIO_CLOCK_UNSPECIFIED: RadioClock
RADIO_CLOCK_REPLAY: RadioClock
RADIO_CLOCK_LIVE: RadioClock

class ChannelConfig(_message.Message):
    __slots__ = ("preset", "fading", "m", "omega", "h_th", "sigma", "snr_db", "loss", "delay_ms", "jitter_ms", "rate_mbps", "coherence_ms", "equalizer", "outage_snr_db", "harq_transmissions", "token_interval_ms", "clock", "seed", "bandwidth_mhz", "speed_mps", "carrier_ghz", "target_loss", "power_reference", "loss_unit", "packet_bytes", "loss_model", "burst_length", "loss_good", "loss_bad", "harq_rtt_ms", "snr_gap_db", "bandwidth_efficiency", "max_efficiency", "downlink_delay_ms", "jitter_distribution", "downlink_rate_mbps", "queue_kib", "queue_policy")
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
    SPEED_MPS_FIELD_NUMBER: _ClassVar[int]
    CARRIER_GHZ_FIELD_NUMBER: _ClassVar[int]
    TARGET_LOSS_FIELD_NUMBER: _ClassVar[int]
    POWER_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LOSS_UNIT_FIELD_NUMBER: _ClassVar[int]
    PACKET_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOSS_MODEL_FIELD_NUMBER: _ClassVar[int]
    BURST_LENGTH_FIELD_NUMBER: _ClassVar[int]
    LOSS_GOOD_FIELD_NUMBER: _ClassVar[int]
    LOSS_BAD_FIELD_NUMBER: _ClassVar[int]
    HARQ_RTT_MS_FIELD_NUMBER: _ClassVar[int]
    SNR_GAP_DB_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    MAX_EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_RATE_MBPS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_KIB_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POLICY_FIELD_NUMBER: _ClassVar[int]
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
    speed_mps: float
    carrier_ghz: float
    target_loss: float
    power_reference: PowerReference
    loss_unit: LossUnit
    packet_bytes: int
    loss_model: LossModel
    burst_length: float
    loss_good: float
    loss_bad: float
    harq_rtt_ms: float
    snr_gap_db: float
    bandwidth_efficiency: float
    max_efficiency: float
    downlink_delay_ms: float
    jitter_distribution: JitterDistribution
    downlink_rate_mbps: float
    queue_kib: float
    queue_policy: QueuePolicy
    def __init__(self, preset: _Optional[str] = ..., fading: _Optional[_Union[Fading, str]] = ..., m: _Optional[float] = ..., omega: _Optional[float] = ..., h_th: _Optional[float] = ..., sigma: _Optional[float] = ..., snr_db: _Optional[float] = ..., loss: _Optional[float] = ..., delay_ms: _Optional[float] = ..., jitter_ms: _Optional[float] = ..., rate_mbps: _Optional[float] = ..., coherence_ms: _Optional[float] = ..., equalizer: _Optional[_Union[Equalizer, str]] = ..., outage_snr_db: _Optional[float] = ..., harq_transmissions: _Optional[int] = ..., token_interval_ms: _Optional[float] = ..., clock: _Optional[_Union[RadioClock, str]] = ..., seed: _Optional[int] = ..., bandwidth_mhz: _Optional[float] = ..., speed_mps: _Optional[float] = ..., carrier_ghz: _Optional[float] = ..., target_loss: _Optional[float] = ..., power_reference: _Optional[_Union[PowerReference, str]] = ..., loss_unit: _Optional[_Union[LossUnit, str]] = ..., packet_bytes: _Optional[int] = ..., loss_model: _Optional[_Union[LossModel, str]] = ..., burst_length: _Optional[float] = ..., loss_good: _Optional[float] = ..., loss_bad: _Optional[float] = ..., harq_rtt_ms: _Optional[float] = ..., snr_gap_db: _Optional[float] = ..., bandwidth_efficiency: _Optional[float] = ..., max_efficiency: _Optional[float] = ..., downlink_delay_ms: _Optional[float] = ..., jitter_distribution: _Optional[_Union[JitterDistribution, str]] = ..., downlink_rate_mbps: _Optional[float] = ..., queue_kib: _Optional[float] = ..., queue_policy: _Optional[_Union[QueuePolicy, str]] = ...) -> None: ...

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
    __slots__ = ("sigma", "mean_gain", "loss", "snr_db", "configured_sigma", "configured_snr_db")
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    MEAN_GAIN_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SNR_DB_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_SIGMA_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_SNR_DB_FIELD_NUMBER: _ClassVar[int]
    sigma: float
    mean_gain: float
    loss: float
    snr_db: float
    configured_sigma: float
    configured_snr_db: float
    def __init__(self, sigma: _Optional[float] = ..., mean_gain: _Optional[float] = ..., loss: _Optional[float] = ..., snr_db: _Optional[float] = ..., configured_sigma: _Optional[float] = ..., configured_snr_db: _Optional[float] = ...) -> None: ...

class ChannelReport(_message.Message):
    __slots__ = ("config_version", "radio_time_ns", "estimate", "truth", "airtime_ns", "queue_ns", "delay_ns", "payload_bytes", "transmissions", "proxy_ns", "harq_ns", "dropped", "channel_time_ns", "rate_bps")
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
    HARQ_NS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    RATE_BPS_FIELD_NUMBER: _ClassVar[int]
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
    harq_ns: int
    dropped: bool
    channel_time_ns: int
    rate_bps: float
    def __init__(self, config_version: _Optional[int] = ..., radio_time_ns: _Optional[int] = ..., estimate: _Optional[_Union[ChannelEstimate, _Mapping]] = ..., truth: _Optional[_Union[ChannelTruth, _Mapping]] = ..., airtime_ns: _Optional[int] = ..., queue_ns: _Optional[int] = ..., delay_ns: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., transmissions: _Optional[int] = ..., proxy_ns: _Optional[int] = ..., harq_ns: _Optional[int] = ..., dropped: _Optional[bool] = ..., channel_time_ns: _Optional[int] = ..., rate_bps: _Optional[float] = ...) -> None: ...

class ChannelState(_message.Message):
    __slots__ = ("config", "config_version", "sessions", "frames", "payload_bytes", "handoff_bytes", "links", "channel_time_ns", "scenario", "scenario_duration_ns", "dropped_frames", "last_version", "transport_ms")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_BYTES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    LAST_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_MS_FIELD_NUMBER: _ClassVar[int]
    config: ChannelConfig
    config_version: int
    sessions: int
    frames: int
    payload_bytes: int
    handoff_bytes: int
    links: _containers.RepeatedCompositeFieldContainer[SessionChannel]
    channel_time_ns: int
    scenario: str
    scenario_duration_ns: int
    dropped_frames: int
    last_version: int
    transport_ms: float
    def __init__(self, config: _Optional[_Union[ChannelConfig, _Mapping]] = ..., config_version: _Optional[int] = ..., sessions: _Optional[int] = ..., frames: _Optional[int] = ..., payload_bytes: _Optional[int] = ..., handoff_bytes: _Optional[int] = ..., links: _Optional[_Iterable[_Union[SessionChannel, _Mapping]]] = ..., channel_time_ns: _Optional[int] = ..., scenario: _Optional[str] = ..., scenario_duration_ns: _Optional[int] = ..., dropped_frames: _Optional[int] = ..., last_version: _Optional[int] = ..., transport_ms: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("config", "expected_version", "effective_time_ns")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    config: ChannelConfig
    expected_version: int
    effective_time_ns: int
    def __init__(self, config: _Optional[_Union[ChannelConfig, _Mapping]] = ..., expected_version: _Optional[int] = ..., effective_time_ns: _Optional[int] = ...) -> None: ...

class ChannelChange(_message.Message):
    __slots__ = ("time_ns", "config")
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    time_ns: int
    config: ChannelConfig
    def __init__(self, time_ns: _Optional[int] = ..., config: _Optional[_Union[ChannelConfig, _Mapping]] = ...) -> None: ...

class RateTrace(_message.Message):
    __slots__ = ("time_ns", "bits", "stepwise")
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    STEPWISE_FIELD_NUMBER: _ClassVar[int]
    time_ns: _containers.RepeatedScalarFieldContainer[int]
    bits: _containers.RepeatedScalarFieldContainer[int]
    stepwise: bool
    def __init__(self, time_ns: _Optional[_Iterable[int]] = ..., bits: _Optional[_Iterable[int]] = ..., stepwise: _Optional[bool] = ...) -> None: ...

class Scenario(_message.Message):
    __slots__ = ("name", "duration_ns", "changes", "uplink", "downlink")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    UPLINK_FIELD_NUMBER: _ClassVar[int]
    DOWNLINK_FIELD_NUMBER: _ClassVar[int]
    name: str
    duration_ns: int
    changes: _containers.RepeatedCompositeFieldContainer[ChannelChange]
    uplink: RateTrace
    downlink: RateTrace
    def __init__(self, name: _Optional[str] = ..., duration_ns: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[ChannelChange, _Mapping]]] = ..., uplink: _Optional[_Union[RateTrace, _Mapping]] = ..., downlink: _Optional[_Union[RateTrace, _Mapping]] = ...) -> None: ...

class PlayScenarioRequest(_message.Message):
    __slots__ = ("scenario", "expected_version")
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    scenario: Scenario
    expected_version: int
    def __init__(self, scenario: _Optional[_Union[Scenario, _Mapping]] = ..., expected_version: _Optional[int] = ...) -> None: ...

class WatchChannelRequest(_message.Message):
    __slots__ = ("interval_ms",)
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    interval_ms: int
    def __init__(self, interval_ms: _Optional[int] = ...) -> None: ...
