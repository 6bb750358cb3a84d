"""The engine's thread: order by priority, errors to their callers, an orderly end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from airsplit.errors import StaleCacheError
from edge_server.engine import Engine, Priority


def with_engine(body: Callable[[Engine], Coroutine[Any, Any, None]]) -> Engine:
    engine = Engine()
    try:
        asyncio.run(body(engine))
    finally:
        engine.stop()
    return engine


def test_results_come_back_and_jobs_run_on_one_thread_that_is_not_the_loops() -> None:
    async def body(engine: Engine) -> None:
        threads = {await engine.run(Priority.DECODE, threading.get_ident) for _ in range(5)}
        assert len(threads) == 1
        assert threading.get_ident() not in threads
        assert await engine.run(Priority.PREFILL, lambda: 6 * 7) == 42

    with_engine(body)


def test_decode_goes_before_prefill_then_in_order_of_arrival() -> None:
    async def body(engine: Engine) -> None:
        ran: list[str] = []
        started, release = threading.Event(), threading.Event()

        def busy() -> None:
            started.set()
            release.wait(10)

        tasks = [asyncio.create_task(engine.run(Priority.PREFILL, busy))]
        await asyncio.to_thread(started.wait, 10)
        for name, priority in (
            ("prefill 1", Priority.PREFILL),
            ("decode 1", Priority.DECODE),
            ("prefill 2", Priority.PREFILL),
            ("decode 2", Priority.DECODE),
        ):
            tasks.append(asyncio.create_task(engine.run(priority, partial(ran.append, name))))
        await asyncio.sleep(0)  # every task has handed its job over
        release.set()
        await asyncio.gather(*tasks)
        assert ran == ["decode 1", "decode 2", "prefill 1", "prefill 2"]

    with_engine(body)


def test_an_error_reaches_its_caller_and_the_engine_goes_on() -> None:
    async def body(engine: Engine) -> None:
        def fail() -> None:
            raise StaleCacheError("rows are missing")

        with pytest.raises(StaleCacheError, match="rows are missing"):
            await engine.run(Priority.DECODE, fail)
        with pytest.raises(ZeroDivisionError):
            await engine.run(Priority.DECODE, lambda: 1 // 0)
        assert await engine.run(Priority.DECODE, lambda: 1) == 1

    with_engine(body)


def test_a_caller_that_has_gone_harms_nobody() -> None:
    async def body(engine: Engine) -> None:
        release = threading.Event()
        gone = asyncio.create_task(engine.run(Priority.DECODE, partial(release.wait, 10)))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        release.set()
        assert await engine.run(Priority.DECODE, lambda: 1) == 1

    with_engine(body)


def test_stop_ends_the_thread_after_the_job_that_runs() -> None:
    ran: list[int] = []
    running, go_on = threading.Event(), threading.Event()

    def first() -> None:
        running.set()
        go_on.wait(5)
        ran.append(0)

    async def body(engine: Engine) -> None:
        jobs = [asyncio.create_task(engine.run(Priority.PREFILL, first))]
        await asyncio.to_thread(running.wait, 5)
        jobs.append(asyncio.create_task(engine.run(Priority.DECODE, partial(ran.append, 1))))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
        while not any(job[0] is Priority.STOP for job in engine._jobs.queue):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        go_on.set()
        await stopping
        await jobs[0]
        jobs[1].cancel()

    engine = Engine()
    asyncio.run(body(engine))
    assert ran == [0], "what waited is dropped"
    assert not engine._thread.is_alive()
