"""What holds for every channel and every frame."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airsplit.clock import VirtualClock
from airsplit.errors import AirSplitError, FrameError, InputError
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator import airtime, codec, wire
from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.knobs import Choice, Equalizer, Fading, LossUnit, PowerReference
from channel_emulator.pilots import Estimator, sound, sound_tokens
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Timeline


def knob_values(name: str) -> st.SearchStrategy[object]:
    allowed = ALLOWED[name]
    if isinstance(allowed, Choice):
        return st.sampled_from(list(allowed.kind))
    if allowed.integer:
        return st.integers(int(allowed.low), int(allowed.high))
    return st.floats(allowed.low, allowed.high, allow_nan=False)


@st.composite
def channels(draw: st.DrawFn) -> ChannelConfig:
    """Any channel that is allowed: a preset, with knobs changed one by one where they may be."""
    config = PRESETS[draw(st.sampled_from(sorted(PRESETS)))]
    for name in draw(st.lists(st.sampled_from(sorted(ALLOWED)), unique=True)):
        with contextlib.suppress(InputError):
            config = config.changed({name: draw(knob_values(name))})
    return config


def error_of(action: Callable[[], object]) -> Exception | None:
    """The named error that an action ends in; any other one is the test's failure."""
    try:
        action()
    except AirSplitError as error:
        return error
    return None


values = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.integers(1, 5), st.integers(1, 40), st.floats(0, 1e4)).map(
        lambda shape: (np.random.default_rng(seed).normal(0, 1, shape[:2]) * shape[2]).astype(
            np.float32
        )
    )
)


@settings(max_examples=150, deadline=None)
@given(channels(), values, st.integers(0, 2**20), st.integers(0, 2**32 - 1))
def test_every_channel_gives_back_numbers_of_the_same_shape(config, sent, position, window):
    place = Place.replay(config, len(sent), stream=1, window=window, position=position)
    radio = Radio(config)
    received = radio.transmit(sent, place)
    assert received.values.shape == sent.shape
    assert received.values.dtype == np.float32
    assert not np.isnan(received.values).any()
    assert received.transmissions.shape == (len(sent),)
    assert (received.transmissions >= 1).all()
    assert (received.transmissions <= config.harq_transmissions).all()
    if received.erased is not None:
        assert received.erased.shape == sent.shape
        assert received.erased.any()
        assert not received.values[received.erased].any()
        assert received.truth.loss == pytest.approx(received.erased.mean())
    else:
        assert received.truth.loss == 0
    if config.is_transparent:
        np.testing.assert_array_equal(received.values, sent)
    assert airtime.frame_load(config, sent.nbytes, received).airtime_ns >= 0
    for direction in Direction:
        assert airtime.reliable(config, direction).load(sent.nbytes).airtime_ns >= 0
    draws = radio.draws(1)
    pilots = sound(config, draws, place)
    token_pilots = sound_tokens(config, draws, place, received)
    estimate = Estimator().observe(config, pilots, token_pilots, received)
    assert estimate.sigma >= 0 or config.equalizer is Equalizer.ZERO_FORCING


def is_of_frames(config: ChannelConfig) -> bool:
    """Whether a frame as a whole decides on what its values meet."""
    return (
        config.fading is Fading.FRAME
        or (config.loss > 0 and config.loss_unit is LossUnit.FRAME)
        or (config.snr_db is not None and config.power_reference is PowerReference.TENSOR)
    )


@settings(max_examples=60, deadline=None)
@given(
    channels().filter(lambda config: not is_of_frames(config)),
    values,
    st.integers(0, 100),
    st.data(),
)
def test_chunks_meet_the_same_channel(config, sent, position, data):
    def send(start: int, stop: int) -> np.ndarray:
        place = Place.replay(config, stop - start, stream=1, position=position + start)
        return Radio(config).transmit(sent[start:stop], place).values

    cut = data.draw(st.integers(1, len(sent)))
    parts = [send(start, stop) for start, stop in [(0, cut), (cut, len(sent))] if start < stop]
    np.testing.assert_array_equal(np.concatenate(parts), send(0, len(sent)))


@settings(max_examples=150, deadline=None)
@given(channels())
def test_a_channel_survives_protobuf_and_its_own_words(config):
    assert wire.from_proto(wire.to_proto(config)) == config
    assert ChannelConfig(**config.to_dict()) == config


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"(nakagami|awgn|ideal)(,[a-z_]+=[-+0-9.einfa]+)*"))
def test_any_text_is_a_channel_or_one_line(text):
    error = error_of(lambda: parse_channel(text))
    assert error is None or (type(error) is InputError and "\n" not in str(error))


small = st.integers(0, 6)
headers = st.builds(
    edge_pb2.FrameHeader,
    window=st.integers(0, 2**32 - 1),
    position=st.integers(0, 2**32 - 1),
    stream_offset=st.integers(0, 2**64 - 1) | small,
    sequence=st.integers(0, 2**64 - 1) | small,
    token_count=small,
    task=st.integers(0, 4),
    dtype=st.integers(0, 4),
    shape=st.lists(small, max_size=3) | st.tuples(small, small).map(list),
    targets=st.lists(small, max_size=4),
    erasure_mask=st.binary(max_size=4),
)


@st.composite
def frames(draw: st.DrawFn) -> edge_pb2.ActivationFrame:
    header = draw(headers)
    if draw(st.booleans()):  # one that fits itself, whatever its numbers are
        header.shape[:] = [header.token_count, draw(small)]
        header.task, header.targets[:] = edge_pb2.TASK_PREFILL, []
        header.ClearField("erasure_mask")
    size = int(np.prod(header.shape)) * (4 if header.dtype == edge_pb2.DTYPE_FLOAT32 else 2)
    payload = draw(st.binary(min_size=size, max_size=size) | st.binary(max_size=64))
    return edge_pb2.ActivationFrame(header=header, payload=payload)


SPECS = [
    "ideal",
    "awgn,clock=live",
    "nakagami",
    "physical,snr_db=200",
    "awgn,loss=0.1,loss_unit=packet,packet_bytes=8",
    "awgn,snr_db=0,power_reference=inliers,loss=0.1,loss_model=gilbert_elliott,clock=live",
]


@settings(max_examples=300, deadline=None)
@given(frames(), st.sampled_from(SPECS))
def test_every_frame_passes_or_is_named(frame, spec):
    session = Session(edge_pb2.OpenSession(session_id="s"), VirtualClock())
    before = frame.payload
    timeline = Timeline.of(parse_channel(spec))
    error = error_of(lambda: session.carry_frame(frame, timeline, 0))
    if error is not None:
        assert isinstance(error, FrameError)
        assert "\n" not in str(error)
        assert session.frames == 0
        assert frame.payload == before
    else:
        assert len(frame.payload) == len(before)
        shape = (frame.header.shape[0], frame.header.shape[1])
        if spec != "ideal":
            assert np.isfinite(codec.decode(frame.payload, frame.header.dtype, shape)).all()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_that_are_a_configuration_are_taken_or_named(data):
    try:
        message = channel_pb2.ChannelConfig.FromString(data)
    except Exception:  # not protobuf: gRPC refuses it
        return
    error = error_of(lambda: wire.updated(PRESETS["nakagami"], message))
    assert error is None or type(error) is InputError
