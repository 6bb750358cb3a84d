"""What the emulator process holds: the timeline in force, its sessions, its counts."""

from __future__ import annotations

from dataclasses import replace

from airsplit.clock import Clock
from airsplit.errors import InputError, VersionConflictError
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator.config import ChannelConfig
from channel_emulator.knobs import RadioClock
from channel_emulator.scenario import Scenario
from channel_emulator.session import Session
from channel_emulator.timeline import Snapshot, Timeline, played
from channel_emulator.wire import scenario_from_proto, to_proto, updated

MAX_TRANSPORT_MS = 1000


class Emulator:
    """Belongs to one event loop; a change takes effect between two frames."""

    def __init__(
        self,
        config: ChannelConfig,
        clock: Clock,
        scenario: Scenario | None = None,
        transport_ms: float = 0.0,
    ) -> None:
        """
        Args:
            scenario: played from radio time 0 of each session (live: of the emulator) on.
            transport_ms: what a message takes one way besides the channel; see `Session`.

        Raises:
            InputError: the scenario does not go with the configuration, or a value is out of its
                range.
        """
        if not 0 <= transport_ms <= MAX_TRANSPORT_MS:
            allowed = f"[0, {MAX_TRANSPORT_MS}], in milliseconds"
            raise InputError.of("--transport-ms", transport_ms, allowed)
        self.clock = clock
        self.started_ns = clock.now_ns()
        """When radio time began, where the clock is `live`."""

        self.timeline = Timeline.of(config) if scenario is None else played(scenario, config)
        self.frames = 0
        self.payload_bytes = 0
        self.handoff_bytes = 0
        self.dropped_frames = 0
        self._newest_ns = 0
        self._transport_ms = transport_ms
        self._sessions: dict[str, Session] = {}

    @property
    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    @property
    def channel_time_ns(self) -> int:
        """Of the newest frame under this epoch; with the clock `live` of this moment."""
        if self.timeline.clock is RadioClock.REPLAY:
            return self._newest_ns
        return max(self._radio_time_ns - self.timeline.started_ns, 0)

    @property
    def in_force(self) -> Snapshot:
        """What served the newest frame; with the clock `live`, or without a frame since, what
        would serve one now."""
        return self.timeline.at(self.channel_time_ns)

    def open(self, opened: edge_pb2.OpenSession) -> Session:
        """A session's radio. One whose id is taken is not listed: the edge will refuse it."""
        session = self._radio_of(opened)
        self._sessions.setdefault(session.id, session)
        return session

    def close(self, session: Session) -> None:
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]

    def session(self, session_id: str) -> Session:
        """The session of that id, or a radio without a past where the edge has to say no."""
        known = self._sessions.get(session_id)
        if known is not None:
            return known
        return self._radio_of(edge_pb2.OpenSession(session_id=session_id))

    def carried(self, report: channel_pb2.ChannelReport, timeline: Timeline) -> None:
        """Counts a frame that `timeline` served."""
        self.frames += 1
        self.payload_bytes += report.payload_bytes
        self.dropped_frames += report.dropped
        if timeline.epoch == self.timeline.epoch:
            self._newest_ns = report.channel_time_ns

    def configure(self, request: channel_pb2.ConfigureChannelRequest) -> None:
        """One new version: from the next frame, or from a channel time on.

        Raises:
            VersionConflictError: the last version is not the expected one.
            InputError: a value is out of its range or would change nothing; all stays as it is.
        """
        self._require_expected(request)
        if request.HasField("effective_time_ns"):
            time_ns = request.effective_time_ns
            config = updated(self.timeline.before(time_ns).config, request.config)
            self.timeline = self.timeline.changed(config, time_ns)
            return
        before = self.in_force.config
        config = updated(before, request.config)
        timeline = self.timeline.changed(config)
        self._adopt(timeline if config.clock is before.clock else self._begun(timeline))

    def plan(self, request: channel_pb2.PlayScenarioRequest) -> Timeline:
        """What `play` is to put in force. Changes nothing and may run on another thread: a long
        scenario takes seconds.

        Raises:
            InputError: no scenario, or it does not go with the configuration in force.
            VersionConflictError: the last version is not the expected one.
        """
        self._require_expected(request)
        scenario = scenario_from_proto(request.scenario)
        return played(scenario, self.in_force.config, self.timeline.last_version + 1)

    def play(self, planned: Timeline) -> None:
        """Puts a scenario in force; channel time begins anew."""
        self._adopt(self._begun(planned))

    def state(self) -> channel_pb2.ChannelState:
        timeline, in_force = self.timeline, self.in_force
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
            config=to_proto(in_force.config),
            config_version=in_force.version,
            last_version=timeline.last_version,
            sessions=len(links),
            frames=self.frames,
            payload_bytes=self.payload_bytes,
            handoff_bytes=self.handoff_bytes,
            links=links,
            channel_time_ns=self.channel_time_ns,
            scenario=timeline.scenario,
            scenario_duration_ns=timeline.duration_ns,
            dropped_frames=self.dropped_frames,
            transport_ms=self._transport_ms,
        )

    def _radio_of(self, opened: edge_pb2.OpenSession) -> Session:
        return Session(opened, self.clock, self.started_ns, round(self._transport_ms * 1e6))

    @property
    def _radio_time_ns(self) -> int:
        """Where the clock is `live`."""
        return self.clock.now_ns() - self.started_ns

    def _begun(self, timeline: Timeline) -> Timeline:
        """`timeline` in a new epoch that begins now."""
        return replace(timeline, epoch=self.timeline.epoch + 1, started_ns=self._radio_time_ns)

    def _adopt(self, timeline: Timeline) -> None:
        if timeline.epoch != self.timeline.epoch:
            self._newest_ns = 0
        self.timeline = timeline

    def _require_expected(
        self, request: channel_pb2.ConfigureChannelRequest | channel_pb2.PlayScenarioRequest
    ) -> None:
        """The last version, in force or still to come: a change gives up what is to come."""
        last = self.timeline.last_version
        if request.HasField("expected_version") and request.expected_version != last:
            said = f"expected_version: {request.expected_version}"
            raise VersionConflictError(f"{said}; the last version is {last}")
