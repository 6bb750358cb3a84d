"""Frames of any content, to an emulator that is a real process: a result or a named error each."""

import uuid

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airsplit import rpc
from airsplit.errors import AirSplitError, PeerUnavailableError, RemoteError
from airsplit.frames import ITEM_BYTES
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from tests.integration.channel_support import echo_process, emulator_process

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
ODD_U64 = st.sampled_from([0, 1, 2**31, 2**40 - 1, 2**48 - 1, 2**63 - 1, 2**63, 2**64 - 1]) | U64

SPECS = [
    "ideal,rate_mbps=1000,queue_kib=1,queue_policy=drop",
    "nakagami,fading=element,snr_db=3,power_reference=inliers,loss=0.1,loss_unit=packet,"
    "packet_bytes=64,clock=live",
    "nakagami,fading=block,sigma=0.1,loss=0.2,loss_unit=token,loss_model=gilbert_elliott",
    "physical,snr_db=0,harq_transmissions=16,rate_mbps=inf,harq_rtt_ms=0",
    "physical,fading=sum_of_squares,speed_mps=0,bandwidth_mhz=100,loss=0.1,loss_unit=frame,"
    "loss_model=gilbert_elliott,harq_rtt_ms=0",
]


@st.composite
def frames(draw: st.DrawFn) -> edge_pb2.ActivationFrame:
    """Any header; its payload fits it more often than not, and holds any bits."""
    tokens, hidden = draw(st.integers(1, 9)), draw(st.integers(1, 80))
    dtype = draw(st.sampled_from(sorted(ITEM_BYTES)))
    header = edge_pb2.FrameHeader(
        session_id=draw(st.text(max_size=40)),
        split_version=draw(U64),
        sequence=draw(ODD_U64),
        split=draw(U32),
        window=draw(U32),
        position=draw(U32),
        token_count=tokens,
        task=edge_pb2.TASK_PREFILL,
        dtype=dtype,
        shape=[tokens, hidden],
        stream_offset=draw(st.integers(0, 1000) | ODD_U64),
    )
    rng = np.random.default_rng(draw(U32))
    payload = rng.bytes(tokens * hidden * ITEM_BYTES[dtype])
    if draw(st.booleans()):
        payload = b"\x3c" * len(payload)  # finite in every dtype
    wrong = draw(
        st.sampled_from(["", "", "shape", "count", "dtype", "task", "bytes", "mask", "id"])
    )
    if wrong == "shape":
        header.ClearField("shape")
        header.shape.extend(draw(st.lists(U32, max_size=4)))
    elif wrong == "count":
        header.token_count = draw(U32)
    elif wrong == "dtype":
        header.dtype = draw(st.integers(-(2**31), 2**31 - 1))
    elif wrong == "task":
        header.task = draw(st.integers(-(2**31), 2**31 - 1))
        header.targets.extend(draw(st.lists(U32, max_size=9)))
    elif wrong == "bytes":
        payload = draw(st.binary(max_size=300))
    elif wrong == "mask":
        header.erasure_mask = draw(st.binary(max_size=300))
    return edge_pb2.ActivationFrame(header=header, payload=payload)


@pytest.mark.parametrize("spec", SPECS)
def test_every_frame_gets_a_result_or_a_named_error(spec):
    with (
        echo_process() as (_, edge_address),
        emulator_process(spec, edge_address) as (child, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub = edge_pb2_grpc.EdgeStub(channel)
        seen = {"result": 0, "error": 0}

        @given(st.lists(frames(), min_size=1, max_size=4), U64)
        @settings(
            max_examples=60,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def check(sent: list[edge_pb2.ActivationFrame], stream: int) -> None:
            opening = edge_pb2.OpenSession(session_id=uuid.uuid4().hex, stream=stream)
            requests = [edge_pb2.InferRequest(open=opening)]
            requests += [edge_pb2.InferRequest(frame=frame) for frame in sent]
            try:
                responses = list(stub.Infer(iter(requests), timeout=10))
            except grpc.RpcError as error:
                named = rpc.translate(error, "channel emulator", address)
                assert isinstance(named, AirSplitError)
                assert not isinstance(named, RemoteError | PeerUnavailableError), named
                assert ":" in str(named)
                seen["error"] += 1
            else:
                assert len(responses) == 1 + len(sent)
                seen["result"] += 1

        check()
        assert seen["result"] > 5
        assert seen["error"] > 5
        _lives(child, stub)
        child.terminate()
        _, said = child.communicate(timeout=10)
        assert child.returncode == 0
        assert "Traceback" not in said, said


def test_bytes_that_are_no_message_end_their_call_alone():
    with (
        echo_process() as (_, edge_address),
        emulator_process("ideal", edge_address) as (child, address),
        grpc.insecure_channel(address) as channel,
    ):
        infer = channel.stream_stream("/airsplit.v1.Edge/Infer")
        rng = np.random.default_rng(0)
        for length in (1, 7, 100, 5000):
            with pytest.raises(grpc.RpcError):
                list(infer(iter([b"\xff" + rng.bytes(length)]), timeout=10))
        _lives(child, edge_pb2_grpc.EdgeStub(channel))


def _lives(child, stub) -> None:
    assert child.poll() is None
    assert stub.DescribeEdge(edge_pb2.DescribeEdgeRequest(), timeout=10).sessions == 3
