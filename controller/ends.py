"""Who is attached to a controller, and who is to hear of a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from airsplit.errors import SessionLimitError
from airsplit.v1 import controller_pb2
from controller.decisions import Decision
from controller.messages import Role
from controller.outbox import Outbox

MAX_ENDS = 1024

PEERS: dict[int, str] = {
    Role.ROLE_UE: "UE",
    Role.ROLE_EDGE: "edge server",
    Role.ROLE_CHANNEL: "channel emulator",
}

_EVERYWHERE = {"", "0.0.0.0", "[::]"}  # noqa: S104 - nothing is bound here
"""Hosts of a listening address that do not say where its process is: containers have them."""


@dataclass(eq=False, slots=True)
class End:
    """One attachment."""

    key: int
    hello: controller_pb2.Hello
    peer: str
    """Where its connection comes from."""

    in_order: bool = False
    """It ended its stream itself; else it was lost."""

    outbox: Outbox = field(default_factory=Outbox)
    reader: asyncio.Task[None] | None = None

    @property
    def role(self) -> int:
        return self.hello.role

    def __str__(self) -> str:
        return f"{Role.Name(self.role).removeprefix('ROLE_')} {self.hello.id}"

    @property
    def named(self) -> str:
        """For the log: role, id, and where it serves or else where it came from."""
        serves = self.hello.address.rpartition(":")[0] not in _EVERYWHERE
        address = self.hello.address if serves else self.peer
        return f"{PEERS[self.role]} {self.hello.id!r} at {address}"


class Ends:
    """The attached ends, each under a key that never comes again."""

    def __init__(self) -> None:
        self._ends: dict[int, End] = {}
        self._attachments = 0

    def __iter__(self) -> Iterator[End]:
        return iter(list(self._ends.values()))

    def attach(self, hello: controller_pb2.Hello, peer: str) -> End:
        """Raises: SessionLimitError: MAX_ENDS are attached already."""
        if len(self._ends) >= MAX_ENDS:
            raise SessionLimitError(f"{MAX_ENDS} ends are attached already")
        self._attachments += 1
        end = End(self._attachments, hello, peer)
        self._ends[end.key] = end
        return end

    def detach(self, end: End) -> bool:
        """Closes what it was to be sent, and ends its reader. False: it had gone before."""
        if self._ends.pop(end.key, None) is None:
            return False
        end.outbox.close()
        if end.reader:
            end.reader.cancel()
        return True

    def deliver(self, decision: Decision, *, owner: int | None = None, role: int = 0) -> None:
        """To the UE of this key, and to all ends of a role."""
        for end in self._ends.values():
            if end.key == owner or end.role == role:
                end.outbox.put(decision)

    def forget(self, session_id: str) -> None:
        """Nothing more is to be sent about a session."""
        for end in self._ends.values():
            end.outbox.discard(session_id)
