"""Named errors over a real wire, addresses, ports, health and reflection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from airsplit import errors
from airsplit import serving as serving_module
from airsplit.rpc import Outcome, connect, connect_aio, parse_address, translate, wait_ready
from airsplit.serving import Service, serve, start_server
from airsplit.v1 import controller_pb2, controller_pb2_grpc, edge_pb2, edge_pb2_grpc
from tests.ended_call import SUBSTITUTE, EndedCall
from tests.serving import serving


def all_errors() -> list[type[errors.AirSplitError]]:
    found: list[type[errors.AirSplitError]] = []
    pending: list[type[errors.AirSplitError]] = [errors.AirSplitError]
    while pending:
        found.append(pending.pop())
        pending.extend(found[-1].__subclasses__())
    return sorted((e for e in found if e.__module__ == errors.__name__), key=lambda e: e.__name__)


DETAIL = "field: 'ü' is not allowed; allowed: 1-3"


class Refusing(edge_pb2_grpc.EdgeServicer):
    """Fails every call with the error that the caller names."""

    async def Infer(  # noqa: N802
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: Any
    ) -> AsyncIterator[edge_pb2.InferResponse]:
        async for request in requests:
            yield edge_pb2.InferResponse(opened=edge_pb2.SessionOpened())
            raise errors.by_name(request.open.session_id)(DETAIL)

    async def PushCache(  # noqa: N802
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: Any
    ) -> edge_pb2.PushCacheResponse:
        async for rows in requests:
            raise errors.by_name(rows.session_id)(DETAIL)
        raise ValueError("an error that has no name here")

    async def PullCache(  # noqa: N802
        self, request: edge_pb2.PullCacheRequest, context: Any
    ) -> AsyncIterator[edge_pb2.CacheRows]:
        yield edge_pb2.CacheRows(layer=1)
        raise errors.by_name(request.session_id)(DETAIL)


class RefusingController(controller_pb2_grpc.ControllerServicer):
    async def GetSplit(  # noqa: N802
        self, request: controller_pb2.GetSplitRequest, context: Any
    ) -> controller_pb2.SplitStatus:
        if request.session_id == "slow":
            await asyncio.sleep(5)
        raise errors.by_name(request.session_id)(DETAIL)


def register(server: grpc.aio.Server) -> list[str]:
    edge_pb2_grpc.add_EdgeServicer_to_server(Refusing(), server)
    controller_pb2_grpc.add_ControllerServicer_to_server(RefusingController(), server)
    return ["airsplit.v1.Edge", "airsplit.v1.Controller"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(register) as bound:
        yield bound


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with connect(address) as open_channel:
        yield open_channel


def unary(channel: grpc.Channel, name: str) -> None:
    request = controller_pb2.GetSplitRequest(session_id=name)
    controller_pb2_grpc.ControllerStub(channel).GetSplit(request, timeout=5)


def both_streaming(channel: grpc.Channel, name: str) -> None:
    request = edge_pb2.InferRequest(open=edge_pb2.OpenSession(session_id=name))
    answers = edge_pb2_grpc.EdgeStub(channel).Infer(iter([request]), timeout=5)
    assert next(answers).HasField("opened"), "what was said before the error arrives"
    next(answers)


def request_streaming(channel: grpc.Channel, name: str) -> None:
    rows = iter([edge_pb2.CacheRows(session_id=name)])
    edge_pb2_grpc.EdgeStub(channel).PushCache(rows, timeout=5)


def response_streaming(channel: grpc.Channel, name: str) -> None:
    request = edge_pb2.PullCacheRequest(session_id=name)
    answers = edge_pb2_grpc.EdgeStub(channel).PullCache(request, timeout=5)
    assert next(answers).layer == 1
    next(answers)


@pytest.mark.parametrize(
    "call", [unary, both_streaming, request_streaming, response_streaming], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("error", all_errors(), ids=lambda e: e.__name__)
def test_a_named_error_arrives_as_itself(
    channel: grpc.Channel,
    call: Callable[[grpc.Channel, str], None],
    error: type[errors.AirSplitError],
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, error.__name__)
    assert raised.value.code().name == error.code
    again = translate(raised.value, "edge server", "here:1")
    assert type(again) is error
    assert str(again) == DETAIL


def test_a_named_error_arrives_at_an_asyncio_caller_too(address: str) -> None:
    async def ask() -> errors.AirSplitError:
        async with connect_aio(address) as channel:
            request = controller_pb2.GetSplitRequest(session_id="KvBudgetError")
            try:
                await controller_pb2_grpc.ControllerStub(channel).GetSplit(request, timeout=5)
            except grpc.aio.AioRpcError as error:
                return translate(error, "controller", address)
        raise AssertionError("no error")

    error = asyncio.run(ask())
    assert (type(error), str(error)) == (errors.KvBudgetError, DETAIL)


def by_writes(stub: edge_pb2_grpc.EdgeAsyncStub, messages: list[edge_pb2.InferRequest]) -> Any:
    call: Any = stub.Infer()

    async def write() -> None:
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            for message in messages:
                await call.write(message)

    return call, write()


def by_an_iterator(stub: edge_pb2_grpc.EdgeAsyncStub, messages: list[edge_pb2.InferRequest]) -> Any:
    return stub.Infer(iter(messages)), asyncio.sleep(0)


@pytest.mark.parametrize("start", [by_writes, by_an_iterator])
def test_an_error_that_meets_a_write_keeps_its_name(
    address: str, start: Callable[[Any, Any], Any]
) -> None:
    """gRPC alone loses one in four of those whose answers are read while it writes."""
    opening = edge_pb2.OpenSession(session_id="KvBudgetError", ue_id="u" * 1000)
    messages = [edge_pb2.InferRequest(open=opening)] * 50

    async def ended(stub: Any) -> errors.AirSplitError:
        call, writing = start(stub, messages)
        outcome = Outcome(call)

        async def read() -> None:
            async for _ in call:
                pass

        try:
            await asyncio.gather(read(), writing)
        except grpc.aio.AioRpcError as error:
            return translate(outcome.behind(error), "edge server", address)
        raise AssertionError("no error")

    async def scenario() -> list[str]:
        async with connect_aio(address) as channel:
            stub = edge_pb2_grpc.EdgeStub(channel)
            return [f"{error!r}" for error in [await ended(stub) for _ in range(100)]]

    assert set(asyncio.run(scenario())) == {repr(errors.KvBudgetError(DETAIL))}


LOST = grpc.StatusCode.UNAVAILABLE, "Socket closed"
WELL = grpc.StatusCode.OK, ""


@pytest.mark.parametrize("always_tells", [False, True], ids=["gRPC 1.85", "tells of each status"])
@pytest.mark.parametrize(
    ("statuses", "raised", "why"),
    [
        ((LOST,), 0, "socket closed"),
        ((LOST, SUBSTITUTE), 1, "socket closed"),
        ((SUBSTITUTE, LOST), 0, "socket closed"),
        ((SUBSTITUTE, LOST), 1, "socket closed"),
        ((WELL, SUBSTITUTE), 1, "it ended the stream"),
    ],
)
def test_the_peers_word_is_found_in_any_order(
    statuses: tuple[tuple[grpc.StatusCode, str], ...], raised: int, why: str, always_tells: bool
) -> None:
    call = EndedCall()
    outcome = Outcome(call)
    errors_of = [call.end(s, tell=always_tells or not n) for n, s in enumerate(statuses)]
    found = translate(outcome.behind(errors_of[raised]), "edge server", "here")
    assert type(found) is errors.PeerUnavailableError
    assert str(found) == f"edge server at here is unavailable: {why}"


def test_where_grpc_alone_speaks_it_is_heard() -> None:
    call = EndedCall()
    outcome = Outcome(call)
    error = call.end(SUBSTITUTE, tell=True)
    assert outcome.behind(error).details() == "Internal error from Core"


def test_an_error_without_a_name_keeps_the_peer_and_the_status(channel: grpc.Channel) -> None:
    stub = edge_pb2_grpc.EdgeStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.DescribeEdge(edge_pb2.DescribeEdgeRequest(), timeout=5)
    error = translate(raised.value, "edge server", "here:1")
    assert type(error) is errors.PeerUnavailableError
    assert str(error) == "edge server at here:1 is unavailable: something else answers there"
    with pytest.raises(grpc.RpcError) as raised:
        stub.PushCache(iter([]), timeout=5)
    error = translate(raised.value, "edge server", "here:1")
    assert str(error).startswith("edge server at here:1"), "whatever it was, the peer is named"


def test_a_name_that_is_not_ours_is_a_remote_error() -> None:
    assert errors.by_name("SystemExit") is errors.RemoteError
    assert errors.by_name("") is errors.RemoteError
    assert all(errors.by_name(e.__name__) is e for e in all_errors())


def test_a_late_answer_names_the_peer(channel: grpc.Channel) -> None:
    request = controller_pb2.GetSplitRequest(session_id="slow")
    with pytest.raises(grpc.RpcError) as raised:
        controller_pb2_grpc.ControllerStub(channel).GetSplit(request, timeout=0.05)
    error = translate(raised.value, "controller", "here:1")
    assert type(error) is errors.PeerTimeoutError
    assert str(error) == "controller at here:1 did not answer: deadline exceeded"


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody else listens, who speaks no gRPC."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"127.0.0.1:{other.getsockname()[1]}"


def test_nobody_there(taken: str) -> None:
    says = f"edge server at {taken} is unavailable: no connection within 0.1 s"
    with connect(taken) as channel, pytest.raises(errors.PeerUnavailableError, match=says):
        wait_ready(channel, "edge server", taken, 0.1)


def test_a_port_in_use_is_one_line(taken: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        asyncio.run(start_server(Service("test", register), taken))
    assert str(raised.value) == f"--listen: {taken} cannot be bound: Address already in use"


def test_a_port_of_another_grpc_server_is_in_use(address: str) -> None:
    with pytest.raises(errors.InputError, match="Address already in use"):
        asyncio.run(start_server(Service("test", register), address))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(errors.InputError, match=f"--listen: {host}:5 cannot be bound: "):
        asyncio.run(start_server(Service("test", register), f"{host}:5"))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("edge:65535", "edge", 65535), ("[::1]:80", "[::1]", 80)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address("--edge", text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":80", "host:65536", "host:-1", "h:8x", "h:²", "h:" + "9" * 5000],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(errors.InputError, match=r"--edge: .* is not allowed; allowed: HOST:PORT"):
        parse_address("--edge", text)


def test_health_is_serving_for_the_whole_and_each_service(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "airsplit.v1.Edge", "airsplit.v1.Controller"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        health.Check(health_pb2.HealthCheckRequest(service="airsplit.v1.Channel"), timeout=5)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(stub.ServerReflectionInfo(iter([request]), timeout=5))
    assert {service.name for service in answer.list_services_response.service} == {
        "airsplit.v1.Edge",
        "airsplit.v1.Controller",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_health_says_that_a_stop_has_begun() -> None:
    """A balancer that watches has the whole grace to go elsewhere."""

    async def scenario() -> list[int]:
        bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def start(address: str) -> None:
            bound.set_result(address)

        serving = asyncio.create_task(serve(Service("test", register, start), "127.0.0.1:0"))
        async with connect_aio(await bound) as channel:
            request = health_pb2.HealthCheckRequest(service="airsplit.v1.Edge")
            watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=10)
            seen = [(await watch.read()).status]
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append((await watch.read()).status)
            assert not serving.done()
            watch.cancel()
        await serving
        return seen

    response = health_pb2.HealthCheckResponse
    assert asyncio.run(scenario()) == [response.SERVING, response.NOT_SERVING]


def test_a_stop_waits_for_handlers_that_tidy_up(capfd: pytest.CaptureFixture[str]) -> None:
    """Else they would be cancelled once more, which gRPC prints with a traceback."""
    tidied_up = []

    class Slow(edge_pb2_grpc.EdgeServicer):
        async def DescribeEdge(self, request: Any, context: Any) -> Any:  # noqa: N802
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.1)
                tidied_up.append(True)

    def register_slow(server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(Slow(), server)
        return ["airsplit.v1.Edge"]

    async def scenario() -> None:
        bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def start(address: str) -> None:
            bound.set_result(address)

        service = Service("test", register_slow, start)
        serving = asyncio.create_task(serve(service, "127.0.0.1:0", grace_s=0.05))
        async with connect_aio(await bound) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await edge_pb2_grpc.EdgeStub(channel).DescribeEdge(edge_pb2.DescribeEdgeRequest())
        await serving
        assert tidied_up

    asyncio.run(scenario())
    assert capfd.readouterr().err == ""


class Line:
    """A TCP line to `address` that can be cut without a word: both sockets stay open."""

    def __init__(self, address: str) -> None:
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        host, port = parse_address("address", address)
        self._sockets = [self._listener]

        def accept() -> None:
            client, _ = self._listener.accept()
            server = socket.create_connection((host, port))
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            if not self.cut.is_set():
                sink.sendall(data)

    def close(self) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Waiting(edge_pb2_grpc.EdgeServicer):
    """Waits for requests that do not come."""

    def __init__(self) -> None:
        self.gone = threading.Event()

    async def Infer(  # noqa: N802
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: Any
    ) -> AsyncIterator[edge_pb2.InferResponse]:
        try:
            async for _ in requests:
                yield edge_pb2.InferResponse()
        finally:
            self.gone.set()


def test_a_client_behind_a_line_that_was_cut_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepalive as it is shipped, twenty times as fast."""
    times = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    sooner = [(name, v // 20 if name in times else v) for name, v in serving_module.SERVER_OPTIONS]
    monkeypatch.setattr(serving_module, "SERVER_OPTIONS", sooner)
    waiting = Waiting()

    def register_waiting(server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(waiting, server)
        return []

    with serving(register_waiting) as address:
        line = Line(address)
        requests: queue.SimpleQueue[edge_pb2.InferRequest | None] = queue.SimpleQueue()
        requests.put(edge_pb2.InferRequest())
        with connect(line.address) as channel:
            call = edge_pb2_grpc.EdgeStub(channel).Infer(iter(requests.get, None))
            next(call)
            assert not waiting.gone.wait(1.0), "a line that is only silent stays"
            line.cut.set()
            noticed = waiting.gone.wait(5.0)
            requests.put(None)
            call.cancel()
        line.close()
        assert noticed
