"""Which edge a session gets, with a resolver and attempts of the test's own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import grpc
import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import (
    AirSplitError,
    InputError,
    KvBudgetError,
    ModelMismatchError,
    PeerUnavailableError,
    SessionExistsError,
    SessionLimitError,
    StaleCacheError,
)
from channel_emulator.edge_line import REFUSAL_S, EdgeLine
from channel_emulator.edges import LEAST_PATIENCE_S, Edges, parse_edges, resolve

NAME = "edge:50051"
NAMES = {"10.0.0.2:50051": "edge:50051 (10.0.0.2)", "10.0.0.3:50051": "edge:50051 (10.0.0.3)"}
TWO = list(NAMES)


Answers = dict[str, list[str] | OSError]
"""Of the resolver, by name."""

UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
LATER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Resolver:
    """Knows what it is told."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    async def __call__(self, edge: str) -> list[str]:
        answer = self.answers[edge]
        if isinstance(answer, OSError):
            raise answer
        return answer


async def works(line: EdgeLine, patience_s: float) -> None:
    """An attempt that finds the edge."""


def raises(errors: Mapping[str, AirSplitError]) -> Callable[[EdgeLine, float], Awaitable[None]]:
    """An attempt that finds no edge, or no way in, at these."""

    async def attempt(line: EdgeLine, patience_s: float) -> None:
        if line.name in errors:
            raise errors[line.name]

    return attempt


def fails_at(*names: str) -> Callable[[EdgeLine, float], Awaitable[None]]:
    async def attempt(line: EdgeLine, patience_s: float) -> None:
        if line.name in names:
            line.doubt()
            raise PeerUnavailableError.of("edge server", line.name, "connection refused")

    return attempt


async def gets(edges: Edges, attempt: Callable[[EdgeLine, float], Awaitable[None]] = works) -> str:
    """The edge of a session that comes and goes."""
    async with edges.reached(object(), attempt) as (line, _):
        return line.name


def run(
    scenario: Callable[[Edges, AsyncExitStack], Awaitable[None]],
    addresses: Answers,
    clock: VirtualClock | None = None,
) -> None:
    async def checked() -> None:
        edges = Edges(list(addresses), clock or VirtualClock(), 5.0, Resolver(addresses))
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


@pytest.mark.parametrize("error", [SessionLimitError("full"), KvBudgetError("full")])
def test_an_edge_without_room_gives_way_to_the_next(
    error: AirSplitError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "channel_emulator")
    first, second = NAMES.values()
    clock = VirtualClock()

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        full = raises({first: error})
        line, _ = await sessions.enter_async_context(edges.reached("a", full))
        assert line.name == second
        assert caplog.record_tuples == [
            (
                "channel_emulator.edges",
                logging.INFO,
                f"edge server at {first} gives way to the next: full",
            )
        ]
        assert await gets(edges) == second, "though it has a session and the other has none"
        clock.advance(round(REFUSAL_S * 1e9))
        assert await gets(edges) == first

    run(scenario, {NAME: TWO}, clock)


def test_where_all_are_full_the_ue_hears_the_last() -> None:
    first, second = NAMES.values()

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        said = {first: SessionLimitError("1 is open"), second: SessionLimitError("2 are open")}
        with pytest.raises(SessionLimitError, match=r"^2 are open$"):
            await gets(edges, raises(said))
        gone = {first: KvBudgetError("full"), second: PeerUnavailableError("gone")}
        with pytest.raises(KvBudgetError, match=r"^full$"):
            await gets(edges, raises(gone))

    run(scenario, {NAME: TWO})


def test_another_model_is_named_and_gets_no_second_session() -> None:
    """Also where the other has been full of late: whose refusal is older is asked first."""
    first, second = NAMES.values()
    clock = VirtualClock()

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        full = {name: SessionLimitError("full") for name in (first, second)}
        with pytest.raises(SessionLimitError, match="full"):
            await gets(edges, raises(full))
        clock.advance(1)
        other = raises({first: ModelMismatchError("model.dtype: another")})
        with pytest.raises(ModelMismatchError, match="another"):
            await gets(edges, other)
        for session in "abc":
            line, _ = await sessions.enter_async_context(edges.reached(session, other))
            assert line.name == second

    run(scenario, {NAME: TWO}, clock)


