"""The emulator on real sockets: between a UE's stub and an edge that echoes."""

import asyncio
import contextlib
import signal
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import numpy as np
import pytest

from airsplit import rpc, serving
from airsplit.errors import (
    InputError,
    KvBudgetError,
    PeerTimeoutError,
    PeerUnavailableError,
    StaleCacheError,
    TensorError,
    TransitionError,
    VersionConflictError,
)
from airsplit.v1 import (
    channel_pb2,
    channel_pb2_grpc,
    controller_pb2,
    controller_pb2_grpc,
    edge_pb2,
    edge_pb2_grpc,
)
from channel_emulator import codec
from channel_emulator.carrier import MAX_INLINE_BYTES
from channel_emulator.limits import Limits
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.spec import parse_channel
from tests.integration.channel_support import (
    ECHO,
    Bench,
    Client,
    EchoEdge,
    activations,
    bench,
    echo_process,
    process,
    run,
    until,
)

HIDDEN = 64


async def caught(awaitable, bench: Bench) -> Exception:
    """The named error that a call ends with, as the UE sees it."""
    with pytest.raises(grpc.RpcError) as info:
        await awaitable
    return rpc.translate(info.value, "channel emulator", bench.address)


async def send_all(client: Client, values: np.ndarray, **options) -> list:
    """The values, one token a frame; the results."""
    results = []
    for token in values:
        payload = codec.encode(token[None], options.get("dtype", edge_pb2.DTYPE_FLOAT32))
        results.append(await client.exchange(client.frame(payload, 1, len(token), **options)))
    return results


def test_ideal_delivers_every_bit_and_adds_no_time():
    async def scenario():
        edge = EchoEdge()
        async with bench("ideal", edge) as b:
            client = await Client.open(b.edge)
            payloads = [np.random.default_rng(i).bytes(4 * HIDDEN) for i in range(5)]
            for payload in payloads:
                result = await client.exchange(client.frame(payload, 1, HIDDEN))
                for report in (result.uplink, result.downlink):
                    assert (report.airtime_ns, report.queue_ns, report.delay_ns) == (0, 0, 0)
                    assert report.config_version == 1
            await client.close()
        arrived = edge.frames[client.session_id]
        assert [frame.payload for frame in arrived] == payloads
        assert [frame.header.sequence for frame in arrived] == list(range(5))

    run(scenario())


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        ("nakagami,sigma=0.5,h_th=0.3,seed=4", edge_pb2.DTYPE_FLOAT32),
        ("nakagami,sigma=0.5,h_th=0.3,seed=4", edge_pb2.DTYPE_BFLOAT16),
        ("physical,snr_db=5,seed=4,rate_mbps=inf", edge_pb2.DTYPE_FLOAT16),
        ("erasure,loss=0.3", edge_pb2.DTYPE_FLOAT32),
    ],
)
def test_the_socket_and_the_process_have_the_same_radio(spec, dtype):
    async def scenario():
        edge = EchoEdge()
        values = activations(12, HIDDEN)
        sent = codec.decode(codec.encode(values, dtype), dtype, values.shape)
        async with bench(spec, edge) as b:
            client = await Client.open(b.edge, stream=77)
            chunk = client.frame(codec.encode(sent[:5], dtype), 5, HIDDEN, dtype=dtype)
            await client.exchange(chunk)
            await send_all(client, sent[5:], dtype=dtype)
            await client.close()
        config = parse_channel(spec)
        expected = Radio(config).transmit(sent, Place.replay(config, 12, stream=77))
        frames = edge.frames[client.session_id]
        assert b"".join(frame.payload for frame in frames) == codec.encode(expected.values, dtype)
        masks = [
            codec.decode_mask(f.header.erasure_mask, (f.header.token_count, HIDDEN)) for f in frames
        ]
        erased = np.zeros(values.shape, bool) if expected.erased is None else expected.erased
        np.testing.assert_array_equal(np.concatenate(masks), erased)

    run(scenario())


