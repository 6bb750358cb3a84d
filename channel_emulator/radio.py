"""The radio itself: float values in, what the receiver has out. No socket, no clock, no order.

All that a frame meets follows from the configuration and its `Place`. So the same place meets the
same channel, in whatever order calls are made and, where no draw or power is one of the frame as a
whole, however a stream is cut into them.
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
from channel_emulator.draws import QUANTILES, Direction, Draws, Purpose
from channel_emulator.fading import FadingSource, Floats
from channel_emulator.kernels import elements, sums
from channel_emulator.knobs import Equalizer, Fading
from channel_emulator.place import Place
from channel_emulator.rate import rate_bps
from channel_emulator.truth import TRANSPARENT, measure

_MAX_STREAMS = 256
_NO_FLOATS = np.empty((0, 0), dtype=np.float32)
_NO_BOOLS = np.empty((0, 0), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a frame meets, whatever its values are."""

    faded: harq.Combined

    erased: NDArray[np.bool_] | None
    """[tokens, hidden], or 1 where an axis is erased as a whole; None: nothing is."""

    loss: float
    """Share of the elements that are erased."""

    mean_gain: float
    """Of the first copy's amplitudes."""

    normals: Floats
    """[1, hidden] of a single token's noise. Of more they are [0, hidden]: the kernel draws them a
    token at a time, which stay in a core's cache."""


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
    """[tokens]: mean square that the SNR of each is relative to."""

    first: Floats
    """Amplitude of the first copy, as `h`."""

    h: Floats
    """Amplitude after combining: [tokens, 1], or [tokens, hidden] where elements fade alone."""

    failed: NDArray[np.bool_]
    """Not enough was received, whatever `loss` did besides; as `h`."""

    energy: float
    """Of `values`."""


