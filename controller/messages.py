"""The control path's messages: what is right in them, and their translation to plain values."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from airsplit.errors import InputError, TransitionError
from airsplit.v1 import channel_pb2, controller_pb2, edge_pb2
from controller.estimate import Estimate
from controller.session import Session

Role = controller_pb2.Role
HELLO_TIMEOUT_S = 10.0
MAX_ID_LENGTH = 256

ALLOWED: dict[int, frozenset[str]] = {
    Role.ROLE_UE: frozenset({"started", "report", "committed", "rejected", "ended"}),
    Role.ROLE_EDGE: frozenset({"report"}),
    Role.ROLE_CHANNEL: frozenset({"report"}),
}
"""What an end may send after its Hello; anything else is an error."""


async def first_hello(
    requests: AsyncIterator[controller_pb2.AttachRequest],
) -> controller_pb2.Hello:
    """The first message, which has to be a Hello with a role and an id.

    Raises:
        TransitionError: something else came, or nothing within HELLO_TIMEOUT_S.
        InputError: the role or the id is not one.
    """
    first = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            first = await anext(aiter(requests), None)
    kind = first.WhichOneof("message") if first else None
    if first is None or kind != "hello":
        raise TransitionError(f"{kind or 'nothing'} came first; allowed: hello")
    hello = first.hello
    if hello.role not in ALLOWED:
        raise InputError.of("role", hello.role, "1 (UE), 2 (EDGE) or 3 (CHANNEL)")
    if not 0 < len(hello.id) <= MAX_ID_LENGTH:
        raise InputError.of("id", hello.id[:MAX_ID_LENGTH], f"1-{MAX_ID_LENGTH} characters")
    return hello


def estimate(message: channel_pb2.ChannelEstimate) -> Estimate:
    return Estimate(message.sigma, message.m, message.omega, message.loss, message.snr_db)


def session_status(session: Session) -> controller_pb2.SessionStatus:
    seen = session.estimate.current
    return controller_pb2.SessionStatus(
        session_id=session.session_id,
        ue_id=session.ue_id,
        splits=edge_pb2.Layers(start=session.splits.start, stop=session.splits.stop),
        split=session.split,
        target=session.target,
        split_version=session.split_version,
        switches=session.switches,
        overridden=session.override is not None,
        pinned=session.pinned,
        channel=channel_pb2.ChannelEstimate(
            sigma=seen.sigma, m=seen.m, omega=seen.omega, loss=seen.loss, snr_db=seen.snr_db
        ),
    )
