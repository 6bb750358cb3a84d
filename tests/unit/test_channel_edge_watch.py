"""The watch over an edge that owes an answer, on a virtual clock."""

import asyncio

import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import PeerTimeoutError
from channel_emulator.edge_watch import EdgeWatch

S = 1_000_000_000


def watched(deadline_s, lives):
    """A watch, its clock, and how long the edge was given to say that it lives, each time."""
    clock, asked = VirtualClock(), []

    async def ask(timeout_s):
        asked.append(timeout_s)
        if lives():
            return True
        await clock.sleep_until(clock.now_ns() + round(timeout_s * S))
        return False

    return EdgeWatch("edge:1", clock, deadline_s, ask), clock, asked


def silent(watch):
    """Runs until the watch gives up."""

    async def scenario():
        async with asyncio.timeout(5):
            await watch.run()

    with pytest.raises(PeerTimeoutError) as raised:
        asyncio.run(scenario())
    return str(raised.value)


def test_silence_ends_at_the_deadline_and_names_the_edge():
    watch, clock, asked = watched(4, lambda: False)
    watch.owes()
    says = "edge server at edge:1 did not answer: no answer and no sign of life within 4 s"
    assert silent(watch) == says
    assert (clock.now_ns(), asked) == (4 * S, [2])


def test_what_is_on_its_way_has_its_time():
    watch, clock, _ = watched(4, lambda: False)
    watch.owes(250_000)
    watch.owes(125_000)
    silent(watch)
    assert clock.now_ns() == 7 * S


def test_an_edge_that_lives_begins_anew():
    answers = iter([True, True, False])
    watch, clock, asked = watched(4, lambda: next(answers))
    watch.owes()
    silent(watch)
    assert (clock.now_ns(), asked) == (8 * S, [2, 2, 2])


def test_the_time_of_the_second_frame_begins_with_the_answer_to_the_first():
    watch, clock, _ = watched(4, lambda: False)
    watch.owes()
    watch.owes()
    clock.advance(3 * S)
    watch.answered()
    silent(watch)
    assert clock.now_ns() == 7 * S


def test_nothing_is_asked_while_nothing_is_owed():
    watch, clock, asked = watched(4, lambda: False)
    watch.owes()
    watch.answered()

    async def scenario():
        running = asyncio.create_task(watch.run())
        while clock.now_ns() < 100 * S:  # noqa: ASYNC110 (virtual time)
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    asyncio.run(scenario())
    assert asked == []


def test_an_answer_while_the_edge_is_asked_counts():
    clock = VirtualClock()

    async def answers_late(timeout_s):
        watch.answered()
        return False

    watch = EdgeWatch("edge:1", clock, 4, answers_late)
    watch.owes()

    async def scenario():
        running = asyncio.create_task(watch.run())
        while clock.now_ns() < 50 * S:  # noqa: ASYNC110 (virtual time)
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    asyncio.run(scenario())
