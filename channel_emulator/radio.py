"""The radio itself: float values in, what the receiver has out. No socket, no clock, no order.

A token's draws depend on (seed, stream, direction, window, position) alone, so that the same
context meets the same channel however it is cut into calls, in whatever order they are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import TensorError
from airsplit.v1 import channel_pb2
from channel_emulator import harq, loss, noise
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource, Floats, Times
from channel_emulator.knobs import Equalizer
from channel_emulator.truth import TRANSPARENT, measure

_MAX_STREAMS = 256


@dataclass(frozen=True, slots=True)
class Received:
    """What one call of `transmit` came to."""

    values: Floats
    """[tokens, hidden], zero where erased."""

    erased: NDArray[np.bool_] | None
    """[tokens, hidden]; None: nothing is erased."""

    truth: channel_pb2.ChannelTruth

    transmissions: NDArray[np.int64]
    """[tokens]: copies sent of each."""

    rate_bps: NDArray[np.float64] | None
    """[tokens]: rate of each token's fade; None where the configured rate applies."""

    power: NDArray[np.float64]
    """[tokens]: mean square of the values that were sent."""

    h: Floats
    """Amplitude after combining: [tokens, 1], or [tokens, hidden] where elements fade alone."""

    failed: NDArray[np.bool_]
    """Not enough was received, whatever `loss` did besides; as `h`."""


class Radio:
    """One channel, for any number of streams. Not for two threads at a time.

    >>> radio = Radio(parse_channel("nakagami,sigma=0.5,seed=7"))
    >>> received = radio.transmit(
    ...     values, stream=1, window=0, position=0, times_ns=radio.replay_times_ns(0, len(values))
    ... )
    """

    def __init__(self, config: ChannelConfig) -> None:
        self.config = config
        self._draws: dict[tuple[int, Direction], Draws] = {}

    def draws(self, stream: int, direction: Direction = Direction.UPLINK) -> Draws:
        """The random draws of one stream in one direction."""
        key = stream, direction
        if key not in self._draws:
            if len(self._draws) == _MAX_STREAMS:  # they hold nothing that cannot be made again
                self._draws.clear()
            self._draws[key] = Draws(self.config.seed, stream, direction)
        return self._draws[key]

    def replay_times_ns(self, first: int, tokens: int) -> Times:
        """Radio times [tokens] of `tokens` tokens of a stream that sent `first` before."""
        interval_ns = round(self.config.token_interval_ms * 1e6)
        return np.arange(first, first + tokens, dtype=np.int64) * interval_ns

    def transmit(
        self,
        values: Floats,
        *,
        stream: int,
        window: int,
        position: int,
        times_ns: Times,
        direction: Direction = Direction.UPLINK,
    ) -> Received:
        """Sends the tokens at `position`, `position` + 1, ... of a window.

        Args:
            values: float32 [tokens, hidden]; not changed, and returned itself by a channel that
                does nothing to it.
            stream: key of the session's draws, chosen by the client.
            window: number of the context within the session.
            position: absolute index of the first token in its context.
            times_ns: radio time of each token, int64 [tokens]; decides on the fading block.

        Raises:
            TensorError: `values` holds a NaN or an infinity.
        """
        tokens, hidden = values.shape
        if self.config.is_transparent:
            ones = np.ones((tokens, 1), dtype=np.float32)
            return Received(
                values=values,
                erased=None,
                truth=TRANSPARENT,
                transmissions=np.ones(tokens, dtype=np.int64),
                rate_bps=None,
                power=np.full(tokens, math.nan),
                h=ones,
                failed=ones == 0,
            )
        if not np.isfinite(values).all():
            count = values.size - int(np.isfinite(values).sum())
            raise TensorError(f"payload: {count} of {values.size} values are not finite")
        draws = self.draws(stream, direction)
        power = noise.token_power(values)
        source = FadingSource(self.config, draws)
        with np.errstate(over="ignore"):  # an infinite SNR is one, and the codec saturates
            snr = noise.mean_snr(self.config, power)
            faded = harq.combine(
                lambda attempt: source.amplitudes(window, position, times_ns, hidden, attempt),
                lambda gain: self._is_enough(gain, snr),
                self.config.harq_transmissions,
            )
            erased = self._erased(draws, window, position, (tokens, hidden), faded.failed)
            added = self._noise(draws, window, position, (tokens, hidden), power, faded)
            received = self._receive(values, faded.h, added, erased)
            truth = measure(values, received, erased, added, faded.first)
        return Received(
            values=received,
            erased=erased,
            truth=truth,
            transmissions=faded.transmissions,
            rate_bps=self._rate_bps(faded.first, snr),
            power=power,
            h=faded.h,
            failed=faded.failed,
        )

    def _is_enough(self, gain: Floats, snr: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether Σh² is received: neither below h_th nor, per token, below the outage SNR."""
        enough: NDArray[np.bool_] = gain >= self.config.h_th**2
        if self.config.outage_snr_db is not None:
            enough &= gain * snr[:, None] >= 10 ** (self.config.outage_snr_db / 10)
        return enough

    def _noise(
        self,
        draws: Draws,
        window: int,
        position: int,
        shape: tuple[int, int],
        power: NDArray[np.float64],
        faded: harq.Combined,
    ) -> Floats | None:
        """Noise on the values that the receiver ends up with: σ n, after zero forcing σ n / h."""
        if not self.config.has_noise:
            return None
        unit = noise.standard_normal(draws, window, position, shape)
        unit *= noise.noise_std(self.config, power).astype(np.float32)[:, None]
        if self.config.equalizer is Equalizer.ZERO_FORCING:
            unit /= np.where(faded.failed, np.float32(1), faded.h)
        return unit

    def _receive(
        self,
        values: Floats,
        h: Floats,
        added: Floats | None,
        erased: NDArray[np.bool_] | None,
    ) -> Floats:
        received = values.copy() if self.config.equalizer is Equalizer.ZERO_FORCING else values * h
        if added is not None:
            received += added
        if erased is not None:
            received[erased] = 0
        return received

    def _erased(
        self,
        draws: Draws,
        window: int,
        position: int,
        shape: tuple[int, int],
        failed: NDArray[np.bool_],
    ) -> NDArray[np.bool_] | None:
        if self.config.loss:
            erased = loss.erased_elements(draws, window, position, shape, self.config.loss)
            erased |= failed
        elif failed.any():
            erased = np.broadcast_to(failed, shape)
        else:
            return None
        return erased if erased.any() else None

    def _rate_bps(self, h: Floats, snr: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """B log2(1 + γ), and for a fade in outage the rate of the outage SNR (Shannon 1948)."""
        if self.config.bandwidth_mhz is None or self.config.outage_snr_db is None:
            return None
        lowest = 10 ** (self.config.outage_snr_db / 10)
        gamma = np.maximum(np.square(h[:, 0], dtype=np.float64) * snr, lowest)
        rate: NDArray[np.float64] = self.config.bandwidth_mhz * 1e6 * np.log2(1 + gamma)
        return rate
