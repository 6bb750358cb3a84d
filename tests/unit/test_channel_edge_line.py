"""What puts an edge in doubt: an error of its own call, or a missed sign of life."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from airsplit.clock import VirtualClock
from airsplit.errors import AirSplitError, PeerTimeoutError, PeerUnavailableError, SessionLimitError
from airsplit.rpc import ERROR_NAME_KEY, Outcome
from channel_emulator.edge_line import EdgeLine
from tests.ended_call import SUBSTITUTE, EndedCall

NOBODY = "127.0.0.1:1"


def failed(code: grpc.StatusCode, name: str = "") -> AioRpcError:
    trailing = Metadata((ERROR_NAME_KEY, name)) if name else Metadata()
    return AioRpcError(code, Metadata(), trailing, "connection lost", None)


@pytest.mark.parametrize(
    ("error", "named", "in_doubt"),
    [
        (failed(grpc.StatusCode.UNAVAILABLE), PeerUnavailableError, True),
        (failed(grpc.StatusCode.CANCELLED), PeerUnavailableError, True),
        (failed(grpc.StatusCode.UNAVAILABLE, "PeerUnavailableError"), PeerUnavailableError, False),
        (failed(grpc.StatusCode.RESOURCE_EXHAUSTED, "SessionLimitError"), SessionLimitError, False),
        # the UE's own: its deadline has passed, it sends nothing more
        (failed(grpc.StatusCode.DEADLINE_EXCEEDED), PeerTimeoutError, False),
        (PeerTimeoutError("no message within 300 s"), PeerTimeoutError, False),
    ],
)
def test_an_error_of_the_call(error: Exception, named: type[AirSplitError], in_doubt: bool) -> None:
    async def work() -> None:
        raise error

    async def scenario() -> None:
        line = EdgeLine(NOBODY, VirtualClock(), 5.0)
        with pytest.raises(AirSplitError) as raised:
            await line.run(work(), line.watch())
        assert type(raised.value) is named
        assert line.in_doubt is in_doubt
        await line.close()

    asyncio.run(scenario())


def test_an_edge_that_is_lost_while_it_is_written_to() -> None:
    async def scenario() -> None:
        line, call = EdgeLine(NOBODY, VirtualClock(), 5.0), EndedCall()
        outcome = Outcome(call)
        call.end((grpc.StatusCode.UNAVAILABLE, "Socket closed"), tell=True)
        error = call.end(SUBSTITUTE, tell=False)

        async def work() -> None:
            raise error

        with pytest.raises(PeerUnavailableError, match="socket closed"):
            await line.run(work(), line.watch(), outcome)
        assert line.in_doubt
        await line.close()

    asyncio.run(scenario())


def test_silence_without_a_sign_of_life() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        line = EdgeLine(NOBODY, clock, 5.0)
        watch = line.watch(0.5)
        watch.owes()
        with pytest.raises(PeerTimeoutError, match=r"no sign of life within 0\.5 s"):
            await line.run(asyncio.sleep(60), watch)
        assert clock.now_ns() == 250_000_000
        assert line.in_doubt
        await line.close()

    asyncio.run(scenario())
