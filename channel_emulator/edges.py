"""Several edges behind one emulator: which of them a session gets.

Edges are given as a list, and a name in it may have several addresses: replicas behind one name. A
session keeps to one address until it ends, with its frames, its K/V rows and its health checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from airsplit.clock import Clock
from airsplit.errors import InputError, PeerUnavailableError, SessionExistsError
from airsplit.rpc import parse_address
from channel_emulator.edge_line import EdgeLine

Result = TypeVar("Result")

RESOLVE_TIMEOUT_S = 4.0
"""How long a name may take to be resolved. With the time to connect less than a UE waits."""


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
    """All addresses of `HOST:PORT`, in the resolver's order. What is no name stays as it is.

    Raises:
        OSError, UnicodeError: the name is not known, or none.
    """
    host, _, port = edge.rpartition(":")
    if not port.isdecimal() or not _is_name(host):
        return [edge]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
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


class Edges:
    """A line to each edge that is or was needed. Belongs to one event loop."""

    def __init__(
        self,
        edges: Sequence[str],
        clock: Clock,
        answer_deadline_s: float,
        resolve: Callable[[str], Awaitable[list[str]]] = resolve,
    ) -> None:
        self._edges = edges
        self._clock = clock
        self._answer_deadline_s = answer_deadline_s
        self._resolve = resolve
        self._lines: dict[str, EdgeLine] = {}
        self._kept: dict[Hashable, EdgeLine] = {}

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()

    @asynccontextmanager
    async def reached(
        self, keeper: Hashable, attempt: Callable[[EdgeLine], Awaitable[Result]]
    ) -> AsyncIterator[tuple[EdgeLine, Result]]:
        """The line that `keeper`, a session's id, keeps to until the end of the context, and what
        the attempt to use it gave.

        That is the one with the fewest keepers of those that are in no doubt; where the attempt
        finds nobody, the next.

        Raises:
            SessionExistsError: `keeper` has a line already.
            PeerUnavailableError: no edge could be reached; names each.
        """
        untried = await self._addresses()
        if keeper in self._kept:
            raise SessionExistsError(f"session_id: {keeper!r} is open already")
        try:
            failures: list[PeerUnavailableError] = []
            while untried:
                address = min(untried, key=self._rank)
                line = self._kept[keeper] = self._line(address, untried.pop(address))
                try:
                    result = await attempt(line)
                except PeerUnavailableError as error:
                    failures.append(error)
                    continue
                yield line, result
                return
            raise _together(failures)
        finally:
            self._kept.pop(keeper, None)

    @asynccontextmanager
    async def line_of(self, session_id: str) -> AsyncIterator[EdgeLine]:
        """The line of an open session; of another some edge's, which has to say no."""
        if session_id in self._kept:
            yield self._kept[session_id]
            return
        async with self.reached(object(), _nothing) as (line, _):
            yield line

    def _rank(self, address: str) -> tuple[bool, int]:
        line = self._lines.get(address)
        if line is None:
            return False, 0
        return line.in_doubt, sum(kept is line for kept in self._kept.values())

    def _line(self, address: str, edge: str) -> EdgeLine:
        if address not in self._lines:
            self._lines[address] = EdgeLine(address, self._clock, self._answer_deadline_s, edge)
        return self._lines[address]

    async def _addresses(self) -> dict[str, str]:
        """All addresses now, each with the edge that it is one of. Lines to others are closed, once
        nobody keeps to them.

        Raises:
            PeerUnavailableError: no name can be resolved.
        """
        resolved = await asyncio.gather(*map(self._addresses_of, self._edges))
        found: dict[str, str] = {}
        for edge, addresses in zip(self._edges, resolved, strict=True):
            for address in addresses:
                found.setdefault(address, edge)
        if not found:
            raise _together([_unresolved(edge) for edge in self._edges])
        kept = self._kept.values()
        idle = [a for a, line in self._lines.items() if a not in found and line not in kept]
        for line in [self._lines.pop(address) for address in idle]:
            await line.close()
        return found

    async def _addresses_of(self, edge: str) -> list[str]:
        """Those that were known while the resolver is out of reach; none if it knows none."""
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                return await self._resolve(edge)
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            return [address for address, line in self._lines.items() if line.edge == edge]


def _unresolved(edge: str) -> PeerUnavailableError:
    host, _ = parse_address("edge", edge)
    return PeerUnavailableError.of("edge server", edge, f"the host {host!r} cannot be resolved")


def _together(errors: Sequence[PeerUnavailableError]) -> PeerUnavailableError:
    if len(errors) == 1:
        return errors[0]
    return PeerUnavailableError("; ".join(str(error) for error in errors))


async def _nothing(_: EdgeLine) -> None:
    """Tries nothing."""
