"""The health command against a real server, one that is not there, and bad input."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from airsplit import health
from airsplit.v1 import edge_pb2_grpc
from tests.serving import serving


class Edge(edge_pb2_grpc.EdgeServicer):
    pass


def register(server: grpc.aio.Server) -> list[str]:
    edge_pb2_grpc.add_EdgeServicer_to_server(Edge(), server)
    return ["airsplit.v1.Edge"]


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("airsplit.v1.Edge", "SERVING", 0),
        ("", "SERVING", 0),
        ("airsplit.v1.Channel", "SERVICE_UNKNOWN", 1),
    ],
)
def test_it_says_what_the_server_says(
    service: str, status: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(register) as address:
        assert health.main([address, service]) == code
    assert capsys.readouterr().out == f"{service or 'server'} at {address}: {status}\n"


def test_nobody_there_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert health.main([address, "--timeout", "0.5"]) == 1
    assert f"server at {address} " in capsys.readouterr().out


class Broken(health_pb2_grpc.HealthServicer):
    """Its health check fails."""

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        await context.abort(grpc.StatusCode.INTERNAL, "out of order")


def test_a_check_that_fails_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(Broken(), server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        assert await asyncio.to_thread(health.main, [address]) == 1
        await server.stop(0)
        assert capsys.readouterr().out == f"server at {address}: INTERNAL: out of order\n"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("arguments", "field"), [(["nowhere"], "HOST:PORT"), (["a:1", "--timeout", "0"], "--timeout")]
)
def test_bad_input_is_named(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health.main(arguments) == 2
    assert field in capsys.readouterr().err