DTYPES = [edge_pb2.DTYPE_FLOAT32, edge_pb2.DTYPE_FLOAT16, edge_pb2.DTYPE_BFLOAT16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("others", [0, 1])
def test_a_large_frame_is_damaged_on_a_thread_where_others_wait(others, dtype, monkeypatch):
    """And in order, either way."""
    threads = set()
    name = "transmit" if dtype == edge_pb2.DTYPE_FLOAT32 else "transmit_halves"
    transmit = getattr(Radio, name)

    def noting(*args, **kwargs):
        threads.add(threading.current_thread() is threading.main_thread())
        return transmit(*args, **kwargs)

    monkeypatch.setattr(Radio, name, noting)

    async def scenario():
        edge = EchoEdge()
        values = activations(40, 1024)
        large, short = codec.encode(values, dtype), codec.encode(values[:1], dtype)
        assert len(large) > MAX_INLINE_BYTES
        async with bench("awgn,sigma=0.5", edge) as b:
            waiting = [await Client.open(b.edge) for _ in range(others)]
            client = await Client.open(b.edge)
            await client.send(client.frame(large, 40, 1024, dtype=dtype))
            await client.send(client.frame(short, 1, 1024, dtype=dtype))
            assert [(await client.read()).result.sequence for _ in range(2)] == [0, 1]
            for each in (client, *waiting):
                await each.close()
        assert threads == ({True} if not others else {True, False})  # a short one never leaves
        arrived = edge.frames[client.session_id][0].payload
        noise = codec.decode(arrived, dtype, values.shape) - values
        assert noise.std() == pytest.approx(0.5, rel=0.02)

    run(scenario())


def test_time_is_paid_in_both_directions():
    async def scenario():
        async with bench("ideal,delay_ms=30,rate_mbps=1", EchoEdge(logits_bytes=1250)) as b:
            client = await Client.open(b.edge)
            frame = client.frame(activations(10, HIDDEN).tobytes(), 10, HIDDEN)
            began = time.monotonic()
            result = await client.exchange(frame)
            took_ms = (time.monotonic() - began) * 1e3
            assert result.uplink.airtime_ns == 2560 * 8 * 1000
            assert result.downlink.airtime_ns == result.downlink.payload_bytes * 8 * 1000
            assert result.downlink.payload_bytes >= 1250
            # 20.5 ms and 10 ms on the air, 30 ms delay each way
            assert took_ms >= 20.4 + 10 + 60
            await client.close()

    run(scenario())


def test_a_fast_sender_meets_the_rate_and_keeps_its_order():
    async def scenario():
        edge = EchoEdge()
        async with bench("ideal,rate_mbps=2,delay_ms=5,jitter_ms=5", edge) as b:
            client = await Client.open(b.edge)
            payload = activations(1, HIDDEN).tobytes()
            began = time.monotonic()

            async def send() -> None:
                for _ in range(100):
                    await client.send(client.frame(payload, 1, HIDDEN))

            sending = asyncio.create_task(send())
            results = [(await client.read()).result for _ in range(100)]
            await sending
            assert time.monotonic() - began >= 100 * 256 * 8 / 2e6
            assert [result.sequence for result in results] == list(range(100))
            assert max(result.uplink.queue_ns for result in results) > 0
            await client.close()

    run(scenario())


def test_a_sender_that_never_reads_is_held_back():
    async def scenario():
        edge = EchoEdge()
        async with bench("ideal,delay_ms=60000", edge) as b:
            client = await unanswered(b)
            payload = bytes(512 * 1024)
            sent = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.5):
                    while sent < 100:
                        await client.send(client.frame(payload, 512, 256))
                        sent += 1
            # What the lane and the transports take in, and no more.
            assert sent < 100
            assert b.emulator.frames < 20
            client.call.cancel()
            await until(lambda: not b.emulator.sessions)

    async def unanswered(b: Bench) -> Client:
        call = b.edge.Infer()
        opening = edge_pb2.OpenSession(session_id="a" * 32, stream=1)
        await call.write(edge_pb2.InferRequest(open=opening))
        return Client(call, "a" * 32)

    run(scenario())


def test_rows_are_delivered_intact_and_pay():
    async def scenario():
        edge = EchoEdge()
        async with bench("nakagami,rate_mbps=1,delay_ms=10", edge) as b:
            client = await Client.open(b.edge)
            rng = np.random.default_rng(0)
            rows = [
                edge_pb2.CacheRows(
                    session_id=client.session_id, layer=i, key=rng.bytes(500), value=rng.bytes(500)
                )
                for i in range(3)
            ]
            began = time.monotonic()
            response = await b.edge.PushCache(iter(rows))
            assert (time.monotonic() - began) * 1e3 >= 3 * 8 + 2 * 10
            assert response.bytes == 3000
            assert edge.rows == rows
            began = time.monotonic()
            pull = b.edge.PullCache(edge_pb2.PullCacheRequest(session_id=client.session_id))
            assert [pulled async for pulled in pull] == rows
            assert (time.monotonic() - began) * 1e3 >= 3 * 8 + 2 * 10
            state = await b.channel.GetChannel(channel_pb2.GetChannelRequest())
            assert (state.handoff_bytes, state.payload_bytes, state.sessions) == (6000, 0, 1)
            await client.close()

    run(scenario())


