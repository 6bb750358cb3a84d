"""Named errors: whose fault it is, what went wrong, in one line.

Every error that crosses a process boundary is an `AirSplitError`; `airsplit.rpc` maps its class to
a gRPC status once, in both directions, so that a remote error keeps its name.
"""

from __future__ import annotations

from typing import ClassVar


class AirSplitError(Exception):
    """Base of all errors that AirSplit raises on purpose. `code` names a gRPC status."""

    code: ClassVar[str] = "INTERNAL"


class InputError(AirSplitError):
    """A value given by a person or a file is out of its range. Exit code 2."""

    code = "INVALID_ARGUMENT"

    @classmethod
    def of(cls, field: str, value: object, allowed: str) -> InputError:
        """One line that names the field, the value and the allowed range."""
        return cls(f"{field}: {value!r} is not allowed; allowed: {allowed}")


class UnsupportedModelError(InputError):
    """The model is not of a supported family or uses a feature that cannot be split exactly."""


class ModelMismatchError(AirSplitError):
    """The two ends do not run the same weights."""

    code = "FAILED_PRECONDITION"


class FrameError(AirSplitError):
    """A frame or message breaks the contract; subclasses say which part."""

    code = "INVALID_ARGUMENT"


class TransitionError(FrameError):
    """A message arrived in a state in which it may not arrive."""


class SessionIdError(FrameError):
    """The message belongs to another session."""


class SequenceError(FrameError):
    """The frame's sequence is not the next one."""


class WindowError(FrameError):
    """The frame's window is neither the current nor the next one."""


class PositionError(FrameError):
    """The frame does not begin where the context ends."""


class ContextOverflowError(FrameError):
    """The frame would run past the reserved context."""


class SplitError(FrameError):
    """The split or its version does not follow from what is committed."""


class TensorError(FrameError):
    """Shape, dtype, payload or mask of a tensor do not fit together."""


class TargetError(FrameError):
    """Scoring targets are missing, too many, or outside the vocabulary."""


class CreditError(AirSplitError):
    """More frames are unanswered than credits were granted."""

    code = "RESOURCE_EXHAUSTED"


class StaleCacheError(AirSplitError):
    """K/V rows that the new split needs are not there; the old split goes on."""

    code = "FAILED_PRECONDITION"


class NumericalError(AirSplitError):
    """The computation left the range of its dtype: a result is not finite."""

    code = "OUT_OF_RANGE"


class UnknownSessionError(AirSplitError):
    """No such session."""

    code = "NOT_FOUND"


class SessionExistsError(AirSplitError):
    """A session of that id is open already."""

    code = "ALREADY_EXISTS"


class SessionLimitError(AirSplitError):
    """The edge serves as many sessions as it may."""

    code = "RESOURCE_EXHAUSTED"


class KvBudgetError(AirSplitError):
    """The K/V budget of the edge has no room for the session."""

    code = "RESOURCE_EXHAUSTED"


class VersionConflictError(AirSplitError):
    """The configuration was changed by somebody else in between."""

    code = "ABORTED"


class PeerUnavailableError(AirSplitError):
    """A peer cannot be reached or has gone; names the peer and its address."""

    code = "UNAVAILABLE"

    @classmethod
    def of(cls, peer: str, address: str, why: str) -> PeerUnavailableError:
        return cls(f"{peer} at {address} is unavailable: {why}")


class PeerTimeoutError(PeerUnavailableError):
    """A peer did not answer within the deadline."""

    code = "DEADLINE_EXCEEDED"

    @classmethod
    def of(cls, peer: str, address: str, why: str) -> PeerTimeoutError:
        return cls(f"{peer} at {address} did not answer: {why}")


class RemoteError(AirSplitError):
    """A peer failed in a way that has no name here."""


def by_name(name: str) -> type[AirSplitError]:
    """The error class of that name, `RemoteError` where there is none."""
    pending: list[type[AirSplitError]] = [AirSplitError]
    while pending:
        cls = pending.pop()
        if cls.__name__ == name:
            return cls
        pending.extend(cls.__subclasses__())
    return RemoteError
