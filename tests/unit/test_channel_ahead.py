"""What is drawn ahead of a frame is what it would have met, and is used where it can be known."""

import numpy as np
import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import TensorError
from airsplit.v1 import edge_pb2
from channel_emulator import codec, physical
from channel_emulator.physical import FRAMES_AHEAD, PhysicalLayer
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Timeline
from channel_emulator.travel import ONE, Anchor, Travel
from tests.channel_replay import ROWS

HIDDEN = 48
LIVE = {
    "physical,snr_db=6,outage_snr_db=5,clock=live",
    "nakagami,sigma=0.5,clock=live",
    "nakagami,fading=copula,sigma=0.5,clock=live",
}
SPECS = sorted(
    spec for spec in {row.spec for row in ROWS} | LIVE if not parse_channel(spec).is_transparent
)
MS = 1_000_000


def timeline(spec):
    """A channel that changes at token 12 if it is one of replay."""
    config = parse_channel(spec)
    if config.clock == "live":
        return Timeline.of(config)
    return Timeline.compiled([(120 * MS, {"loss": 0.4})], config)


def frames():
    """Decode frames, with chunks, a new window, a jump and another dtype between them."""
    rng = np.random.default_rng(3)
    offset = sequence = 0
    for window, position, tokens, dtype in (
        *((0, i, 1, edge_pb2.DTYPE_FLOAT16) for i in range(5)),
        (0, 5, 3, edge_pb2.DTYPE_FLOAT16),
        *((0, 8 + i, 1, edge_pb2.DTYPE_FLOAT16) for i in range(6)),
        *((1, i, 1, edge_pb2.DTYPE_FLOAT16) for i in range(3)),
        (1, 9, 1, edge_pb2.DTYPE_FLOAT16),
        (1, 10, 1, edge_pb2.DTYPE_FLOAT32),
        (1, 11, 1, edge_pb2.DTYPE_FLOAT32),
    ):
        values = rng.normal(0, 2, (tokens, HIDDEN)).astype(np.float32)
        header = edge_pb2.FrameHeader(
            session_id="s",
            window=window,
            position=position,
            stream_offset=offset,
            sequence=sequence,
            token_count=tokens,
            task=edge_pb2.TASK_PREFILL,
            dtype=dtype,
            shape=[tokens, HIDDEN],
        )
        payload = codec.encode(values, dtype)
        yield edge_pb2.ActivationFrame(header=header, payload=payload)
        offset, sequence = offset + tokens, sequence + 1


def copied(frame):
    return edge_pb2.ActivationFrame.FromString(frame.SerializeToString())


def carried(spec, ahead):
    """The frames as they arrive, and when."""
    session = Session(edge_pb2.OpenSession(session_id="s", stream=2), VirtualClock())
    served = timeline(spec)
    for i, frame in enumerate(frames()):
        due_ns = session.carry_frame(frame, served, i * 7 * MS)
        for _ in range(ahead):
            session.draw_ahead()
        yield frame.SerializeToString(deterministic=True), due_ns


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("spec", SPECS)
def test_a_frame_arrives_as_if_nothing_had_been_drawn_ahead(spec, calls):
    assert list(carried(spec, ahead=calls)) == list(carried(spec, ahead=0))


