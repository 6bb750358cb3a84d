"""The link through real sockets: rate, delay, queue and fades are those that were configured."""

import asyncio
import time
from dataclasses import replace

import grpc
import numpy as np
import pytest
from scipy import stats

from airsplit import rpc
from airsplit.v1 import channel_pb2, edge_pb2, edge_pb2_grpc
from channel_emulator import codec
from channel_emulator.edge_watch import EdgeWatch
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.rate_trace import RateTrace
from channel_emulator.spec import parse_channel
from channel_emulator.theory import outage_probability
from channel_emulator.timeline import Timeline
from tests.integration.channel_support import (
    Client,
    EchoEdge,
    activations,
    bench,
    echo_process,
    emulator_process,
    run,
    until,
)

HIDDEN = 64
MS = 1_000_000
SLACK_MS = 15
"""What a busy machine may add to the median."""


async def flood(client: Client, count: int, payload: bytes, tokens: int, hidden: int) -> list:
    """Sends frames without waiting for answers; the results."""

    async def send() -> None:
        for _ in range(count):
            await client.send(client.frame(payload, tokens, hidden))

    sending = asyncio.create_task(send())
    results = [(await client.read()).result for _ in range(count)]
    await sending
    return results


@pytest.mark.parametrize("clock", ["replay", "live"])
def test_frames_arrive_at_the_rate_of_the_link(clock):
    async def scenario():
        edge = EchoEdge()
        async with bench(f"ideal,rate_mbps=4,clock={clock}", edge) as b:
            client = await Client.open(b.edge)
            results = await flood(client, 200, bytes(4 * HIDDEN), 1, HIDDEN)
            await client.close()
        assert {result.uplink.airtime_ns for result in results} == {512_000}
        assert {result.uplink.rate_bps for result in results} == {4e6}
        arrived_ns = np.array(edge.arrived_ns[client.session_id])
        took = (arrived_ns[-1] - arrived_ns[0]) / (199 * 512_000)
        # No error is carried forward: late sleeps do not add up. The first frame may come late.
        assert 0.8 < took < 1.25

    run(scenario())


@pytest.mark.parametrize("distribution", ["normal", "uniform", "exponential"])
def test_delay_and_jitter_are_those_that_are_reported(distribution):
    spec = f"delay_ms=12,jitter_ms=4,jitter_distribution={distribution},downlink_delay_ms=3"

    async def scenario():
        edge = EchoEdge()
        async with bench("ideal," + spec, edge) as b:
            client = await Client.open(b.edge)
            late_ms, down_late_ms, reported_ms = [], [], []
            for _ in range(40):
                sent_ns = time.monotonic_ns()
                result = await client.exchange(client.frame(bytes(4 * HIDDEN), 1, HIDDEN))
                back_ns = time.monotonic_ns()
                arrived_ns = edge.arrived_ns[client.session_id][-1]
                late_ms.append((arrived_ns - sent_ns - result.uplink.delay_ns) / MS)
                down_late_ms.append((back_ns - arrived_ns - result.downlink.delay_ns) / MS)
                reported_ms.append(result.uplink.delay_ns / MS)
            await client.close()
        for late in (late_ms, down_late_ms):
            assert min(late) >= 0
            assert np.median(late) < SLACK_MS
        assert np.std(reported_ms) == pytest.approx(4, rel=0.5)

    run(scenario())