def test_the_channel_changes_while_it_runs():
    async def scenario():
        edge = EchoEdge()
        async with bench("ideal", edge) as b:
            client = await Client.open(b.edge)
            values = activations(1, HIDDEN)

            async def configure(version=None, **changes):
                return await b.channel.ConfigureChannel(
                    channel_pb2.ConfigureChannelRequest(
                        config=channel_pb2.ChannelConfig(**changes), expected_version=version
                    )
                )

            (before,) = await send_all(client, values)
            state = await configure(preset="awgn", sigma=0.5)
            assert (state.config_version, state.config.sigma) == (2, 0.5)
            (noisy,) = await send_all(client, values)
            error = await caught(configure(version=1, sigma=0.1), b)
            assert type(error) is VersionConflictError
            assert "expected_version: 1" in str(error)
            error = await caught(configure(m=2), b)
            assert type(error) is InputError
            assert "m: 2.0 has no effect in preset 'awgn'" in str(error)
            await configure(version=2, preset="ideal")
            (after,) = await send_all(client, values)
            assert [r.uplink.config_version for r in (before, noisy, after)] == [1, 2, 3]
            assert [r.downlink.config_version for r in (before, noisy, after)] == [1, 2, 3]
            frames = edge.frames[client.session_id]
            changed = [frame.payload != values.tobytes() for frame in frames]
            assert changed == [False, True, False]
            await client.close()

    run(scenario())


def test_the_state_can_be_watched():
    async def scenario():
        async with bench("awgn", EchoEdge()) as b:
            client = await Client.open(b.edge, ue_id="phone")
            await send_all(client, activations(3, HIDDEN))
            watch = b.channel.WatchChannel(channel_pb2.WatchChannelRequest(interval_ms=10))
            seen = [await watch.read() for _ in range(3)]
            watch.cancel()
            (link,) = seen[-1].links
            assert (link.session_id, link.ue_id, link.frames) == (client.session_id, "phone", 3)
            assert link.last.payload_bytes == 4 * HIDDEN
            bad = b.channel.WatchChannel(channel_pb2.WatchChannelRequest(interval_ms=5))
            assert type(await caught(bad.read(), b)) is InputError
            await client.close()
            await until(lambda: not b.emulator.sessions)

    run(scenario())


def test_a_bad_frame_is_named_and_nothing_of_it_reaches_the_edge():
    async def scenario():
        edge = EchoEdge()
        async with bench("awgn", edge) as b:
            client = await Client.open(b.edge)
            frame = client.frame(activations(1, HIDDEN).tobytes(), 1, HIDDEN)
            frame.payload = frame.payload[:-3]
            error = await caught(client.exchange(frame), b)
            assert type(error) is TensorError
            assert str(error) == "payload: 253 bytes, but shape and dtype say 256"
            await until(lambda: client.session_id in edge.ended)
            assert edge.frames[client.session_id] == []
            # The process lives.
            second = await Client.open(b.edge)
            await send_all(second, activations(1, HIDDEN))
            await second.close()

    run(scenario())


def test_a_stream_has_to_open_a_session():
    async def scenario():
        async with bench("ideal", EchoEdge()) as b:
            for first in (edge_pb2.InferRequest(), edge_pb2.InferRequest(frame={"payload": b"x"})):
                call = b.edge.Infer()
                await call.write(first)
                assert type(await caught(call.read(), b)) is TransitionError

    run(scenario())


def test_an_error_of_the_edge_keeps_its_name():
    async def scenario():
        async with bench("ideal", EchoEdge()) as b:
            error = await caught(Client.open(b.edge, ue_id="refused"), b)
            assert type(error) is StaleCacheError
            assert str(error) == "rows: the edge says no"

    run(scenario())


