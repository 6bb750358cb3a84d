"""What replay guarantees, per impairment, and how it is observed.

The table of docs/channel.md is rendered from ROWS by `tests.channel_docs`. Each cell has a golden
hash of what is really cut, ordered or accompanied otherwise: with a yes that of the first column,
with a no another one. `tests/property/test_channel_replay.py` holds them for any cuts and orders.
After a change of the draws that is meant, write the hashes anew:

    python -m tests.channel_replay
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from airsplit.clock import VirtualClock
from airsplit.v1 import edge_pb2
from channel_emulator import codec
from channel_emulator.delay import delay_ns
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.rate_trace import RateTrace
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Snapshot, Timeline

GOLDEN = Path(__file__).parent / "unit" / "channel_golden.json"

TOKENS, HIDDEN, ITEM_BYTES = 48, 96, 2
WHOLE = [(0, TOKENS)]
CUT = [(0, 1), (1, 8), (8, 19), (19, 20), (20, 40), (40, TOKENS)]

OTHERWISE_CUT = [(0, 5), (5, 6), (6, 7), (7, 30), (30, 31), (31, 47), (47, TOKENS)]
REORDERED = [CUT[i] for i in (2, 5, 0, 4, 1, 3)]

RUNS = "runs"
CUTS = "chunkings"
ORDER = "frame order"
SESSIONS = "concurrent sessions"
CELLS = RUNS, CUTS, ORDER, SESSIONS

Frame = tuple[int, int]
"""First token of a frame, and the one after its last."""

Bits = NDArray[np.uint8]
"""What was observed of each token, as bytes: [tokens, bytes]."""


@dataclass(frozen=True, slots=True)
class Row:
    """One impairment, with a channel that does little else."""

    name: str
    spec: str
    observe: Callable[[str, int, Sequence[Frame]], Bits]
    """Spec, stream and frames in the order of sending to the bits of each token."""

    no: tuple[str, ...] = ()
    """What changes the bits."""

    why: str = ""


def values_of(stream: int) -> NDArray[np.float32]:
    values = np.random.default_rng(stream).normal(0, 2, (TOKENS, HIDDEN)).astype(np.float32)
    values[:, 3] *= 40  # hidden states have outliers
    return values


def by_radio(spec: str, stream: int, frames: Sequence[Frame]) -> Bits:
    """Received payload, mask, copies and rate."""
    return through(Radio(parse_channel(spec)), stream, frames)


def through(radio: Radio, stream: int, frames: Sequence[Frame]) -> Bits:
    """Frames of one stream, sent in this order. A frame's number is its place in the stream."""
    values, numbers = values_of(stream), {frame: i for i, frame in enumerate(sorted(frames))}
    bits = {}
    for frame in frames:
        first, last = frame
        place = Place.replay(
            radio.config, last - first, stream=stream, position=first, sequence=numbers[frame]
        )
        received = radio.transmit(values[first:last], place, item_bytes=ITEM_BYTES)
        erased = received.erased
        if erased is None:
            erased = np.zeros((last - first, HIDDEN), dtype=np.bool_)
        rate = np.zeros(last - first) if received.rate_bps is None else received.rate_bps
        columns = (
            np.ascontiguousarray(received.values, dtype="<f4").view(np.uint8),
            np.packbits(erased, axis=1),
            received.transmissions[:, None].astype(np.uint8),
            # Whole bit/s: the last bits of a logarithm differ between machines.
            np.rint(rate)[:, None].astype("<i8").view(np.uint8),
        )
        bits[first] = np.concatenate(columns, axis=1)
    return np.concatenate([bits[first] for first in sorted(bits)])


def by_session(*fields: str, trace: RateTrace | None = None) -> Callable[..., Bits]:
    """Fields of the reports of a session's frames, those of a frame for each of its tokens."""

    def observe(spec: str, stream: int, frames: Sequence[Frame], pace_ns: int = 1_000_000) -> Bits:
        """`pace_ns`: wall time from one token to the next."""
        timeline = Timeline((0,), (Snapshot(parse_channel(spec), 1),), uplink=trace)
        opened = edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=stream)
        session = Session(opened, VirtualClock())
        values, numbers = values_of(stream), {frame: i for i, frame in enumerate(sorted(frames))}
        bits = {}
        for first, last in frames:
            frame = message(values[first:last], first, numbers[first, last])
            session.carry_frame(frame, timeline, first * pace_ns)
            found: list[float] = []
            for field in fields:
                value = frame.header.channel
                for name in field.split("."):
                    value = getattr(value, name)
                found.append(float(f"{value:.6g}"))
            row = np.array(found, dtype="<f8").view(np.uint8)
            bits[first] = np.repeat(row[None], last - first, axis=0)
        return np.concatenate([bits[first] for first in sorted(bits)])

    return observe


