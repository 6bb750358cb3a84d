"""What decode frames meet is drawn while the UE computes: when that is done, and when not."""

import asyncio
import threading

import pytest

from airsplit.v1 import edge_pb2
from channel_emulator import codec
from channel_emulator.carrier import MAX_INLINE_BYTES
from channel_emulator.physical import FRAMES_AHEAD
from channel_emulator.radio import Radio
from channel_emulator.session import Session
from tests.integration.channel_support import Client, EchoEdge, activations, bench, run, until

HIDDEN = 64
DTYPE = edge_pb2.DTYPE_FLOAT16
SHORT = codec.encode(activations(1, HIDDEN), DTYPE)
LARGE = codec.encode(activations(600, HIDDEN), DTYPE)


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list:
    """Grows with every frame that `Radio` draws."""
    found, draw, draw_each = [], Radio.draw, Radio.draw_each

    def drawn(*args, **kwargs):
        found.append(args)
        return draw(*args, **kwargs)

    def each_drawn(*args, **kwargs):
        each = draw_each(*args, **kwargs)
        found.extend(each)
        return each

    monkeypatch.setattr(Radio, "draw", drawn)
    monkeypatch.setattr(Radio, "draw_each", each_drawn)
    return found


async def decode(client: Client) -> None:
    await client.exchange(client.frame(SHORT, 1, HIDDEN, dtype=DTYPE))


def test_an_answer_is_followed_by_the_draws_of_the_frames_that_come_next(draws):
    async def scenario():
        async with bench("nakagami,fading=token,snr_db=20,loss=0.1", EchoEdge()) as b:
            client = await Client.open(b.edge)
            await decode(client)
            made = 1 + FRAMES_AHEAD  # its own, and theirs
            await until(lambda: len(draws) == made)
            for _ in range(FRAMES_AHEAD - 1):
                await decode(client)
                assert len(draws) == made
            await decode(client)
            await until(lambda: len(draws) == made + FRAMES_AHEAD)
            await client.close()

    run(scenario())


def test_a_frame_whose_outage_depends_on_its_power_makes_its_own(draws):
    async def scenario():
        async with bench("physical,snr_db=6", EchoEdge()) as b:
            client = await Client.open(b.edge)
            for number in range(4):
                assert len(draws) == number
                await decode(client)
            await client.close()
        assert len(draws) == 4

    run(scenario())


class SlowEdge(EchoEdge):
    """Keeps its answers until they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def Infer(self, requests, context):  # noqa: N802
        async for response in super().Infer(requests, context):
            if response.HasField("result"):
                await self.may_answer.wait()
            yield response


def test_nothing_is_drawn_while_a_thread_has_the_radio(monkeypatch):
    """An answer may come while a large frame behind it is being damaged."""
    assert len(LARGE) > MAX_INLINE_BYTES
    has_it, may_go_on = threading.Event(), threading.Event()
    beside, impair, draw_ahead = [], Session.impair, Session.draw_ahead

    def held(session, frame, admission):
        if threading.current_thread() is not threading.main_thread():
            has_it.set()
            assert may_go_on.wait(timeout=10)
        return impair(session, frame, admission)

    def noted(session):
        beside.append(has_it.is_set() and not may_go_on.is_set())
        draw_ahead(session)

    monkeypatch.setattr(Session, "impair", held)
    monkeypatch.setattr(Session, "draw_ahead", noted)

    async def scenario():
        edge = SlowEdge()
        async with bench("nakagami,fading=token,snr_db=20", edge) as b:
            other, client = await Client.open(b.edge), await Client.open(b.edge)
            try:
                await client.send(client.frame(SHORT, 1, HIDDEN, dtype=DTYPE))
                await client.send(client.frame(LARGE, 600, HIDDEN, dtype=DTYPE))
                await until(has_it.is_set)
                edge.may_answer.set()
                assert (await client.read()).result.sequence == 0
                await asyncio.sleep(0.05)  # what the answer leads to has run
                before = len(beside)
            finally:
                may_go_on.set()
            assert (await client.read()).result.sequence == 1
            await until(lambda: len(beside) > before)
            for each in (client, other):
                await each.close()
        assert not any(beside)

    run(scenario())
