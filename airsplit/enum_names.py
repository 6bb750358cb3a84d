"""Short names of protobuf enumerations: RADIO_CLOCK_REPLAY of RadioClock is `replay`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from google.protobuf.descriptor import EnumDescriptor


@cache
def short_names(enum: EnumDescriptor) -> Mapping[int, str]:
    """The short lower-case name of each number. An open enumeration may hold others."""
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in enum.name)
    prefix = words.lstrip("_").upper() + "_"
    numbers = enum.values_by_number.items()
    return MappingProxyType({n: v.name.removeprefix(prefix).lower() for n, v in numbers})