class FullEdge(EchoEdge):
    """Takes a little, then refuses, whatever is on its way."""

    async def Infer(self, requests, context):  # noqa: N802
        taken = 0
        async for response in super().Infer(requests, context):
            yield response
            taken += 1
            if taken == 3:
                raise KvBudgetError("kv_budget_bytes: the edge is full")

    async def PushCache(self, requests, context):  # noqa: N802
        await anext(requests)
        raise KvBudgetError("kv_budget_bytes: the edge is full")


def test_a_refusal_that_meets_what_is_being_sent_keeps_its_name():
    """gRPC alone would lose many between the edge and the emulator. A UE has a thread, as here."""

    def refusals(address: str) -> list[Exception]:
        session_id = uuid.uuid4().hex
        opening = edge_pb2.OpenSession(session_id=session_id, ue_id="ue", stream=5)
        client = Client(None, session_id)
        frames = [edge_pb2.InferRequest(open=opening)]
        frames += [edge_pb2.InferRequest(frame=client.frame(bytes(2048), 1, 512))] * 50
        rows = [edge_pb2.CacheRows(session_id=session_id, key=bytes(1000))] * 50
        with rpc.connect(address) as connection:
            edge = edge_pb2_grpc.EdgeStub(connection)
            call = edge.Infer(iter(frames))
            next(call)
            found = []
            for answer in (lambda: edge.PushCache(iter(rows)), lambda: list(call)):
                with pytest.raises(grpc.RpcError) as info:
                    answer()
                found.append(rpc.translate(info.value, "channel emulator", address))
        return found

    async def scenario():
        async with bench("ideal", FullEdge()) as b:
            for _ in range(20):
                found = await asyncio.to_thread(refusals, b.address)
                assert [type(error) for error in found] == [KvBudgetError] * 2, found

    run(scenario())


def test_other_calls_reach_the_edge():
    async def scenario():
        async with bench("ideal", EchoEdge()) as b:
            description = await b.edge.DescribeEdge(edge_pb2.DescribeEdgeRequest())
            assert description.sessions == 3

    run(scenario())


def test_a_ue_that_goes_away_ends_its_session_at_the_edge():
    async def scenario():
        edge = EchoEdge()
        async with bench("ideal,delay_ms=20", edge) as b:
            client = await Client.open(b.edge)
            await client.send(client.frame(activations(1, HIDDEN).tobytes(), 1, HIDDEN))
            client.call.cancel()
            await until(lambda: client.session_id in edge.ended)
            await until(lambda: not b.emulator.sessions)

    run(scenario())


def test_an_edge_that_is_not_there_is_named():
    async def scenario():
        async with bench("ideal", edge_address="127.0.0.1:1") as b:
            errors = [
                await caught(Client.open(b.edge, timeout=5), b),
                await caught(b.edge.DescribeEdge(edge_pb2.DescribeEdgeRequest(), timeout=5), b),
                await caught(b.edge.PushCache(iter([edge_pb2.CacheRows()]), timeout=5), b),
                await caught(b.edge.PullCache(edge_pb2.PullCacheRequest(), timeout=5).read(), b),
            ]
            for error in errors:
                assert type(error) is PeerUnavailableError
                assert "edge server at 127.0.0.1:1 is unavailable" in str(error)

    run(scenario())


async def describes(b: Bench) -> bool:
    try:
        await b.edge.DescribeEdge(edge_pb2.DescribeEdgeRequest(), timeout=2)
    except grpc.RpcError:
        return False
    return True


def test_an_edge_that_is_killed_is_named_and_its_successor_served():
    async def scenario():
        with echo_process() as (edge, edge_address):
            async with bench("nakagami", edge_address=edge_address) as b:
                client = await Client.open(b.edge)
                await send_all(client, activations(3, HIDDEN))
                edge.send_signal(signal.SIGKILL)
                async with asyncio.timeout(5):
                    error = await caught(client.read(), b)
                assert type(error) is PeerUnavailableError
                assert f"edge server at {edge_address} is unavailable" in str(error)
                await until(lambda: not b.emulator.sessions)
                with process(ECHO, edge_address):
                    async with asyncio.timeout(10):
                        while not await describes(b):  # noqa: ASYNC110
                            await asyncio.sleep(0.1)

    run(scenario())