def by_change(spec: str, stream: int, frames: Sequence[Frame], pace_ns: int = 1_000_000) -> Bits:
    """Received payload and mask of a session that speeds up, and then meets another fading."""
    changes: list[tuple[int, dict[str, object]]] = [
        (200_000_000, {"speed_mps": 14.0}),  # at token 20
        (400_000_000, {"m": 3.0, "speed_mps": 0.2}),
    ]
    timeline = Timeline.compiled(changes, parse_channel(spec))
    opened = edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=stream)
    session = Session(opened, VirtualClock())
    values, numbers = values_of(stream), {frame: i for i, frame in enumerate(sorted(frames))}
    bits = {}
    for first, last in frames:
        frame = message(values[first:last], first, numbers[first, last])
        session.carry_frame(frame, timeline, first * pace_ns)
        shape = last - first, HIDDEN
        erased = codec.decode_mask(frame.header.erasure_mask, shape)
        payload = np.frombuffer(frame.payload, dtype=np.uint8).reshape(len(erased), -1)
        bits[first] = np.concatenate([payload, np.packbits(erased, axis=1)], axis=1)
    return np.concatenate([bits[first] for first in sorted(bits)])


def by_jitter(spec: str, stream: int, frames: Sequence[Frame]) -> Bits:
    """The delay that is drawn for each frame."""
    config = parse_channel(spec)
    draws = Draws(config.seed, stream, Direction.UPLINK)
    drawn = {
        first: delay_ns(config, draws, Direction.UPLINK, Purpose.JITTER, 0, first)
        for first, _ in frames
    }
    each = [
        (drawn[first] + 500) // 1000 for first, last in sorted(frames) for _ in range(first, last)
    ]
    return np.array(each, dtype="<i8")[:, None].view(np.uint8)


def message(values: NDArray[np.float32], position: int, number: int) -> edge_pb2.ActivationFrame:
    header = edge_pb2.FrameHeader(
        session_id="s",
        sequence=number,
        position=position,
        stream_offset=position,
        token_count=len(values),
        task=edge_pb2.TASK_PREFILL,
        dtype=edge_pb2.DTYPE_FLOAT16,
        shape=list(values.shape),
    )
    payload = codec.encode(values, edge_pb2.DTYPE_FLOAT16)
    return edge_pb2.ActivationFrame(header=header, payload=payload)


_TRACE = RateTrace.of([0, 5_000_000, 20_000_000, 60_000_000], [0, 30_000, 40_000, 90_000], False)

_QUEUE = "what waits depends on which frames came before"
_ONE_VERSION = "a frame is served by one version, and none by an older one than the frame before"
_FRAME_DRAW = "one draw a frame, keyed by its first token"

