"""Which edge a session gets, with a resolver and attempts of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import grpc
import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import InputError, PeerUnavailableError, SessionExistsError
from channel_emulator.edge_line import EdgeLine
from channel_emulator.edges import Edges, parse_edges, resolve

NAME = "edge:50051"
NAMES = {"10.0.0.2:50051": "edge:50051 (10.0.0.2)", "[fd00::3]:50051": "edge:50051 (fd00::3)"}
TWO = list(NAMES)


class Resolver:
    """Knows what it is told; None: nobody answers."""

    def __init__(self, addresses: dict[str, list[str] | None]) -> None:
        self.addresses = addresses

    async def __call__(self, edge: str) -> list[str]:
        found = self.addresses.get(edge)
        if found is None:
            raise OSError(-2, "Name or service not known")
        return found


async def works(line: EdgeLine) -> None:
    """An attempt that finds the edge."""


def fails_at(*names: str) -> Callable[[EdgeLine], Awaitable[None]]:
    async def attempt(line: EdgeLine) -> None:
        with line.naming():
            if line.name in names:
                raise PeerUnavailableError.of("edge server", line.name, "connection refused")

    return attempt


def run(
    scenario: Callable[[Edges, AsyncExitStack], Awaitable[None]],
    addresses: dict[str, list[str] | None],
) -> None:
    async def checked() -> None:
        edges = Edges(list(addresses), VirtualClock(), 5.0, Resolver(addresses))
        try:
            async with AsyncExitStack() as sessions:
                await scenario(edges, sessions)
        finally:
            await edges.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(checked())


def test_each_session_gets_the_edge_with_the_fewest() -> None:
    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        got = {}
        for session in "abc":
            got[session], _ = await sessions.enter_async_context(edges.reached(session, works))
        assert [line.name for line in got.values()] == [*NAMES.values(), NAMES[TWO[0]]]
        assert got["a"] is got["c"], "one line for an address"
        async with edges.reached("d", works) as (line, _):
            assert line is got["b"]
        async with edges.line_of("b") as line:
            assert line is got["b"]
        await sessions.aclose()
        async with edges.reached("e", works) as (line, _):
            assert line is got["a"]

    run(scenario, {NAME: TWO})


def test_the_next_edge_is_tried_and_who_failed_comes_last() -> None:
    first, second = NAMES.values()

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        line, _ = await sessions.enter_async_context(edges.reached("a", fails_at(first)))
        assert line.name == second
        line, _ = await sessions.enter_async_context(edges.reached("b", works))
        assert line.name == second, "though it has a session and the other has none"
        with pytest.raises(PeerUnavailableError) as raised:
            await sessions.enter_async_context(edges.reached("c", fails_at(first, second)))
        says = "edge server at {} is unavailable: connection refused"
        assert str(raised.value) == f"{says.format(second)}; {says.format(first)}"

    run(scenario, {NAME: TWO})


def test_of_equals_the_first_that_was_given() -> None:
    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        names = []
        for session in "abc":
            line, _ = await sessions.enter_async_context(edges.reached(session, works))
            names.append(line.name)
        assert names == ["10.0.0.9:1", "edge:50051 (10.0.0.2)", "edge:50051 (fd00::3)"]

    run(scenario, {"10.0.0.9:1": ["10.0.0.9:1"], NAME: TWO})


def test_sessions_that_open_at_once_close_a_line_once() -> None:
    addresses: dict[str, list[str] | None] = {NAME: TWO}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        for session in "ab":
            await sessions.enter_async_context(edges.reached(session, works))
        await sessions.aclose()
        addresses[NAME] = ["10.0.0.4:50051"]

        async def open_one(session: str) -> str:
            async with edges.reached(session, works) as (line, _):
                return line.name

        names = await asyncio.gather(*map(open_one, "cdef"))
        assert set(names) == {"edge:50051 (10.0.0.4)"}

    run(scenario, addresses)


def test_one_edge_fails_with_its_own_error() -> None:
    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        with pytest.raises(PeerUnavailableError, match=r"^edge server at 10\.0\.0\.2:1 is unav"):
            await sessions.enter_async_context(edges.reached("a", fails_at("10.0.0.2:1")))
        async with edges.reached("b", works) as (line, _):
            assert (line.name, line.in_doubt) == ("10.0.0.2:1", True)

    run(scenario, {"10.0.0.2:1": ["10.0.0.2:1"]})


def test_an_error_of_the_session_is_no_reason_to_try_another_edge() -> None:
    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        tried = []

        async def attempt(line: EdgeLine) -> None:
            tried.append(line.name)

        with pytest.raises(PeerUnavailableError, match="later"):
            async with edges.reached("a", attempt):
                raise PeerUnavailableError("later")
        assert tried == [NAMES[TWO[0]]]

    run(scenario, {NAME: TWO})


def test_a_session_keeps_its_line_when_the_name_moves() -> None:
    addresses: dict[str, list[str] | None] = {NAME: TWO[:1]}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        old, _ = await sessions.enter_async_context(edges.reached("a", works))
        addresses[NAME] = TWO[1:]
        async with edges.reached("b", works) as (new, _), edges.line_of("a") as kept:
            assert new.name == NAMES[TWO[1]]
            assert kept is old
            with pytest.raises(PeerUnavailableError):  # nobody is there, but it is not closed
                await old.infer(0.01, "session a")
        await sessions.aclose()
        async with edges.reached("c", works) as (line, _):
            assert line is new
        with pytest.raises(grpc.aio.UsageError, match="closed"):
            await old.infer(None, "session c")

    run(scenario, addresses)


def test_without_its_resolver_it_goes_on_with_what_it_knows() -> None:
    addresses: dict[str, list[str] | None] = {NAME: TWO}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        line, _ = await sessions.enter_async_context(edges.reached("a", works))
        addresses[NAME] = None
        again, _ = await sessions.enter_async_context(edges.reached("b", works))
        assert again is line

    run(scenario, addresses)


def test_an_unknown_name_is_named_unless_another_is_known() -> None:
    addresses: dict[str, list[str] | None] = {"one:1": None, "two:2": None}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        with pytest.raises(PeerUnavailableError) as raised:
            await sessions.enter_async_context(edges.reached("a", works))
        says = "edge server at {}:{} is unavailable: the host '{}' cannot be resolved"
        said = [says.format("one", 1, "one"), says.format("two", 2, "two")]
        assert str(raised.value) == "; ".join(said)
        addresses["two:2"] = ["10.0.0.2:2"]
        async with edges.reached("a", works) as (line, _):
            assert line.name == "two:2 (10.0.0.2)"

    run(scenario, addresses)


def test_a_session_is_open_once() -> None:
    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        line, _ = await sessions.enter_async_context(edges.reached("a", works))
        with pytest.raises(SessionExistsError, match="session_id: 'a' is open already"):
            await sessions.enter_async_context(edges.reached("a", works))
        async with edges.line_of("a") as kept:
            assert kept is line

    run(scenario, {NAME: TWO})


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("127.0.0.1:50051", ["127.0.0.1:50051"]),
        ("edge:1,[::1]:2, 10.0.0.2:1", ["edge:1", "[::1]:2", "10.0.0.2:1"]),
    ],
)
def test_edges_are_a_list(text: str, edges: list[str]) -> None:
    assert parse_edges("--edge", text) == edges


@pytest.mark.parametrize("text", ["", "edge", "edge:1,", "edge:1,two", "edge:1,edge:1", "a:70000"])
def test_a_bad_list_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^--edge: '"):
        parse_edges("--edge", text)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:5", "[::1]:5", "::1:5", "unix:/run/edge", "ipv4:127.0.0.1:5"]
)
def test_what_is_no_name_is_left_to_grpc(address: str) -> None:
    assert asyncio.run(resolve(address)) == [address]


def test_what_is_no_name_at_all_is_unresolved() -> None:
    async def scenario() -> None:
        edges = Edges(["a..b:1"], VirtualClock(), 5.0)
        with pytest.raises(PeerUnavailableError, match=r"'a\.\.b' cannot be resolved"):
            async with edges.reached("a", works):
                pass

    asyncio.run(scenario())


def test_a_name_becomes_its_addresses() -> None:
    found = asyncio.run(resolve("localhost:5"))
    assert found
    assert set(found) <= {"127.0.0.1:5", "[::1]:5"}