def test_transport_is_part_of_the_delay_where_the_emulator_is_told_of_it():
    """Of the delay of both ways; beside each other, so that what the machine adds is the same."""
    spec, transport_ms = "ideal,delay_ms=20", 5

    async def exchange(client):
        sent_ns = time.monotonic_ns()
        result = await client.exchange(client.frame(bytes(4 * HIDDEN), 1, HIDDEN))
        assert (result.uplink.delay_ns, result.downlink.delay_ns) == (20 * MS, 20 * MS)
        return (time.monotonic_ns() - sent_ns) / MS

    async def scenario(*addresses):
        connections = [rpc.connect_aio(address) for address in addresses]
        clients = [await Client.open(edge_pb2_grpc.EdgeStub(c)) for c in connections]
        took_ms = [[await exchange(client) for client in clients] for _ in range(20)]
        for client, connection in zip(clients, connections, strict=True):
            await client.close()
            await connection.close()
        plain_ms, told_ms = np.median(took_ms, axis=0)
        assert plain_ms - told_ms == pytest.approx(2 * transport_ms, abs=4)

    flags = "--transport-ms", str(transport_ms)
    with (
        echo_process() as (_, edge),
        emulator_process(spec, edge) as (_, plain),
        emulator_process(spec, edge, *flags) as (_, told),
    ):
        run(scenario(plain, told))


def test_the_downlink_has_a_rate_of_its_own():
    async def scenario():
        edge = EchoEdge(logits_bytes=2500)
        async with bench("ideal,rate_mbps=100,downlink_rate_mbps=1", edge) as b:
            client = await Client.open(b.edge)
            began = time.monotonic()
            results = await flood(client, 10, bytes(4 * HIDDEN), 1, HIDDEN)
            took_ms = (time.monotonic() - began) * 1e3
            assert results[0].uplink.airtime_ns == 20_480
            airtime_ns = [result.downlink.airtime_ns for result in results]
            assert airtime_ns == [result.downlink.payload_bytes * 8000 for result in results]
            assert took_ms >= sum(airtime_ns) / MS >= 10 * 20
            assert took_ms < sum(airtime_ns) / MS * 1.5
            await client.close()

    run(scenario())


@pytest.mark.parametrize("clock", ["replay", "live"])
def test_a_trace_is_the_rate_of_the_link(clock):
    """2 Mbit/s for 40 ms, nothing for 20 ms, and again: no more arrives, and hardly less."""
    trace = RateTrace.of([0, 40 * MS, 60 * MS], [0, 80_000, 80_000], stepwise=False)

    async def scenario():
        edge = EchoEdge()
        spec = {"live": "clock=live", "replay": "token_interval_ms=0.001"}[clock]
        config = parse_channel(f"ideal,{spec}")
        async with bench("ideal", edge) as b:
            client = await Client.open(b.edge)
            timeline = Timeline.of(config)
            began_ns = time.monotonic_ns()
            if clock == "live":
                timeline = replace(timeline, started_ns=began_ns - b.emulator.started_ns)
            b.emulator.timeline = replace(timeline, epoch=1, uplink=trace)
            results = await flood(client, 150, bytes(4 * HIDDEN), 1, HIDDEN)
            await client.close()
        sent_bits = 2048 * np.arange(1, 151)
        elapsed_ns = np.array(edge.arrived_ns[client.session_id]) - began_ns
        capacity = np.array([trace.capacity_bits(int(t)) for t in elapsed_ns])
        assert (capacity >= sent_bits).all()
        last_ms = elapsed_ns[-1] / MS
        assert last_ms < (3 * 60 + 34) * 1.4  # 307200 bits: three rounds and 33.6 ms
        airtimes_ms = np.array([result.uplink.airtime_ns for result in results]) / MS
        assert (airtimes_ms > 20).sum() == 3
        assert np.median(airtimes_ms) == pytest.approx(1.024, abs=0.01)

    run(scenario())