def test_an_edge_that_stalls_meets_the_deadline():
    async def scenario():
        with echo_process() as (edge, edge_address):
            async with bench("ideal", edge_address=edge_address) as b:
                client = await Client.open(b.edge, timeout=1.5)
                edge.send_signal(signal.SIGSTOP)
                try:
                    await client.send(client.frame(bytes(4 * HIDDEN), 1, HIDDEN))
                    error = await caught(client.read(), b)
                finally:
                    edge.send_signal(signal.SIGCONT)
                assert type(error) is PeerTimeoutError

    run(scenario())


def test_an_edge_that_hangs_is_named_before_the_ue_gives_up():
    """Every call to it: a session with a frame, K/V both ways, a question."""

    async def scenario():
        with echo_process() as (edge, edge_address):
            limits = Limits(answer_deadline_s=0.5)
            async with bench("ideal", edge_address=edge_address, limits=limits) as b:
                client = await Client.open(b.edge, timeout=10)
                await send_all(client, activations(2, HIDDEN))
                edge.send_signal(signal.SIGSTOP)
                began = time.monotonic()
                try:
                    found = await asyncio.gather(
                        caught(client.exchange(client.frame(bytes(4 * HIDDEN), 1, HIDDEN)), b),
                        caught(Client.open(b.edge, timeout=10), b),
                        caught(b.edge.DescribeEdge(edge_pb2.DescribeEdgeRequest(), timeout=10), b),
                        caught(b.edge.PushCache(iter([edge_pb2.CacheRows()]), timeout=10), b),
                        caught(b.edge.PullCache(edge_pb2.PullCacheRequest(), timeout=10).read(), b),
                    )
                finally:
                    edge.send_signal(signal.SIGCONT)
                assert time.monotonic() - began < 3
                for error in found:
                    assert type(error) is PeerTimeoutError
                    assert str(error) == (
                        f"edge server at {edge_address} did not answer: "
                        "no answer and no sign of life within 0.5 s"
                    )
                assert not b.emulator.sessions

    run(scenario())


def test_an_edge_that_computes_for_long_is_waited_for():
    async def scenario():
        async with bench(
            "ideal", EchoEdge(answer_s=1.5), limits=Limits(answer_deadline_s=0.2)
        ) as b:
            client = await Client.open(b.edge)
            for token in activations(2, HIDDEN):
                await client.send(client.frame(token.tobytes(), 1, HIDDEN))
            assert [(await client.read()).result.sequence for _ in range(2)] == [0, 1]
            await client.close()

    run(scenario())


def test_a_session_whose_ue_thinks_is_left_alone():
    async def scenario():
        limits = Limits(idle_timeout_s=0.2, answer_deadline_s=0.2)
        async with bench("ideal", EchoEdge(), limits=limits) as b:
            client = await Client.open(b.edge)
            await asyncio.sleep(0.6)
            await send_all(client, activations(1, HIDDEN))
            await client.close()

    run(scenario())


def test_a_stream_that_stays_silent_is_ended():
    async def scenario():
        edge = EchoEdge()
        async with bench("ideal", edge, limits=Limits(idle_timeout_s=0.2)) as b:
            silent, begun = b.edge.PushCache(), b.edge.PushCache()
            await begun.write(edge_pb2.CacheRows(session_id="x"))
            for call in (b.edge.Infer().read(), silent, begun):
                async with asyncio.timeout(3):
                    error = await caught(call, b)
                assert type(error) is PeerTimeoutError
                assert str(error) == "no message within 0.2 s (--idle-timeout)"

    run(scenario())


def test_the_log_names_who_was_lost_and_a_clean_end_is_no_warning(caplog):
    caplog.set_level("INFO", "channel_emulator.proxy")

    def said(level: str) -> list[str]:
        found = [r.getMessage() for r in caplog.records if r.levelname == level]
        caplog.clear()
        return found

    async def scenario():
        edge = EchoEdge()
        with echo_process() as (child, edge_address):
            async with bench("ideal", edge) as b:
                client = await Client.open(b.edge, ue_id="phone")
                await client.close()
                await until(lambda: not b.emulator.sessions)
                begun, ended = said("INFO")
                session = f"session {client.session_id[:8]} of UE phone at ipv"
                assert begun.startswith(session)
                assert begun.endswith(f" goes to the edge server at {b.edge_address}")
                assert ended.startswith(session)
                assert ended.endswith(" has ended")
                client = await Client.open(b.edge, ue_id="phone")
                client.call.cancel()
                await until(lambda: not b.emulator.sessions)
                (line,) = said("WARNING")
                assert line.startswith("UE phone at ipv")
                assert line.endswith(f" is gone: session {client.session_id[:8]}")
                await caught(Client.open(b.edge, ue_id="refused"), b)
                assert said("WARNING") == []
            async with bench("ideal", edge_address=edge_address) as b:
                client = await Client.open(b.edge, ue_id="phone")
                child.kill()
                await caught(client.read(), b)
                (line,) = said("WARNING")
                assert line.startswith(
                    f"session {client.session_id[:8]} of UE phone: "
                    f"edge server at {edge_address} is unavailable: "
                )

    run(scenario())


