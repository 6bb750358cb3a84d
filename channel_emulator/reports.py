"""What the emulator tells the controller: what each session's channel was last like."""

from __future__ import annotations

import asyncio

from airsplit.attachment import ControllerAttachment
from airsplit.v1 import controller_pb2
from channel_emulator.session import Session
from channel_emulator.state import Emulator


class Reporter:
    """Posts one report for each session that sent something since its last one."""

    def __init__(self, emulator: Emulator, attachment: ControllerAttachment) -> None:
        self._emulator = emulator
        self._attachment = attachment
        self._reported: dict[Session, int] = {}

    async def run(self) -> None:
        """At the controller's interval, while it is there, until cancelled."""
        attaching = asyncio.create_task(self._attachment.run())
        try:
            while True:
                await asyncio.sleep(self._attachment.report_interval_ms / 1e3)
                if self._attachment.attached:
                    self._report()
        finally:
            attaching.cancel()

    def _report(self) -> None:
        before, self._reported = self._reported, {}
        for session in self._emulator.sessions:
            self._reported[session] = session.frames
            if session.frames == before.get(session, 0):
                continue
            report = controller_pb2.SessionReport(
                session_id=session.id,
                split=session.split,
                split_version=session.split_version,
                position=session.position,
                channel=session.last,
            )
            self._attachment.post(controller_pb2.AttachRequest(report=report))
