"""What the receiver knows: pilots through the same radio, and estimates from them.

Each frame carries BLOCKS x PILOTS unit pilots, y = h + σ n. Where elements or tokens fade alone, so
does each block of pilots; where h is held, or is a process in time, all pilots of a frame meet the
one h of its first token. The receiver sees the amplitude of a pilot also below the threshold: that
is how it knows to erase the data.

Where a receiver divides by h, it has to know it: each token has PILOTS pilots of its own, repeated
and combined with every copy of it. They meet the token's combined amplitude H under the same noise.
With which tokens it gave up, that tells the noise on the values that it delivers: σ̂² <1/Ĥ²>.

Of the k pilots that meet one h, ĥ = mean(y) has noise of variance s = σ̂²/k, σ̂² the variance about
their means. <ĥ²>, <ĥ⁴> and <ln ĥ²> give Ω̂ and m̂: `estimators.nakagami`. What cannot be told is NaN
and never a guess; where h is held, that takes many coherence times to end.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.fading import FadingSource, Floats, nakagami
from channel_emulator.kernels import measurements
from channel_emulator.knobs import Equalizer, Fading
from channel_emulator.place import Place
from channel_emulator.received import Received
from channel_emulator.travel import ONE, Travel

BLOCKS = 16
"""Blocks of pilots in a frame."""

PILOTS = 8
"""Unit pilots in a block."""

FRAMES = 64
"""Recent frames that estimates of h and of loss are made of: they need many draws."""

MOST_FRAMES = 512
"""Frames that estimates of h go back where h is held, if FADES fades take as many."""

FADES = 64
"""Independent fades that they are made of, where h is held."""

NOISE_FRAMES = 8
"""Newest frames that σ and SNR are made of, of those that tell of them: after a change of the
channel they are right again within as many. A frame has BLOCKS (PILOTS - 1) = 112 degrees of
freedom or more, so eight give σ to 2.4 % (1/√(2 · 896)). SNR also needs the received power, which
values that vary and fade give less well: single tokens of 192 normal values that fade alone to
0.3 dB."""

_WINDOWS = FRAMES, FADES, NOISE_FRAMES

_TINY = 1e-38
"""A gain of exactly zero has no logarithm: the least normal float32 stands for it."""

_UNFADED = np.ones(BLOCKS, dtype=np.float32)

PERFECT = channel_pb2.ChannelEstimate(sigma=0.0, m=math.inf, omega=1.0, loss=0.0, snr_db=math.inf)
"""Of a channel that does nothing to values."""


class Pilots(NamedTuple):
    """The pilots of one frame."""

    received: NDArray[np.float64]
    """[fades, pilots], in units of the pilots' amplitude: a row met one h."""

    fade: int | None
    """Which independent fade the frame met: those of one number are one. None: each row its own."""

    moments: NDArray[np.float64]
    """<ĥ²>, <ĥ⁴>, <ln ĥ²> of the rows and s, the variance of the noise of an ĥ: [4]."""

    within: float
    """Variance of the noise of a pilot."""


def sound(config: ChannelConfig, draws: Draws, place: Place, first: Floats | None = None) -> Pilots:
    """The pilots of the frame at `place` as received.

    With an SNR pilots have the power of the payload, so that their noise is 10^(-SNR/20); else
    their amplitude is 1.

    Args:
        first: `Received.first` of the frame, if it is at hand; else it is made again.
    """
    window, position = place.window, place.position
    fade = _fade(config, place)
    if config.fading is Fading.NONE:
        h = _UNFADED
    elif fade is None:
        generator = draws.at(Purpose.PILOT_FADING, window, position)
        h = nakagami(generator, config.m, config.omega, BLOCKS)
    else:
        if first is None:
            first = FadingSource(config, draws).amplitudes(place, hidden=1)
        h = first[0]
    noise = draws.normal(Purpose.PILOT_NOISE, window, position, (1, BLOCKS * PILOTS))
    received = np.empty((BLOCKS, PILOTS) if fade is None else (1, BLOCKS * PILOTS))
    moments = np.empty(4)
    within = measurements.pilots(noise, _pilot_std(config), h, _TINY, received, moments)
    return Pilots(received, fade, moments, within)


def _fade(config: ChannelConfig, place: Place) -> int | None:
    """See `Pilots.fade`. Fades of a process in time count as independent after two coherence times.

    The variance of a mean over T of a process whose power correlates as J0² is that of T/(2 T_c)
    independent fades within 20 %, from T = 20 T_c to 200 T_c.
    """
    if config.fading in (Fading.NONE, Fading.ELEMENT, Fading.TOKEN):
        return None
    if config.fading is Fading.FRAME:
        return place.offset
    anchor = place.anchor
    time_ns = max(int(place.times_ns[0]), anchor.time_ns)  # what comes late counts as the anchor's
    times = 1 if config.fading is Fading.BLOCK else 2
    return anchor.at(time_ns, Travel.per_ns(config)).blocks // (times * ONE)


