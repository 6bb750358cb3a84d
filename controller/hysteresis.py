"""Keeps a session from moving too often, whatever its policy wants. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Hysteresis:
    """At most one change per `min_dwell_ms`, and none that was not wanted `confirmations` times.

    Confirmations are looks in a row that want to go the same way, up or down: a policy that aims
    at 9, then at 10, agrees with itself. Time is passed in, in nanoseconds of one monotonic clock.
    """

    min_dwell_ms: float
    confirmations: int = 1
    changed_ns: int | None = None
    """When the target last changed."""

    _way: int = 0
    """Where the last look wanted to go: -1 down, 0 nowhere, 1 up."""

    _looks: int = 0
    """Looks in a row that wanted to go there."""

    def holds(self, now_ns: int, current: int, wanted: int) -> str | None:
        """Why the target may not move from `current` to `wanted` now; None where it may.

        To be asked once per look, also where nothing is wanted: that ends an agreement.
        """
        way = (wanted > current) - (wanted < current)
        self._looks = self._looks + 1 if way == self._way else 1
        self._way = way
        if way == 0:
            return None
        if self.changed_ns is not None and now_ns - self.changed_ns < self.min_dwell_ms * 1e6:
            return f"dwell of {self.min_dwell_ms:g} ms"
        if self._looks < self.confirmations:
            return f"wanted {self._looks} of {self.confirmations} times in a row"
        return None

    def changed(self, now_ns: int) -> None:
        """Notes a change of the target, whoever made it."""
        self.changed_ns, self._looks = now_ns, 0
