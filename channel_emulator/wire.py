"""The channel's configuration, and scenarios, from and to their protobuf form."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from airsplit.enum_names import short_names
from airsplit.errors import InputError
from airsplit.v1 import channel_pb2
from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.rate_trace import RateTrace
from channel_emulator.scenario import MAX_TEXT, Scenario
from channel_emulator.timeline import MAX_CHANGES, MAX_TIME_NS, merged


def to_proto(config: ChannelConfig) -> channel_pb2.ChannelConfig:
    """Every knob that is set."""
    values = {name: getattr(config, name) for name in ("preset", *ALLOWED)}
    return _message({name: value for name, value in values.items() if value is not None})


def changes_to_proto(
    config: ChannelConfig, changes: Mapping[str, object]
) -> channel_pb2.ChannelConfig:
    """The partial message that asks for `config.changed(changes)`; values may be text.

    Raises:
        InputError: as `ChannelConfig.changed`.
    """
    wanted = config.changed(changes)
    return _message({name: getattr(wanted, name) for name in changes})


def partial(knobs: Mapping[str, object]) -> channel_pb2.ChannelConfig:
    """The message that says these knobs alone, whatever they are to change; values may be text.

    Raises:
        InputError: an unknown name, or a value out of its range.
    """
    unknown = next((name for name in knobs if name != "preset" and name not in ALLOWED), None)
    if unknown is not None:
        raise InputError.of("channel", unknown, ", ".join(("preset", *ALLOWED)))
    values = {n: v if n == "preset" else ALLOWED[n].read(n, v) for n, v in knobs.items()}
    if str(values.get("preset", "ideal")) not in PRESETS:
        raise InputError.of("preset", values["preset"], "|".join(PRESETS))
    return _message(values)


def updated(config: ChannelConfig, message: channel_pb2.ChannelConfig) -> ChannelConfig:
    """`config` with the fields that are present in `message` changed, as `timeline.merged`.

    Raises:
        InputError: as `ChannelConfig.changed`.
    """
    return merged(config, _values(message))


def from_proto(message: channel_pb2.ChannelConfig) -> ChannelConfig:
    """The channel that a whole message describes: knobs without effect beside the others included.

    Raises:
        InputError: a value is out of range, or two do not fit together.
    """
    return ChannelConfig(**_values(message))  # type: ignore[arg-type]


def trace_to_proto(trace: RateTrace) -> channel_pb2.RateTrace:
    time_ns, bits, stepwise = trace.to_lists()
    return channel_pb2.RateTrace(time_ns=time_ns, bits=bits, stepwise=stepwise)


def trace_from_proto(message: channel_pb2.RateTrace) -> RateTrace:
    """Raises: InputError: no trace."""
    return RateTrace.of(message.time_ns, message.bits, message.stepwise)


def scenario_to_proto(scenario: Scenario) -> channel_pb2.Scenario:
    """Raises: InputError: a knob of it is unknown or out of its range."""
    message = channel_pb2.Scenario(name=scenario.name, duration_ns=scenario.duration_ns)
    for time_ns, knobs in scenario.changes:
        message.changes.add(time_ns=time_ns, config=partial(knobs))
    if scenario.uplink is not None:
        message.uplink.CopyFrom(trace_to_proto(scenario.uplink))
    if scenario.downlink is not None:
        message.downlink.CopyFrom(trace_to_proto(scenario.downlink))
    return message


def scenario_from_proto(message: channel_pb2.Scenario) -> Scenario:
    """The scenario that a whole message describes; its knobs are checked when it is played.

    Raises:
        InputError: it has no duration, no change and no trace, or too many of them.
    """
    name, duration_ns, changes = message.name, message.duration_ns, message.changes
    if not (0 < len(name) <= MAX_TEXT and name.isprintable()):
        raise InputError.of("scenario: name", name[:MAX_TEXT], f"1-{MAX_TEXT} printable characters")
    if not 1 <= duration_ns <= MAX_TIME_NS:
        raise InputError.of("scenario: duration_ns", duration_ns, f"[1, {MAX_TIME_NS}]")
    traced = message.HasField("uplink") or message.HasField("downlink")
    if not (1 - traced <= len(changes) <= MAX_CHANGES):
        raise InputError.of("scenario: changes", len(changes), f"1-{MAX_CHANGES}, or a trace")
    last_ns = changes[-1].time_ns if changes else 0
    if last_ns > duration_ns:
        where = f"scenario: changes[{len(changes) - 1}]: time_ns"
        raise InputError.of(where, last_ns, f"[0, {duration_ns}]")
    return Scenario(
        name=name,
        duration_ns=duration_ns,
        changes=tuple((change.time_ns, _values(change.config)) for change in changes),
        uplink=_trace_of(message, "uplink"),
        downlink=_trace_of(message, "downlink"),
    )


def _trace_of(message: channel_pb2.Scenario, direction: str) -> RateTrace | None:
    if not message.HasField(direction):
        return None
    try:
        return trace_from_proto(getattr(message, direction))
    except InputError as error:
        raise InputError(f"scenario: {direction}: {error}") from None


def _message(values: Mapping[str, object]) -> channel_pb2.ChannelConfig:
    message = channel_pb2.ChannelConfig()
    for name, value in values.items():
        enum = message.DESCRIPTOR.fields_by_name[name].enum_type
        if enum is not None and isinstance(value, StrEnum):
            value = {short: number for number, short in short_names(enum).items()}[value]
        setattr(message, name, value)
    return message


def _values(message: channel_pb2.ChannelConfig) -> dict[str, object]:
    """Fields that are present, enumerations by name."""
    values: dict[str, object] = {}
    for descriptor, value in message.ListFields():
        enum = descriptor.enum_type
        if enum is not None:
            value = short_names(enum).get(value, str(value))
        values[descriptor.name] = value
    return values