def sound_tokens(
    config: ChannelConfig, draws: Draws, place: Place, received: Received
) -> NDArray[np.float64] | None:
    """Ĥ of each token of a frame, [tokens]: its combined amplitude as its own pilots tell it.

    None where no receiver needs it (nothing is equalised), or where elements fade alone.
    """
    if config.equalizer is not Equalizer.ZERO_FORCING or config.fading is Fading.ELEMENT:
        return None
    generator = draws.at(Purpose.TOKEN_PILOT_NOISE, place.window, place.position)
    noise = generator.standard_normal(len(received.h))
    noise *= _pilot_std(config) / math.sqrt(PILOTS)
    noise += received.h[:, 0]
    return noise


def _pilot_std(config: ChannelConfig) -> float:
    """Noise of one pilot, in units of the pilots' amplitude."""
    return 10 ** (-config.snr_db / 20) if config.snr_db is not None else config.sigma or 0.0


class Estimator:
    """Estimates of one session's channel, from sums over each of its last frames."""

    def __init__(self) -> None:
        # A row is a frame: see `measurements.estimate`. The newest ends at `_end`; the first half
        # is where they move when the second is full.
        self._sums = np.zeros((2 * MOST_FRAMES, 10))
        self._end = 0
        self._count = 0
        self._fade: int | None = None

    def reset(self) -> None:
        """Forgets: nothing was learnt from frames that met no radio."""
        self._end = self._count = 0
        self._fade = None

    def observe(
        self,
        config: ChannelConfig,
        pilots: Pilots,
        token_pilots: NDArray[np.float64] | None,
        received: Received,
    ) -> channel_pb2.ChannelEstimate:
        """Takes in one frame; what is known of the channel now.

        Args:
            pilots: from `sound`.
            token_pilots: from `sound_tokens`.
            received: what is used of it is what the receiver has: values, mask, which tokens it
                gave up, and the power that they were sent with.
        """
        if self._end == len(self._sums):
            self._end = MOST_FRAMES
            self._sums[:MOST_FRAMES] = self._sums[MOST_FRAMES:]
        arrived = _arrived(received)
        noise, telling = _noise(config, pilots, token_pilots, received, arrived)
        frame = (
            float(len(pilots.received) if pilots.fade is None else pilots.fade != self._fade),
            noise,
            telling,
            received.energy,
            float(arrived if isinstance(arrived, int) else np.add.reduce(arrived)),
            float(received.values.size),
        )
        self._end += 1
        self._count = min(self._count + 1, MOST_FRAMES)
        last = self._end, self._count, pilots.fade is not None
        self._fade = pilots.fade
        sigma, m, omega, loss, snr_db = measurements.estimate(
            self._sums, pilots.moments, frame, *last, *_WINDOWS
        )
        return channel_pb2.ChannelEstimate(sigma=sigma, m=m, omega=omega, loss=loss, snr_db=snr_db)


def _arrived(received: Received) -> int | NDArray[np.int64]:
    """Elements that arrived: of each token, or one number where there is one token or no loss."""
    values, erased = received.values, received.erased
    if erased is None:
        return values.size
    if len(values) == 1:
        return values.size - round(received.truth.loss * values.size)
    lost: NDArray[np.int64] = np.bitwise_count(np.packbits(erased, axis=1)).sum(1, dtype=np.int64)
    return np.subtract(values.shape[1], lost, dtype=np.int64)


def _noise(
    config: ChannelConfig,
    pilots: Pilots,
    token_pilots: NDArray[np.float64] | None,
    received: Received,
    arrived: int | NDArray[np.int64],
) -> tuple[float, float]:
    """Σ over elements that arrived of the variance of the noise on them, and their number.

    Without an equaliser a frame that is lost tells of the noise too: as much as one element.
    """
    tokens, within = len(received.values), pilots.within
    if tokens == 1 and config.equalizer is not Equalizer.ZERO_FORCING:
        # A decode frame: Python's numbers are quicker than arrays of one.
        count = float(arrived) or 1.0
        power = float(received.power[0]) if config.snr_db is not None else 1.0
        return within * (count * power), count
    weights = np.full(tokens, arrived / tokens) if isinstance(arrived, int) else arrived
    scale = 1.0
    if config.equalizer is not Equalizer.ZERO_FORCING:
        if not weights.any():
            weights = np.ones(tokens) / tokens
    elif token_pilots is not None:
        inverse = 1 / (np.square(token_pilots) + (3 * within / PILOTS + _TINY))
        weights, count = weights * inverse, float(weights.sum())
        total = weights @ received.power if config.snr_db is not None else weights.sum()
        return within * float(total), count
    else:
        gain = np.square(pilots.received.mean(axis=1))
        strong = gain[gain >= config.threshold**2]
        if not strong.size:
            return 0.0, 0.0
        scale = float((1 / (strong + 3 * within / PILOTS)).mean())
    count = float(weights.sum())
    total = weights @ received.power if config.snr_db is not None else count
    return within * scale * float(total), count