@pytest.mark.parametrize("dtype", [edge_pb2.DTYPE_FLOAT16, edge_pb2.DTYPE_BFLOAT16])
@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("spec", [x for x in SPECS if Radio(parse_channel(x)).takes_halves])
def test_halves_are_received_as_the_floats_that_they_are(spec, tokens, dtype):
    config = parse_channel(spec)
    radio, place = Radio(config), Place.replay(config, tokens, stream=3, position=12, offset=40)
    values = np.random.default_rng(tokens).normal(0, 2, (tokens, HIDDEN)).astype(np.float32)
    values[:, 5] *= 1e4  # beyond what is encoded, with some noise
    values[tokens // 2, 7] = 1e-7
    sent = codec.encode(values, dtype)
    expected = radio.transmit(codec.decode(sent, dtype, values.shape), place)
    halves = np.frombuffer(sent, np.uint16).reshape(values.shape)
    found = radio.transmit_halves(halves, codec.HALVES[dtype], place)
    assert found.values.tobytes() == codec.encode(expected.values, dtype)
    assert found.truth == expected.truth
    assert found.energy == expected.energy
    for name in ("erased", "transmissions", "rate_bps", "power", "first", "h", "failed"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


@pytest.mark.parametrize("dtype", [edge_pb2.DTYPE_FLOAT16, edge_pb2.DTYPE_BFLOAT16])
@pytest.mark.parametrize("half", [np.inf, -np.inf, np.nan])
def test_halves_that_are_not_finite_are_refused_by_number(half, dtype):
    config = parse_channel("awgn,sigma=0.1")
    values = np.ones((2, 8), np.float32)
    values[1, 3:5] = half
    bits = values.astype(np.float16).view(np.uint16)
    if dtype == edge_pb2.DTYPE_BFLOAT16:
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    with pytest.raises(TensorError, match="2 of 16 values are not finite"):
        Radio(config).transmit_halves(bits, codec.HALVES[dtype], Place.replay(config, 2))


@pytest.mark.parametrize(
    "otherwise",
    [
        {"times_ns": np.array([25 * MS])},
        {"anchor": Anchor(5 * MS, Travel(cycles=ONE // 3, blocks=3 * ONE))},
    ],
)
@pytest.mark.parametrize("fading", ["block", "copula", "sum_of_squares"])
def test_a_process_in_time_is_of_the_time_that_a_frame_comes_at(fading, otherwise):
    config = parse_channel(f"nakagami,fading={fading},m=1.5,sigma=0.1,speed_mps=20,seed=4")
    first, second, *_ = frames()
    place = Place.replay(config, 1, stream=2)
    arrived = []
    for ahead in (1, 0):
        layer = PhysicalLayer()
        layer.transmit(copied(first), first.payload, config, place)
        for _ in range(ahead):
            layer.draw_ahead()
        frame = copied(second)
        layer.transmit(frame, second.payload, config, place.next(config)._replace(**otherwise))
        arrived.append(frame)
    assert arrived[0] == arrived[1]


@pytest.mark.parametrize(
    ("spec", "known"),
    [
        ("nakagami,fading=token,snr_db=20,loss=0.1", True),
        ("nakagami,sigma=0.5,clock=live", True),
        ("nakagami,fading=copula,sigma=0.5", True),
        ("nakagami,fading=copula,sigma=0.5,clock=live", False),  # h depends on when it comes
        ("physical,snr_db=6,outage_snr_db=5,clock=live", False),  # outage on its power
        ("physical,fading=token,snr_db=6,outage_snr_db=5", False),
    ],
)
def test_the_next_decode_frame_finds_its_draws_made_where_they_can_be_known(
    spec, known, monkeypatch
):
    session = Session(edge_pb2.OpenSession(session_id="s", stream=2), VirtualClock())
    served = timeline(spec)
    first, second, *_ = frames()
    session.carry_frame(first, served, 0)
    session.draw_ahead()
    drawn = []

    def counted(function):
        def call(*args):
            drawn.append(function)
            return function(*args)

        return call

    monkeypatch.setattr(Radio, "draw", counted(Radio.draw))
    monkeypatch.setattr(physical, "sound", counted(physical.sound))
    session.carry_frame(second, served, 7 * MS)
    assert (not drawn) == known


@pytest.mark.parametrize(
    ("spec", "hidden", "expected"),
    [
        ("fading=token", HIDDEN, FRAMES_AHEAD),
        ("fading=token", 1 << 14, 2),
        ("fading=token", 1 << 15, 1),
        ("fading=token", 1 << 16, 0),
        ("fading=element", 1 << 12, 2),  # takes longer
        ("fading=frame", HIDDEN, FRAMES_AHEAD),
        ("fading=token,loss_unit=frame", HIDDEN, FRAMES_AHEAD),
    ],
)
def test_so_many_decode_frames_are_drawn_at_once(spec, hidden, expected, monkeypatch):
    config = parse_channel(f"nakagami,{spec},snr_db=20,loss=0.1")
    layer, place = PhysicalLayer(), Place.replay(config, 1)
    frame = edge_pb2.ActivationFrame(payload=b"\x01" * (2 * hidden))
    header = frame.header
    header.token_count, header.dtype = 1, edge_pb2.DTYPE_FLOAT16
    header.shape.extend([1, hidden])
    drawn, sound = [], physical.sound

    def counted(config, draws, at, first):
        drawn.append(at.position)
        return sound(config, draws, at, first)

    monkeypatch.setattr(physical, "sound", counted)  # each frame has pilots
    layer.transmit(copied(frame), frame.payload, config, place)
    layer.draw_ahead()
    assert drawn == [0, *range(1, 1 + expected)]
    for _ in range(expected):
        place = place.next(config)
        layer.transmit(copied(frame), frame.payload, config, place)
        layer.draw_ahead()  # not before all are used
    assert sorted(drawn) == list(range(1 + 2 * expected))


def test_an_outage_by_snr_is_not_drawn_without_a_power():
    radio = Radio(config := parse_channel("physical,fading=token,snr_db=6,outage_snr_db=5"))
    with pytest.raises(ValueError, match="power"):
        radio.draw(Place.replay(config, 1), (1, HIDDEN))
    with pytest.raises(ValueError, match="power"):
        radio.draw_each(Place.replay(config, 2), HIDDEN)
