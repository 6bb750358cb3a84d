"""The radio itself: float values in, what the receiver has out. No socket, no clock, no order.

All that a frame meets follows from the configuration and its `Place`. So the same place meets the
same channel, in whatever order calls are made and, where no draw or power is one of the frame as a
whole, however a stream is cut into them.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import TensorError
from channel_emulator import harq, loss, noise
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import QUANTILES, Direction, Draws, Purpose
from channel_emulator.fading import FadingSource, Floats
from channel_emulator.kernels import receive
from channel_emulator.knobs import Equalizer, Fading, LossUnit, PowerReference
from channel_emulator.place import Place
from channel_emulator.rate import rate_bps
from channel_emulator.received import Drawn, Halves, Received, spread, untouched
from channel_emulator.truth import measure

_MAX_STREAMS = 256
_FLOAT16_ONES, _BFLOAT16_ONES = np.uint16(0x7C00), np.uint16(0x7F80)
"""The exponent of what is not finite."""

_NO_FLOATS = np.empty((0, 0), dtype=np.float32)
_NO_BOOLS = np.empty((0, 0), dtype=np.bool_)


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
        self._sigma = 0.0 if config.snr_db is not None else config.sigma or 0.0
        self._ratio = 10 ** (-config.snr_db / 10) if config.snr_db is not None else 0.0
        self._draws: dict[tuple[int, Direction], Draws] = {}

    def draws(self, stream: int, direction: Direction = Direction.UPLINK) -> Draws:
        """The random draws of one stream in one direction."""
        key = stream, direction
        if key not in self._draws:
            if len(self._draws) == _MAX_STREAMS:  # they hold nothing that cannot be made again
                self._draws.clear()
            self._draws[key] = Draws(self.config.seed, stream, direction)
        return self._draws[key]

    @cached_property
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

        Raises:
            ValueError: it is not, and there is none.
        """
        tokens = shape[0]
        faded, erased = self._fates(place, shape, item_bytes, power)
        return Drawn.of(
            faded, erased, self._normals(place, shape if tokens == 1 else (0, shape[1]))
        )

    @cached_property
    def is_of_tokens(self) -> bool:
        """Whether nothing that a frame meets is of the frame as a whole."""
        config = self.config
        of_frames = config.loss > 0 and config.loss_unit is LossUnit.FRAME
        return config.fading is not Fading.FRAME and not of_frames

    def draw_each(self, place: Place, hidden: int, item_bytes: int = 2) -> list[Drawn]:
        """What `draw` says of each token of `place`, were it a frame by itself.

        The draws of all are made at once where the radio `is_of_tokens`.

        Raises:
            ValueError: as `draw`.
        """
        if not self.is_of_tokens:
            return [self.draw(one, (1, hidden), item_bytes) for one in place.each()]
        shape = len(place.times_ns), hidden
        faded, erased = self._fates(place, shape, item_bytes, None)
        normals = self._normals(place, shape)
        tokens = [slice(i, i + 1) for i in range(shape[0])]
        return [Drawn.of(faded.of(token), erased[token], normals[token]) for token in tokens]

    def _fates(
        self, place: Place, shape: tuple[int, int], item_bytes: int, power: noise.Powers | None
    ) -> tuple[harq.Combined, NDArray[np.bool_]]:
        """What the fades come to, and what is erased: [tokens, hidden], or [tokens, 1] where whole
        tokens are."""
        if power is None and not self.is_blind:
            raise ValueError("power: none, but the outage depends on it")
        config, draws = self.config, self.draws(place.stream, place.direction)
        source = FadingSource(config, draws)
        faded = harq.combine(
            lambda attempt: source.amplitudes(place, shape[1], attempt),
            lambda gain: self._is_enough(gain, power),
            config.harq_transmissions,
        )
        if not config.loss:
            return faded, faded.failed
        lost = loss.lost_elements(config, draws, place, shape, item_bytes)
        return faded, faded.failed | lost if faded.failed.any() else lost

    def _normals(self, place: Place, shape: tuple[int, int]) -> Floats:
        """The noise's draws, or none where there is no noise."""
        if not self.config.has_noise:
            return np.empty((0, shape[1]), dtype=np.float32)
        draws = self.draws(place.stream, place.direction)
        return draws.normal(Purpose.NOISE, place.window, place.position, shape)

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
            drawn: from `draw` of the same place, shape and item_bytes, if it is at hand.

        Raises:
            TensorError: `values` holds a NaN or an infinity.
        """
        config = self.config
        if self._is_transparent:
            return untouched(values)
        values = np.ascontiguousarray(values)
        draws = self.draws(place.stream, place.direction)
        own_power = noise.token_power(values)
        # One after the other, as for halves: Python's own sum compensates from 3.12 on.
        signal = float(np.add.accumulate(own_power)[-1]) * values.shape[1]
        if not math.isfinite(signal):
            raise _not_finite(int(np.isfinite(values).sum()), values.size)
        power = noise.reference_power(config, values, own_power)
        drawn = drawn or self.draw(place, values.shape, item_bytes, power)
        std = self._std(power, drawn.faded)
        received = np.empty_like(values) if out is None else out
        energies = receive.receive(
            values,
            drawn.faded.h if self._keeps_h else _NO_FLOATS,
            _NO_FLOATS if std is None else std,
            _NO_BOOLS if drawn.erased is None else drawn.erased,
            drawn.normals,
            QUANTILES,
            draws.keys(Purpose.NOISE),
            place.window,
            place.position,
            received,
        )
        return self._received(received, power, drawn, signal, *energies)

    @cached_property
    def takes_halves(self) -> bool:
        """Whether `transmit_halves` can: σ is a token's own, and nothing is divided by h."""
        config = self.config
        of_token = config.power_reference is PowerReference.TOKEN
        divides = config.equalizer is Equalizer.ZERO_FORCING
        return of_token and self.is_blind and not divides

    def transmit_halves(
        self, halves: Halves, is_bfloat16: bool, place: Place, drawn: Drawn | None = None
    ) -> Received:
        """As `transmit`, of float16 or bfloat16 as they are encoded, and to such; the same bits.

        Only where `takes_halves`: what a channel does besides is not done.

        Args:
            halves: [tokens, hidden].

        Raises:
            TensorError: one of them is a NaN or an infinity.
        """
        drawn = drawn or self.draw(place, halves.shape)
        power, received = np.empty(len(halves)), np.empty_like(halves)
        signal, *energies = receive.receive_halves(
            halves,
            is_bfloat16,
            drawn.faded.h if self._keeps_h else _NO_FLOATS,
            self._sigma,
            self._ratio,
            noise.MAX_STD,
            _NO_BOOLS if drawn.erased is None else drawn.erased,
            drawn.normals,
            QUANTILES,
            self.draws(place.stream, place.direction).keys(Purpose.NOISE),
            place.window,
            place.position,
            received,
            power,
        )
        if not math.isfinite(signal):
            ones = _BFLOAT16_ONES if is_bfloat16 else _FLOAT16_ONES
            raise _not_finite(int(np.count_nonzero(halves & ones != ones)), halves.size)
        return self._received(received, power, drawn, signal, *energies)

    def _received(
        self,
        values: Floats | Halves,
        power: noise.Powers,
        drawn: Drawn,
        signal: float,
        error: float,
        added: float,
        energy: float,
    ) -> Received:
        faded, energies = drawn.faded, (signal, error, added)
        truth = measure(self.config, power, values.size, energies, drawn.loss, drawn.mean_gain)
        return Received(
            values=values,
            erased=spread(drawn.erased, values.shape),
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


def _not_finite(finite: int, size: int) -> TensorError:
    return TensorError(f"payload: {size - finite} of {size} values are not finite")
