"""The edge's inbox: credits, arrival stamps, and how a stream ends."""

from __future__ import annotations

import asyncio

import pytest

from airsplit import errors
from airsplit.v1 import edge_pb2
from edge_server.service import Inbox

REQUEST = edge_pb2.InferRequest()


def test_a_credit_is_taken_by_a_frame_and_given_back_by_its_answer() -> None:
    async def body() -> None:
        inbox = Inbox(credits=2)
        inbox.put(REQUEST, 10)
        inbox.put(REQUEST, 20)
        with pytest.raises(errors.CreditError, match="more than 2 unanswered"):
            inbox.put(REQUEST, 30)
        assert await inbox.next() == (REQUEST, 10)
        with pytest.raises(errors.CreditError):
            inbox.put(REQUEST, 30)  # taken up is not answered
        inbox.answered()
        inbox.put(REQUEST, 40)
        assert [(await inbox.next()), (await inbox.next())] == [(REQUEST, 20), (REQUEST, 40)]

    asyncio.run(body())


def test_what_came_before_the_end_is_still_served() -> None:
    async def body() -> None:
        inbox = Inbox(credits=4)
        inbox.put(REQUEST, 1)
        inbox.end(None)
        assert await inbox.next() == (REQUEST, 1)
        assert await inbox.next() is None

    asyncio.run(body())


def test_an_error_ends_the_stream_by_its_name() -> None:
    async def body() -> None:
        inbox = Inbox(credits=4)
        inbox.end(errors.PeerTimeoutError("no frame within 1 s"))
        with pytest.raises(errors.PeerTimeoutError, match="within 1 s"):
            await inbox.next()

    asyncio.run(body())