def test_the_process_starts_without_its_edge_and_stops_on_sigterm():
    command = ["-m", "channel_emulator", "--listen", "127.0.0.1:0", "--edge", "127.0.0.1:1"]
    with process(*command) as (child, address):
        with grpc.insecure_channel(address) as connection:
            channel = channel_pb2_grpc.ChannelStub(connection)
            watch = channel.WatchChannel(channel_pb2.WatchChannelRequest(), timeout=10)
            assert next(watch).config.preset == "ideal"
            child.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError):
                list(watch)
        _, err = child.communicate(timeout=10)
        assert child.returncode == 0
        assert err == ""


def test_a_session_that_is_open_does_not_hold_a_process_that_stops():
    with echo_process() as (_, edge_address):
        command = ["-m", "channel_emulator", "--listen", "127.0.0.1:0", "--edge", edge_address]
        with process(*command) as (child, address):

            async def scenario():
                async with rpc.connect_aio(address) as connection:
                    client = await Client.open(edge_pb2_grpc.EdgeStub(connection))
                    child.send_signal(signal.SIGTERM)
                    with pytest.raises(grpc.RpcError):
                        await client.read()

            run(scenario())
            _, err = child.communicate(timeout=10)
            assert child.returncode == 0
            assert err == ""


class ListeningController(controller_pb2_grpc.ControllerServicer):
    """Keeps what an attached end sends."""

    def __init__(self) -> None:
        self.hellos: list[controller_pb2.Hello] = []
        self.reports: list[controller_pb2.SessionReport] = []

    async def Attach(  # noqa: N802
        self, requests: AsyncIterator[controller_pb2.AttachRequest], context
    ) -> AsyncIterator[controller_pb2.AttachResponse]:
        self.hellos.append((await anext(requests)).hello)
        attached = controller_pb2.Attached(controller_instance="x", report_interval_ms=20)
        yield controller_pb2.AttachResponse(attached=attached)
        async for request in requests:
            self.reports.append(request.report)


@asynccontextmanager
async def controller_at(listen: str):
    controller = ListeningController()

    def register(server) -> list[str]:
        controller_pb2_grpc.add_ControllerServicer_to_server(controller, server)
        return ["airsplit.v1.Controller"]

    server, address = await serving.start_server(serving.Service("controller", register), listen)
    try:
        yield controller, address
    finally:
        await server.stop(0)


def test_reports_reach_the_controller_and_its_successor():
    async def scenario():
        async with AsyncExitStack() as life:
            first, address = await life.enter_async_context(controller_at("127.0.0.1:0"))
            async with bench("awgn", EchoEdge(), controller=address) as b:
                await until(lambda: first.hellos)
                assert first.hellos[0].role == controller_pb2.ROLE_CHANNEL
                assert first.hellos[0].address == b.address
                client = await Client.open(b.edge)
                await send_all(client, activations(3, HIDDEN))
                await until(lambda: first.reports and first.reports[-1].position == 3)
                last = first.reports[-1]
                assert last.session_id == client.session_id
                assert (last.split, last.split_version) == (2, 1)
                assert last.channel.estimate.sigma > 0
                # Nothing is said twice while nothing is sent.
                count = len(first.reports)
                await asyncio.sleep(0.1)
                assert len(first.reports) == count
                # Without a controller the data path goes on, and a new one is found.
                await life.aclose()
                await send_all(client, activations(2, HIDDEN))
                async with controller_at(address) as (second, _):
                    await until(lambda: second.hellos)
                    await send_all(client, activations(1, HIDDEN))
                    await until(lambda: second.reports and second.reports[-1].position == 6)
                    await client.close()

    run(scenario())