ROWS = (
    Row("`fading=element`", "nakagami,sigma=0,h_th=0.3", by_radio),
    Row("`fading=token`", "nakagami,sigma=0,h_th=0.3,fading=token,m=2.5", by_radio),
    Row("`fading=frame`", "nakagami,sigma=0,h_th=0.3,fading=frame", by_radio, (CUTS,), _FRAME_DRAW),
    Row("`fading=block`", "nakagami,sigma=0,h_th=0.3,fading=block,coherence_ms=15", by_radio),
    Row("`fading=copula`", "nakagami,sigma=0,h_th=0.3,fading=copula,m=2.5", by_radio),
    Row("`fading=sum_of_squares`", "nakagami,sigma=0,fading=sum_of_squares,m=1.5", by_radio),
    Row("noise, `sigma`", "awgn,sigma=0.5", by_radio),
    Row("noise, `power_reference=token`", "awgn,snr_db=10", by_radio),
    Row("noise, `power_reference=inliers`", "awgn,snr_db=10,power_reference=inliers", by_radio),
    Row(
        "noise, `power_reference=tensor`",
        "awgn,snr_db=10,power_reference=tensor",
        by_radio,
        (CUTS,),
        "the mean square is the frame's",
    ),
    Row("`loss_unit=element`", "erasure,loss=0.3", by_radio),
    Row("`loss_unit=token`", "erasure,loss=0.3,loss_unit=token", by_radio),
    Row("`loss_unit=packet`", "erasure,loss=0.3,loss_unit=packet,packet_bytes=200", by_radio),
    Row(
        "`loss_unit=frame`",
        "erasure,loss=0.3,loss_unit=frame",
        by_radio,
        (CUTS,),
        "one draw a frame, keyed by its number",
    ),
    *(
        Row(f"Gilbert-Elliott, {unit}", f"{_GE},loss_unit={unit}{size}", by_radio)
        for _GE in ["erasure,loss=0.3,loss_model=gilbert_elliott,burst_length=3"]
        for unit, size in (("element", ""), ("token", ""), ("packet", ",packet_bytes=200"))
    ),
    Row(
        "Gilbert-Elliott, frame",
        "erasure,loss=0.3,loss_model=gilbert_elliott,burst_length=3,loss_unit=frame",
        by_radio,
        (CUTS,),
        "the chain steps with each frame",
    ),
    Row(
        "`equalizer=zero_forcing`",
        "nakagami,fading=block,coherence_ms=15,h_th=0.3,equalizer=zero_forcing",
        by_radio,
    ),
    Row(
        "changes at stated times",
        "nakagami,sigma=0.1,h_th=0.3,fading=copula,m=2",
        by_change,
        (CUTS, ORDER),
        _ONE_VERSION,
    ),
    Row(
        "changes at stated times, `fading=block`",
        "nakagami,sigma=0.1,h_th=0.3,fading=block,m=2",
        by_change,
        (CUTS, ORDER),
        _ONE_VERSION,
    ),
    Row("HARQ and rate", "physical,snr_db=6,outage_snr_db=5", by_radio),
    Row(
        "HARQ, `fading=frame`",
        "physical,fading=frame,snr_db=6,outage_snr_db=5",
        by_radio,
        (CUTS,),
        _FRAME_DRAW,
    ),
    Row(
        "jitter",
        "ideal,delay_ms=20,jitter_ms=5",
        by_jitter,
        (CUTS,),
        _FRAME_DRAW + "; waiting for a predecessor that is later still is on the wall clock",
    ),
    Row(
        "airtime",
        "physical,snr_db=6,outage_snr_db=5",
        by_session("airtime_ns", "transmissions"),
        (CUTS,),
        "it is the frame's",
    ),
    Row(
        "rate trace",
        "awgn,sigma=0.5",
        by_session("airtime_ns", trace=_TRACE),
        (CUTS, ORDER),
        _QUEUE,
    ),
    Row(
        "`queue_policy=drop`",
        "awgn,sigma=0.5,rate_mbps=0.05,queue_kib=2,queue_policy=drop",
        by_session("dropped"),
        (CUTS, ORDER),
        _QUEUE,
    ),
    Row(
        "the receiver's estimate",
        "nakagami,sigma=0.5,m=2",
        by_session("estimate.sigma", "estimate.m", "estimate.loss"),
        (CUTS, ORDER),
        "pilots are a frame's, and it is over the last frames",
    ),
)


def fingerprint(bits: Bits) -> str:
    return blake2b(bits.tobytes(), digest_size=16).hexdigest()


def observed(row: Row, cell: str) -> Bits:
    """What arrives of streams 1 and 2^63: in the frames of CUT, or as the cell says."""
    spec = row.spec + ",seed=7"
    frames = {CUTS: OTHERWISE_CUT, ORDER: REORDERED}.get(cell, CUT)
    streams = [1, 2**63]
    if cell != SESSIONS:
        return np.concatenate([row.observe(spec, stream, frames) for stream in streams])
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda stream: row.observe(spec, stream, frames), [*streams, 2, 3])
        return np.concatenate(list(found)[: len(streams)])


def golden() -> dict[str, dict[str, str]]:
    """Of each row and cell."""
    return {row.name: {cell: fingerprint(observed(row, cell)) for cell in CELLS} for row in ROWS}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n", encoding="utf-8")
