"""Several edges behind one emulator: which of them a session gets.

Edges are given as a list, and a name in it may have several addresses: replicas behind one name. A
session keeps to one address until it ends, with its frames, its K/V rows and its health checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from airsplit.clock import Clock
from airsplit.errors import (
    AirSplitError,
    InputError,
    KvBudgetError,
    ModelMismatchError,
    PeerUnavailableError,
    RemoteError,
    SessionExistsError,
    SessionLimitError,
)
from airsplit.rpc import parse_address
from channel_emulator.edge_line import EdgeLine

log = logging.getLogger(__name__)

Result = TypeVar("Result")

RESOLVE_TIMEOUT_S = 4.0
"""How long a name may take to be resolved. With one answer deadline less than a UE waits."""

GIVES_WAY = PeerUnavailableError, SessionLimitError, KvBudgetError
"""With these an edge gives way to the next. Other refusals are the UE's to hear."""

LEAST_PATIENCE_S = 1.0
"""How long an edge may be silent at an opening, however many others there are to try."""

REFUSALS = SessionLimitError, KvBudgetError, ModelMismatchError, RemoteError
"""What is held against an edge: it would say the same to the next. All else is the UE's own fault,
or what a health check settles."""

UNKNOWN = socket.EAI_NONAME, socket.EAI_NODATA
"""The resolver knows the name not, or no longer; anything else it says may pass."""


def parse_edges(field: str, text: str) -> list[str]:
    """`HOST:PORT[,HOST:PORT...]` to its addresses.

    Raises:
        InputError: one of them is none, or is given twice.
    """
    edges = [edge.strip() for edge in text.split(",")]
    for edge in edges:
        parse_address(field, edge)
    if len(set(edges)) < len(edges):
        raise InputError.of(field, text, "different edges")
    return edges


async def resolve(edge: str) -> list[str]:
    """All addresses of `HOST:PORT`, in the resolver's order, of the families that this host has.
    What is no name stays as it is.

    Raises:
        OSError, UnicodeError: the name is not known, or none.
    """
    host, _, port = edge.rpartition(":")
    if not port.isdecimal() or not _is_name(host):
        return [edge]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    hosts = [str(address[0]) for *_, address in found]
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]


def _is_name(host: str) -> bool:
    if ":" in host:  # of IPv6, or of a target that gRPC itself understands
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


class Address(NamedTuple):
    """Where an edge may be."""

    target: str
    """`HOST:PORT`, the host a number where it was a name."""

    edge: str
    """What it was resolved from, as it was given."""

    is_fallback: bool
    """Of the family that its name's first address is not of: very likely the same edges again."""


