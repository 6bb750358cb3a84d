"""What the emulator process holds: the configuration in force, its sessions, its counts."""

from __future__ import annotations

from airsplit.clock import Clock
from airsplit.errors import VersionConflictError
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator.config import ChannelConfig
from channel_emulator.session import Session, Snapshot
from channel_emulator.wire import to_proto, updated


class Emulator:
    """Belongs to one event loop; a change takes effect between two frames."""

    def __init__(self, config: ChannelConfig, clock: Clock) -> None:
        self.clock = clock
        self.snapshot = Snapshot(config, 1)
        self.frames = 0
        self.payload_bytes = 0
        self.handoff_bytes = 0
        self._sessions: dict[str, Session] = {}

    @property
    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def open(self, opened: edge_pb2.OpenSession) -> Session:
        """A session's radio. One whose id is taken is not listed: the edge will refuse it."""
        session = Session(opened, self.clock)
        self._sessions.setdefault(session.id, session)
        return session

    def close(self, session: Session) -> None:
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]

    def session(self, session_id: str) -> Session:
        """The session of that id, or a radio without a past where the edge has to say no."""
        known = self._sessions.get(session_id)
        return known or Session(edge_pb2.OpenSession(session_id=session_id), self.clock)

    def configure(self, request: channel_pb2.ConfigureChannelRequest) -> None:
        """One new version, for the next frame on.

        Raises:
            VersionConflictError: the version in force is not the expected one.
            InputError: a value is out of its range or would change nothing; all stays as it is.
        """
        version = self.snapshot.version
        if request.HasField("expected_version") and request.expected_version != version:
            raise VersionConflictError(
                f"expected_version: {request.expected_version}; the channel is at {version}"
            )
        self.snapshot = Snapshot(updated(self.snapshot.config, request.config), version + 1)

    def state(self) -> channel_pb2.ChannelState:
        links = [
            channel_pb2.SessionChannel(
                session_id=session.id,
                ue_id=session.ue_id,
                frames=session.frames,
                last=session.last if session.frames else None,
            )
            for session in self._sessions.values()
        ]
        return channel_pb2.ChannelState(
            config=to_proto(self.snapshot.config),
            config_version=self.snapshot.version,
            sessions=len(links),
            frames=self.frames,
            payload_bytes=self.payload_bytes,
            handoff_bytes=self.handoff_bytes,
            links=links,
        )