def test_all_that_are_silent_share_one_deadline() -> None:
    clock = VirtualClock()
    patience: list[float] = []

    async def silent(line: EdgeLine, patience_s: float) -> None:
        patience.append(patience_s)
        clock.advance(round(patience_s * 1e9))
        raise PeerUnavailableError("no answer")

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        with pytest.raises(PeerUnavailableError, match=r"^no answer(; no answer){3}$"):
            await gets(edges, silent)
        assert patience == pytest.approx([1.25] * 4)
        with pytest.raises(PeerUnavailableError, match="refused"):
            await gets(edges, fails_at(*names))
        assert clock.now_ns() == 5_000_000_000, "who fails at once leaves its time to the next"

    names = [f"10.0.0.{host}:1" for host in range(4)]
    run(scenario, {name: [name] for name in names}, clock)


def test_among_many_each_still_has_a_second() -> None:
    patience = []

    async def silent(line: EdgeLine, patience_s: float) -> None:
        patience.append(patience_s)
        clock.advance(round(patience_s * 1e9))
        raise PeerUnavailableError("no answer")

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        with pytest.raises(PeerUnavailableError, match="no answer; 4 more were not tried in time"):
            await gets(edges, silent)
        assert patience == pytest.approx([LEAST_PATIENCE_S] * 5)

    clock = VirtualClock()
    names = [f"10.0.0.{host}:1" for host in range(9)]
    run(scenario, {name: [name] for name in names}, clock)


def test_what_a_ue_did_wrong_is_not_held_against_the_edge() -> None:
    first = NAMES[TWO[0]]

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        with pytest.raises(StaleCacheError):
            await gets(edges, raises({first: StaleCacheError("rows: none")}))
        assert await gets(edges) == first

    run(scenario, {NAME: TWO})


def test_no_edge_is_tried_when_the_time_is_over() -> None:
    clock = VirtualClock()
    tried = []

    async def computes(line: EdgeLine, patience_s: float) -> None:
        tried.append(line.name)
        clock.advance(60_000_000_000)  # it lives, so it was waited for
        raise PeerUnavailableError("gone")

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        with pytest.raises(PeerUnavailableError, match=r"^gone; 1 more were not tried in time$"):
            await gets(edges, computes)
        assert tried == [NAMES[TWO[0]]]

    run(scenario, {NAME: TWO}, clock)


def test_an_edge_that_a_ue_has_waited_for_in_vain_is_in_doubt() -> None:
    first, second = NAMES.values()

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        reached = asyncio.Event()

        async def hangs(line: EdgeLine, patience_s: float) -> None:
            reached.set()
            await asyncio.get_running_loop().create_future()

        waiting = asyncio.create_task(gets(edges, hangs))
        await reached.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await sessions.enter_async_context(edges.reached("a", works))
        assert await gets(edges) == second, "though it has a session and the other has none"
        async with edges.reached("b", fails_at(second)) as (line, _):
            assert (line.name, line.in_doubt) == (first, True)

    run(scenario, {NAME: TWO})


def test_an_edge_with_addresses_of_both_families_counts_once() -> None:
    """The other family is tried where nobody is found at the first."""
    names = {family: f"edge:1 ({family})" for family in ("fd00::2", "fd00::3", "10.0.0.2")}
    ipv6, other_ipv6, ipv4 = names.values()

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        got = [
            (await sessions.enter_async_context(edges.reached(session, works)))[0].name
            for session in "abcd"
        ]
        assert got == [ipv6, other_ipv6, ipv6, other_ipv6]
        full = raises(dict.fromkeys((ipv6, other_ipv6), SessionLimitError("full")))
        assert await gets(edges, full) == ipv4
        assert await gets(edges) == ipv6, "refusals come and go"
        assert await gets(edges, fails_at(ipv6, other_ipv6)) == ipv4
        assert await gets(edges) == ipv4, "nobody is there by the first family"

    run(scenario, {"edge:1": ["[fd00::2]:1", "[fd00::3]:1", "10.0.0.2:1", "10.0.0.3:1"]})