class Radio:
    """One channel, for any number of streams. Not for two threads at a time.

    >>> config = parse_channel("nakagami,sigma=0.5,seed=7")
    >>> received = Radio(config).transmit(values, Place.replay(config, len(values)))
    """

    def __init__(self, config: ChannelConfig) -> None:
        self.config = config
        self._is_transparent = config.is_transparent
        self._keeps_h = config.fading is not Fading.NONE and config.equalizer is Equalizer.NONE
        self._least_gain = config.threshold**2
        self._draws: dict[tuple[int, Direction], Draws] = {}

    def draws(self, stream: int, direction: Direction = Direction.UPLINK) -> Draws:
        """The random draws of one stream in one direction."""
        key = stream, direction
        if key not in self._draws:
            if len(self._draws) == _MAX_STREAMS:  # they hold nothing that cannot be made again
                self._draws.clear()
            self._draws[key] = Draws(self.config.seed, stream, direction)
        return self._draws[key]

    @property
    def is_blind(self) -> bool:
        """Whether what a frame meets does not depend on its power."""
        return self.config.outage_snr_db is None

    def draw(
        self,
        place: Place,
        shape: tuple[int, int],
        item_bytes: int = 2,
        power: noise.Powers | None = None,
    ) -> Drawn:
        """What a frame of `shape` = [tokens, hidden] meets; it may still be to come.

        Args:
            power: of its tokens, where the radio is not `is_blind`.
        """
        config, draws = self.config, self.draws(place.stream, place.direction)
        tokens, hidden = shape
        source = FadingSource(config, draws)
        faded = harq.combine(
            lambda attempt: source.amplitudes(place, hidden, attempt),
            lambda gain: self._is_enough(gain, power),
            config.harq_transmissions,
        )
        erased = faded.failed
        if config.loss:
            erased = erased | loss.lost_elements(config, draws, place, shape, item_bytes)
        lost = np.count_nonzero(erased) / erased.size
        if config.has_noise and tokens == 1:
            normals = draws.normal(Purpose.NOISE, place.window, place.position, shape)
        else:
            normals = np.empty((0, hidden), dtype=np.float32)
        mean_gain = sums.mean(faded.first)
        return Drawn(faded, erased if lost else None, lost, mean_gain, normals)

    def transmit(
        self,
        values: Floats,
        place: Place,
        item_bytes: int = 2,
        out: Floats | None = None,
        drawn: Drawn | None = None,
    ) -> Received:
        """Sends the tokens of one frame.

        Args:
            values: float32 [tokens, hidden]; not changed, and returned itself by a channel that
                does nothing to it.
            place: of these tokens.
            item_bytes: of an element on the air, which packets are made of.
            out: where the values go that are received, in C order; may be `values`.
            drawn: from `draw` of the same place and shape, if it is at hand.

        Raises:
            TensorError: `values` holds a NaN or an infinity.
        """
        config = self.config
        if self._is_transparent:
            return _untouched(values)
        values = np.ascontiguousarray(values)
        draws = self.draws(place.stream, place.direction)
        own_power = noise.token_power(values)
        signal = sum(own_power.tolist()) * values.shape[1]
        if not math.isfinite(signal):
            count = values.size - int(np.isfinite(values).sum())
            raise TensorError(f"payload: {count} of {values.size} values are not finite")
        power = noise.reference_power(config, values, own_power)
        drawn = drawn or self.draw(place, values.shape, item_bytes, power)
        faded, erased = drawn.faded, drawn.erased
        std = self._std(power, faded)
        received = np.empty_like(values) if out is None else out
        error, added, energy = elements.receive(
            values,
            faded.h if self._keeps_h else _NO_FLOATS,
            _NO_FLOATS if std is None else std,
            _NO_BOOLS if erased is None else erased,
            drawn.normals,
            QUANTILES,
            draws.keys(Purpose.NOISE),
            place.window,
            place.position,
            received,
        )
        truth = measure(
            config, power, values.size, (signal, error, added), drawn.loss, drawn.mean_gain
        )
        return Received(
            values=received,
            erased=spread(erased, values.shape),
            truth=truth,
            transmissions=faded.transmissions,
            rate_bps=self._rate_bps(faded.first, power),
            power=power,
            first=faded.first,
            h=faded.h,
            failed=faded.failed,
            energy=energy,
        )

    def _is_enough(self, gain: Floats, power: noise.Powers | None) -> NDArray[np.bool_]:
        """Whether Σh² is received: neither below the threshold nor below the outage SNR."""
        enough: NDArray[np.bool_] = gain >= self._least_gain
        if self.config.outage_snr_db is not None and power is not None:
            snr = noise.mean_snr(self.config, power)[:, None]
            with np.errstate(over="ignore"):  # an infinite SNR is one
                enough &= gain * snr >= 10 ** (self.config.outage_snr_db / 10)
        return enough

    def _std(self, power: noise.Powers, faded: harq.Combined) -> Floats | None:
        """Of the noise on the values that the receiver ends up with: σ, after zero forcing σ / h.

        [tokens, 1], or [tokens, hidden] where elements are equalised; None: no noise.
        """
        if not self.config.has_noise:
            return None
        std = noise.noise_std(self.config, power)
        if self.config.equalizer is Equalizer.ZERO_FORCING:
            h = np.where(faded.failed, np.float32(1), faded.h)
            with np.errstate(over="ignore"):
                std = np.minimum(np.divide(std, h, dtype=np.float32), noise.MAX_STD)
        return std

    def _rate_bps(self, h: Floats, power: noise.Powers) -> NDArray[np.float64] | None:
        """Of the first copy's fade; further copies are as long as that one."""
        if self.config.bandwidth_mhz is None:
            return None
        snr = noise.mean_snr(self.config, power)
        with np.errstate(over="ignore"):
            return rate_bps(self.config, np.square(h[:, 0], dtype=np.float64) * snr)


def spread(erased: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """`Drawn.erased` as [tokens, hidden]."""
    if erased is None or erased.shape == shape:
        return erased
    return np.broadcast_to(erased, shape)


def _untouched(values: Floats) -> Received:
    ones = np.ones((len(values), 1), dtype=np.float32)
    return Received(
        values=values,
        erased=None,
        truth=TRANSPARENT,
        transmissions=np.ones(len(values), dtype=np.int64),
        rate_bps=None,
        power=np.full(len(values), math.nan),
        first=ones,
        h=ones,
        failed=ones == 0,
        energy=float(np.square(values, dtype=np.float64).sum()),
    )
