"""Calls of an operator to running services: one request, one answer, errors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc

from airsplit.rpc import connect, parse_address, translate

T = TypeVar("T")

DEADLINE_S = 5.0


def ask(field: str, peer: str, address: str, call: Callable[[grpc.Channel], T]) -> T:
    """Runs `call` on a channel to `address`.

    Raises:
        InputError: the address is none.
        AirSplitError: the peer's named refusal, or it is not there.
    """
    parse_address(field, address)
    with connect(address) as channel:
        try:
            return call(channel)
        except grpc.RpcError as error:
            raise translate(error, peer, address) from error
