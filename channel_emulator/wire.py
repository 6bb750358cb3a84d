"""The channel's configuration from and to its protobuf form."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from airsplit.v1 import channel_pb2
from channel_emulator.config import ALLOWED, ChannelConfig


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


def updated(config: ChannelConfig, message: channel_pb2.ChannelConfig) -> ChannelConfig:
    """`config` with the fields that are present in `message` changed; the others stay.

    A field that says what is so already changes nothing, so that a state read from an emulator can
    be sent to another one as it is.

    Raises:
        InputError: as `ChannelConfig.changed`.
    """
    values = _values(message)
    base = config.changed({"preset": values["preset"]}) if "preset" in values else config
    return base.changed({n: v for n, v in values.items() if v != getattr(base, n)})


def from_proto(message: channel_pb2.ChannelConfig) -> ChannelConfig:
    """The channel that a whole message describes: knobs without effect beside the others included.

    Raises:
        InputError: a value is out of range, or two do not fit together.
    """
    return ChannelConfig(**_values(message))  # type: ignore[arg-type]


def _message(values: Mapping[str, object]) -> channel_pb2.ChannelConfig:
    message = channel_pb2.ChannelConfig()
    for name, value in values.items():
        enum = message.DESCRIPTOR.fields_by_name[name].enum_type
        if enum is not None and isinstance(value, StrEnum):
            value = enum.values_by_name[_prefix(enum.name) + value.name].number
        setattr(message, name, value)
    return message


def _values(message: channel_pb2.ChannelConfig) -> dict[str, object]:
    """Fields that are present, enumerations by name."""
    values: dict[str, object] = {}
    for descriptor, value in message.ListFields():
        enum = descriptor.enum_type
        if enum is not None:
            known = enum.values_by_number.get(value)
            value = known.name.removeprefix(_prefix(enum.name)).lower() if known else str(value)
        values[descriptor.name] = value
    return values


def _prefix(enum_name: str) -> str:
    """RadioClock to RADIO_CLOCK_: protobuf's convention for the names of an enum's values."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in enum_name)
    return words.lstrip("_").upper() + "_"
