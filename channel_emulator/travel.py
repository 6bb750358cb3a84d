"""How far h(t) has come: what it passes through is counted, so that it goes on from where it was.

A process with a Doppler spectrum is a function of its cycles φ(t) = ∫ f_D dt, fading blocks one of
the coherence times ∫ dt/T_c. At one speed these are f_D t and t/T_c. After a change of the speed or
the carrier they go on from what was reached: the rate at which h changes is another, h is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from channel_emulator.config import ChannelConfig

ONE = 2**64
"""Parts that a cycle and a coherence time are counted in."""


@dataclass(frozen=True, slots=True)
class Travel:
    """So far, or in a nanosecond. Whole parts: however a way is divided, the sum is the same."""

    cycles: int = 0
    blocks: int = 0

    @classmethod
    def per_ns(cls, config: ChannelConfig) -> Travel:
        coherence_ns = config.coherence_ns
        # Rounded up: a whole number of coherence times is not counted as a little less.
        blocks = 0 if coherence_ns is None else -(-ONE // coherence_ns)
        return cls(round(config.doppler_hz * 1e-9 * ONE), blocks)

    def plus(self, other: Travel, times: int = 1) -> Travel:
        return Travel(self.cycles + times * other.cycles, self.blocks + times * other.blocks)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A time at which the rate changed, and how far h had come by then."""

    time_ns: int = 0
    travel: Travel = Travel()

    def at(self, time_ns: int, per_ns: Travel) -> Travel:
        """How far it has come at another time, at that rate."""
        return self.travel.plus(per_ns, time_ns - self.time_ns)


ORIGIN = Anchor()
"""Time 0: nothing has changed since."""