class Edges:
    """A line to each edge that is or was needed. Belongs to one event loop."""

    def __init__(
        self,
        edges: Sequence[str],
        clock: Clock,
        answer_deadline_s: float,
        resolve: Callable[[str], Awaitable[list[str]]] = resolve,
    ) -> None:
        """
        Args:
            answer_deadline_s: longest silence of an edge that owes an answer; also of all that are
                tried for one keeper together.
        """
        self._edges = edges
        self._clock = clock
        self._answer_deadline_s = answer_deadline_s
        self._resolve = resolve
        self._resolved: dict[str, list[str]] = {}
        self._lines: dict[str, EdgeLine] = {}
        self._kept: dict[Hashable, EdgeLine] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for line in self._lines.values():
            self._retire(line)
        await asyncio.gather(*self._closing)

    @asynccontextmanager
    async def reached(
        self, keeper: Hashable, attempt: Callable[[EdgeLine, float], Awaitable[Result]]
    ) -> AsyncIterator[tuple[EdgeLine, Result]]:
        """The line that `keeper`, a session's id, keeps to until the end of the context, and what
        the attempt to use it gave.

        That is the one with the fewest keepers of those that nothing is held against; where the
        attempt finds nobody or no room, the next.

        Args:
            attempt: is told how many seconds the edge may be silent: all that may have to be tried
                share one answer deadline.

        Raises:
            SessionExistsError: `keeper` has a line already.
            SessionLimitError, KvBudgetError: no edge has room; what the last one said.
            PeerUnavailableError: no edge could be reached; names each that was tried.
            AirSplitError: what an attempt raised.
        """
        untried = await self._addresses()
        if keeper in self._kept:
            raise SessionExistsError(f"session_id: {keeper!r} is open already")
        try:
            line, result = await self._attempted(keeper, attempt, untried)
            yield line, result
        finally:
            self._kept.pop(keeper, None)

    async def _attempted(
        self,
        keeper: Hashable,
        attempt: Callable[[EdgeLine, float], Awaitable[Result]],
        untried: list[Address],
    ) -> tuple[EdgeLine, Result]:
        failures: list[AirSplitError] = []
        end_ns = self._clock.now_ns() + round(self._answer_deadline_s * 1e9)
        while untried and (left_s := (end_ns - self._clock.now_ns()) / 1e9) > 0:
            patience_s = min(max(left_s / len(untried), LEAST_PATIENCE_S), left_s)
            address = min(untried, key=self._rank)
            untried.remove(address)
            line = self._kept[keeper] = self._line(address)
            try:
                return line, await attempt(line, patience_s)
            except AirSplitError as error:
                if isinstance(error, REFUSALS):
                    line.refused()
                if not isinstance(error, GIVES_WAY):
                    raise
                failures.append(error)
                if untried:
                    log.info("edge server at %s gives way to the next: %s", line.name, error)
            except asyncio.CancelledError:  # it may be what the UE has waited for in vain
                line.doubt()
                raise
        if untried:
            failures.append(PeerUnavailableError(f"{len(untried)} more were not tried in time"))
        raise _together(failures)

    @asynccontextmanager
    async def line_of(self, session_id: str) -> AsyncIterator[EdgeLine]:
        """The line of an open session; of another some edge's, which has to say no. Is kept to
        apart from the session, which may end first."""
        line = self._kept.get(session_id)
        if line is None:
            async with self.reached(object(), _nothing) as (line, _):
                yield line
            return
        keeper = object()
        self._kept[keeper] = line
        try:
            yield line
        finally:
            del self._kept[keeper]

    def _rank(self, address: Address) -> tuple[bool, bool, float, int]:
        line = self._lines.get(address.target)
        if line is None:
            return False, address.is_fallback, -math.inf, 0
        keepers = sum(kept is line for kept in self._kept.values())
        return line.in_doubt, address.is_fallback, line.refused_ns, keepers

    def _line(self, address: Address) -> EdgeLine:
        target, edge, _ = address
        if target not in self._lines:
            self._lines[target] = EdgeLine(target, self._clock, self._answer_deadline_s, edge)
        return self._lines[target]

    async def _addresses(self) -> list[Address]:
        """All addresses now. Lines to others are closed, once nobody keeps to them.

        Raises:
            PeerUnavailableError: no name can be resolved.
        """
        resolved = await asyncio.gather(*map(self._addresses_of, self._edges))
        found: dict[str, Address] = {}
        for address in itertools.chain(*resolved):
            found.setdefault(address.target, address)
        if not found:
            raise _together([_unresolved(edge) for edge in self._edges])
        kept = self._kept.values()
        idle = [t for t, line in self._lines.items() if t not in found and line not in kept]
        for target in idle:
            self._retire(self._lines.pop(target))
        return list(found.values())

    async def _addresses_of(self, edge: str) -> list[Address]:
        """What the resolver says, or said last while it is out of reach; none if it knows none."""
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                self._resolved[edge] = await self._resolve(edge)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            if isinstance(error, UnicodeError) or error.errno in UNKNOWN:
                self._resolved.pop(edge, None)
        targets = self._resolved.get(edge, [])
        return [Address(t, edge, _is_ipv6(t) != _is_ipv6(targets[0])) for t in targets]

    def _retire(self, line: EdgeLine) -> None:
        """Closes a line that nobody keeps to; nobody waits for it."""
        closing = asyncio.create_task(line.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _is_ipv6(target: str) -> bool:
    return target.startswith("[")


def _unresolved(edge: str) -> PeerUnavailableError:
    host, _ = parse_address("edge", edge)
    return PeerUnavailableError.of("edge server", edge, f"the host {host!r} cannot be resolved")


def _together(errors: Sequence[AirSplitError]) -> AirSplitError:
    """What the last edge said that was there, or what is the matter with each."""
    said = [error for error in errors if not isinstance(error, PeerUnavailableError)]
    if said:
        return said[-1]
    if len(errors) == 1:
        return errors[0]
    return PeerUnavailableError("; ".join(str(error) for error in errors))


async def _nothing(_line: EdgeLine, _patience_s: float) -> None:
    """Tries nothing."""
