"""The demo's lines to its children: the UE's events, and the emulator's radio."""

from __future__ import annotations

import json
import threading
from queue import Empty, SimpleQueue
from typing import Any

import grpc

from airsplit.errors import AirSplitError
from airsplit.rpc import connect, translate
from airsplit.v1 import channel_pb2, channel_pb2_grpc
from cli.demo_scenario import Phase, Radio
from cli.operator import DEADLINE_S
from experiments.stack import Child


class Events:
    """The UE's JSON lines, read by a thread so that the UE never waits for the terminal."""

    def __init__(self, ue: Child) -> None:
        self._ue = ue
        self._queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        threading.Thread(target=self._read, name="events", daemon=True).start()

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """The next event.

        Raises:
            AirSplitError: none came, or the UE has ended.
        """
        try:
            event = self._queue.get(timeout=timeout_s)
        except Empty:
            raise self._ue.failed(f"said nothing within {timeout_s:g} s") from None
        if event is None:
            raise self._ended()
        return event

    def pending(self) -> list[dict[str, Any]]:
        """Those that have come since.

        Raises:
            AirSplitError: the UE has ended without saying so.
        """
        found: list[dict[str, Any]] = []
        while not self._queue.empty():
            event = self._queue.get()
            if event is None:
                raise self._ended()
            found.append(event)
            if event["event"] == "ended":
                break
        return found

    def _ended(self) -> AirSplitError:
        self._ue.process.wait(DEADLINE_S)
        return self._ue.failed("ended")

    def _read(self) -> None:
        try:
            for line in self._ue.process.stdout or ():
                self._queue.put(json.loads(line))
        except ValueError:
            pass  # it was killed in the middle of a line, or its pipe was closed: the end as well
        self._queue.put(None)


class RadioControl:
    """Sets the emulator's radio while it runs."""

    def __init__(self, address: str, radio: Radio) -> None:
        self._address = address
        self._radio = radio
        self._channel = connect(address)
        self._stub = channel_pb2_grpc.ChannelStub(self._channel)

    def turn(self, phase: Phase, radio: Radio) -> dict[int, tuple[Phase, Radio]]:
        """The new version of the configuration and what it is; empty where nothing changes.

        Raises:
            AirSplitError: the emulator refuses or is gone.
        """
        if radio == self._radio:
            return {}
        config = channel_pb2.ChannelConfig(sigma=radio.sigma, m=radio.m)
        request = channel_pb2.ConfigureChannelRequest(config=config)
        try:
            state = self._stub.ConfigureChannel(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise translate(error, "channel emulator", self._address) from error
        self._radio = radio
        return {state.config_version: (phase, radio)}

    def __enter__(self) -> RadioControl:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