@pytest.mark.parametrize("clock", ["replay", "live"])
@pytest.mark.parametrize("fading", ["token", "copula"])
def test_outage_through_the_socket_has_its_closed_form(clock, fading):
    """h(t) of a UE so fast that tokens (replay) and frames (live) fade independently."""
    tokens = 1 if (clock, fading) == ("live", "copula") else 25
    m, h_th, count = 2.0, 0.5157, 600

    async def scenario():
        edge = EchoEdge()
        spec = f"nakagami,fading={fading},m={m},h_th={h_th},clock={clock}"
        if fading == "copula":
            spec += ",speed_mps=1000,carrier_ghz=300"
        async with bench(spec, edge) as b:
            client = await Client.open(b.edge)
            results = await flood(client, count // tokens, bytes(16 * tokens), tokens, 4)
            await client.close()
        lost = round(sum(result.uplink.truth.loss for result in results) * tokens)
        frames = edge.frames[client.session_id]
        masked = [codec.decode_mask(f.header.erasure_mask, (tokens, 4)) for f in frames]
        assert np.sum(masked) == 4 * lost
        covered = stats.binomtest(lost, count).proportion_ci(0.999)
        assert covered.low < outage_probability(m, 1, h_th) < covered.high

    run(scenario())


@pytest.mark.parametrize("snr_db", [-10, 7, 40])
def test_snr_on_the_wire_is_what_was_set(snr_db):
    async def scenario():
        edge = EchoEdge()
        values = activations(1024, 1024)
        async with bench(f"awgn,snr_db={snr_db}", edge) as b:
            client = await Client.open(b.edge)
            for start in range(0, 1024, 512):
                chunk = values[start : start + 512]
                await client.exchange(client.frame(chunk.tobytes(), 512, 1024))
            await client.close()
        arrived = np.frombuffer(
            b"".join(frame.payload for frame in edge.frames[client.session_id]), np.float32
        )
        error = np.square(arrived - values.ravel(), dtype=np.float64).mean()
        measured = 10 * np.log10(np.square(values, dtype=np.float64).mean() / error)
        assert measured == pytest.approx(snr_db, abs=0.05)

    run(scenario())


def test_live_and_replay_agree_in_distribution():
    """Delay and loss, of streams with draws of their own."""

    async def sample(clock: str, stream: int) -> tuple[list[int], list[float]]:
        spec = "nakagami,fading=block,coherence_ms=0.5,m=1,h_th=0.6,sigma=0.1,delay_ms=1"
        async with bench(f"{spec},jitter_ms=0.5,clock={clock}", EchoEdge()) as b:
            client = await Client.open(b.edge, stream=stream)
            results = []
            for _ in range(300):
                frame = client.frame(bytes(4 * HIDDEN), 1, HIDDEN)
                results.append(await client.exchange(frame))
            await client.close()
        delays_ns = [result.uplink.delay_ns for result in results]
        return delays_ns, [result.uplink.truth.loss for result in results]

    async def scenario():
        replay_delays, replay_losses = await sample("replay", 1)
        live_delays, live_losses = await sample("live", 2)
        assert stats.ks_2samp(replay_delays, live_delays).pvalue > 0.001
        table = [[sum(x), 300 - sum(x)] for x in (replay_losses, live_losses)]
        assert stats.fisher_exact(table).pvalue > 0.001
        expected = outage_probability(1, 1, 0.6)
        for losses in (replay_losses, live_losses):
            assert stats.binomtest(round(sum(losses)), 300, expected).pvalue > 0.001

    run(scenario())


def test_frames_of_many_tokens_fade_alike_live_and_in_replay():
    """A frame that came at once does not meet one h: its tokens follow each other on the air."""

    async def losses(clock: str, stream: int) -> list[float]:
        spec = f"nakagami,fading=copula,m=1,h_th=0.3246,speed_mps=14,clock={clock}"
        async with bench(spec, EchoEdge()) as b:
            client = await Client.open(b.edge, stream=stream)
            frame = bytes(4 * HIDDEN * 64)
            found = [
                (await client.exchange(client.frame(frame, 64, HIDDEN))).uplink.truth.loss
                for _ in range(150)
            ]
            await client.close()
        return found

    async def scenario():
        replay, live = await losses("replay", 1), await losses("live", 2)
        for found in (replay, live):
            assert np.mean(found) == pytest.approx(0.1, abs=0.02)
            assert np.std(found) < 0.08  # of whole frames in or out of outage: 0.3

    run(scenario())


def test_sixty_four_sessions_lose_and_reorder_nothing():
    spec = "nakagami,sigma=0.2,rate_mbps=20,delay_ms=2,jitter_ms=2"

    async def scenario():
        edge = EchoEdge()
        async with bench(spec, edge) as b:

            async def ue(stream: int) -> tuple[Client, list]:
                client = await Client.open(b.edge, stream=stream)
                values = activations(20, HIDDEN, seed=stream)

                async def send() -> None:
                    for token in values:
                        await client.send(client.frame(token.tobytes(), 1, HIDDEN))

                sending = asyncio.create_task(send())
                results = [(await client.read()).result for _ in range(20)]
                await sending
                await client.close()
                return client, results

            answers = await asyncio.gather(*(ue(stream) for stream in range(64)))
            await until(lambda: len(edge.ended) == 64)
        config = parse_channel(spec)
        for stream, (client, results) in enumerate(answers):
            assert [result.sequence for result in results] == list(range(20))
            frames = edge.frames[client.session_id]
            assert [frame.header.sequence for frame in frames] == list(range(20))
            values = activations(20, HIDDEN, seed=stream)
            expected = Radio(config).transmit(values, Place.replay(config, 20, stream=stream))
            arrived = b"".join(frame.payload for frame in frames)
            assert arrived == expected.values.tobytes()

    run(scenario())


def test_a_full_queue_drops_marked_frames(monkeypatch):
    owed = []

    def owes(watch, n_bytes=0):
        owed.append(n_bytes)
        told(watch, n_bytes)

    told = EdgeWatch.owes
    monkeypatch.setattr(EdgeWatch, "owes", owes)

    async def scenario():
        edge = EchoEdge()
        spec = "ideal,clock=live,rate_mbps=2,queue_kib=2,queue_policy=drop"
        async with bench(spec, edge) as b:
            client = await Client.open(b.edge)
            results = await flood(client, 100, b"\x01" * (4 * HIDDEN), 1, HIDDEN)
            state = await b.channel.GetChannel(channel_pb2.GetChannelRequest())
            await client.close()
        dropped = [result.uplink.dropped for result in results]
        assert [result.sequence for result in results] == list(range(100))
        assert not any(dropped[:8])
        assert 0 < sum(dropped) < 92
        assert state.dropped_frames == sum(dropped)
        assert owed == [0] + [4 * HIDDEN] * 100  # what is dropped goes to the edge as zeros
        for frame, was_dropped in zip(edge.frames[client.session_id], dropped, strict=True):
            mask = codec.decode_mask(frame.header.erasure_mask, (1, HIDDEN))
            assert mask.all() if was_dropped else not mask.any()
            assert frame.payload == (bytes if was_dropped else b"\x01".__mul__)(4 * HIDDEN)
        longest_ns = max(result.uplink.queue_ns for result in results)
        assert longest_ns <= 2048 * 8 * 500

    run(scenario())


def test_what_replay_drops_is_dropped_again():
    async def scenario():
        spec = "awgn,rate_mbps=1,queue_kib=2,queue_policy=drop,token_interval_ms=1.5"
        seen = []
        for pause_s in (0, 0.003):
            edge = EchoEdge()
            async with bench(spec, edge) as b:
                client = await Client.open(b.edge)
                for token in activations(60, HIDDEN):
                    await client.send(client.frame(token.tobytes(), 1, HIDDEN))
                    await asyncio.sleep(pause_s)
                for _ in range(60):
                    await client.read()
                await client.close()
            seen.append([frame.payload for frame in edge.frames[client.session_id]])
        assert seen[0] == seen[1]
        assert 0 < sum(payload == bytes(4 * HIDDEN) for payload in seen[0]) < 60

    run(scenario())


def test_no_frame_mixes_two_versions():
    """Frames large enough for a thread of their own, which another session asks for, while a client
    changes σ without a pause."""
    tokens, hidden = 24, 1024

    def sigma_of(version: int) -> float:
        return 0.5 + version % 5

    async def scenario():
        edge = EchoEdge()
        async with bench(f"awgn,sigma={sigma_of(1)}", edge) as b:
            waiting, client = await Client.open(b.edge), await Client.open(b.edge)
            stop = asyncio.Event()

            async def configure() -> int:
                version = 1
                while not stop.is_set():
                    version += 1
                    change = channel_pb2.ChannelConfig(sigma=sigma_of(version))
                    request = channel_pb2.ConfigureChannelRequest(
                        config=change, expected_version=version - 1
                    )
                    await b.channel.ConfigureChannel(request)
                return version

            configuring = asyncio.create_task(configure())
            results = await flood(client, 240, bytes(4 * tokens * hidden), tokens, hidden)
            stop.set()
            assert await configuring > 20
            await client.close()
            await waiting.close()
        versions = [result.uplink.config_version for result in results]
        assert versions == sorted(versions)
        assert len(set(versions)) > 10
        for frame in edge.frames[client.session_id]:
            noise = np.frombuffer(frame.payload, np.float32).reshape(tokens, hidden)
            expected = sigma_of(frame.header.channel.config_version)
            assert noise.std(axis=1) == pytest.approx(expected, rel=0.15)
            assert frame.header.channel.truth.sigma == pytest.approx(expected, rel=0.05)

    run(scenario())


def rss_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        found = next(line for line in status if line.startswith("VmRSS"))
    return int(found.split()[1]) / 1024


@pytest.mark.parametrize("queue", ["", ",queue_kib=2048", ",queue_kib=2048,queue_policy=drop"])
def test_a_sender_faster_than_the_link_is_slowed_and_memory_is_bounded(queue):
    """256 KiB frames for 2 s over 16 Mbit/s, which 4 MB get through."""
    spec = f"ideal,clock=live,rate_mbps=16,delay_ms=20{queue}"
    payload = bytes(256 * 1024)

    async def scenario(pid: int, address: str) -> tuple[int, float]:
        async with rpc.connect_aio(address) as connection:
            client = await Client.open(edge_pb2_grpc.EdgeStub(connection))
            before_mib, most_mib, sent = rss_mib(pid), 0.0, 0

            async def read() -> None:
                while await client.call.read() is not grpc.aio.EOF:
                    pass

            reading = asyncio.create_task(read())
            try:
                async with asyncio.timeout(2):
                    while True:
                        await client.send(client.frame(payload, 256, 256))
                        sent += 1
                        most_mib = max(most_mib, rss_mib(pid))
            except TimeoutError:
                pass
            client.call.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            return sent, most_mib - before_mib

    with (
        echo_process() as (_, edge_address),
        emulator_process(spec, edge_address) as (child, address),
    ):
        sent, grown_mib = run(scenario(child.pid, address))
        assert child.poll() is None
    assert grown_mib < 80
    if "drop" not in queue:
        # What got through, what waits in the lane, and what transports hold.
        assert 16 <= sent <= 16 + 32 + 24
    else:
        assert sent > 16


def test_rows_travel_beside_frames_on_the_same_link():
    async def scenario():
        edge = EchoEdge()
        async with bench("nakagami,rate_mbps=2,loss=0.5,target_loss=0.5", edge) as b:
            client = await Client.open(b.edge)
            row = edge_pb2.CacheRows(session_id=client.session_id, key=bytes(range(250)))
            began = time.monotonic()
            await b.edge.PushCache(iter([row] * 4))
            # 1 ms each, four times: half is lost to fades, and half of the rest besides.
            assert (time.monotonic() - began) * 1e3 >= 16
            assert [found.key for found in edge.rows] == [row.key] * 4
            await client.close()

    run(scenario())