def test_of_equals_the_first_that_was_given() -> None:
    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        names = []
        for session in "abc":
            line, _ = await sessions.enter_async_context(edges.reached(session, works))
            names.append(line.name)
        assert names == ["10.0.0.9:1", "edge:50051 (10.0.0.2)", "edge:50051 (10.0.0.3)"]

    run(scenario, {"10.0.0.9:1": ["10.0.0.9:1"], NAME: TWO})


def test_sessions_that_open_at_once_close_a_line_once() -> None:
    addresses: Answers = {NAME: TWO}

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

        async def attempt(line: EdgeLine, patience_s: float) -> None:
            tried.append(line.name)

        with pytest.raises(PeerUnavailableError, match="later"):
            async with edges.reached("a", attempt):
                raise PeerUnavailableError("later")
        assert tried == [NAMES[TWO[0]]]

    run(scenario, {NAME: TWO})


def test_a_session_keeps_its_line_when_the_name_moves() -> None:
    addresses: Answers = {NAME: TWO[:1]}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        old, _ = await sessions.enter_async_context(edges.reached("a", works))
        addresses[NAME] = TWO[1:]
        async with edges.reached("b", works) as (new, _), edges.line_of("a") as kept:
            assert new.name == NAMES[TWO[1]]
            assert kept is old
            assert not is_closed(old)
            await sessions.aclose()
            await gets(edges)
            await asyncio.sleep(0)
            assert not is_closed(old), "K/V rows are on their way still"
        await gets(edges)
        await asyncio.sleep(0)
        assert is_closed(old)
        assert not is_closed(new)

    run(scenario, addresses)


def is_closed(line: EdgeLine) -> bool:
    try:
        line.stub.Infer(None).cancel()
    except grpc.aio.UsageError:
        return True
    return False


def test_nobody_waits_for_a_line_that_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses: Answers = {NAME: TWO[:1]}
    close, closed, may_close = EdgeLine.close, [], asyncio.Event()

    async def slow_close(line: EdgeLine) -> None:
        await may_close.wait()
        await close(line)
        closed.append(line.name)

    monkeypatch.setattr(EdgeLine, "close", slow_close)

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        old = await gets(edges)
        addresses[NAME] = TWO[1:]
        opening = asyncio.create_task(gets(edges))
        assert await opening == NAMES[TWO[1]]
        assert closed == []
        may_close.set()
        await edges.close()
        assert closed == [old, NAMES[TWO[1]]]

    run(scenario, addresses)


def test_without_its_resolver_it_goes_on_with_what_it_said_last() -> None:
    """Also where no session went yet."""
    addresses: Answers = {NAME: TWO}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        await sessions.enter_async_context(edges.reached("a", works))
        for failure in (LATER, TimeoutError()):
            addresses[NAME] = failure
            assert await gets(edges) == NAMES[TWO[1]]

    run(scenario, addresses)


def test_a_name_that_is_no_more_is_forgotten() -> None:
    addresses: Answers = {NAME: TWO}

    async def scenario(edges: Edges, sessions: AsyncExitStack) -> None:
        line, _ = await sessions.enter_async_context(edges.reached("a", works))
        for failure in (UNKNOWN, LATER):
            addresses[NAME] = failure
            with pytest.raises(PeerUnavailableError, match="'edge' cannot be resolved"):
                await gets(edges)
        async with edges.line_of("a") as kept:
            assert kept is line

    run(scenario, addresses)


def test_an_unknown_name_is_named_unless_another_is_known() -> None:
    addresses: Answers = {"one:1": UNKNOWN, "two:2": LATER}

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
