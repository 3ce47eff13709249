"""Every exception that ChronoStream raises on purpose, in one tree.

An error is named for the fact. Its message says what was found, what was expected, and what to do. Every public
function may raise two kinds, so no other docstring repeats them: `InvalidTypeError` for an argument of the wrong type,
and `InvalidValueError` for a value out of its range::

    ChronoStreamError
    ├── InvalidValueError (ValueError)
    │   ├── UnknownFrequencyError
    │   ├── InvalidNameError
    │   ├── ConfigError
    │   └── RecordError
    ├── InvalidTypeError (TypeError)
    ├── StreamError
    │   ├── StreamNotFoundError
    │   ├── StreamExistsError
    │   ├── ProducerActiveError
    │   ├── LayoutMismatchError
    │   ├── StreamMismatchError
    │   ├── CorruptSegmentError
    │   ├── AccessDeniedError
    │   ├── OutOfSharedMemoryError
    │   ├── StreamRemovedError
    │   ├── ProducerGoneError
    │   ├── LostError
    │   └── StartError
    ├── ClosedError
    ├── ForkedError
    ├── BusyError
    ├── RecordingError
    ├── BridgeError
    ├── CoreUnavailableError
    ├── SimulationError
    └── MissingDependencyError (ImportError)
"""

from __future__ import annotations

__all__ = [
    "AccessDeniedError",
    "BridgeError",
    "BusyError",
    "ChronoStreamError",
    "ClosedError",
    "ConfigError",
    "CoreUnavailableError",
    "CorruptSegmentError",
    "ForkedError",
    "InvalidNameError",
    "InvalidTypeError",
    "InvalidValueError",
    "LayoutMismatchError",
    "LostError",
    "MissingDependencyError",
    "OutOfSharedMemoryError",
    "ProducerActiveError",
    "ProducerGoneError",
    "RecordError",
    "RecordingError",
    "SimulationError",
    "StartError",
    "StreamError",
    "StreamExistsError",
    "StreamMismatchError",
    "StreamNotFoundError",
    "StreamRemovedError",
    "UnknownFrequencyError",
]


class ChronoStreamError(Exception):
    """The root of the error tree."""


class InvalidValueError(ChronoStreamError, ValueError):
    """An argument is out of its range, or not one of its choices."""


class UnknownFrequencyError(InvalidValueError):
    """There is no frequency of this name or number."""


class InvalidNameError(InvalidValueError):
    """A stream name that a segment cannot have."""


class ConfigError(InvalidValueError):
    """A stream configuration that contradicts itself."""


class RecordError(InvalidValueError):
    """A record that is not one row of the ring's dtype."""


class InvalidTypeError(ChronoStreamError, TypeError):
    """An argument is of the wrong type."""


class StreamError(ChronoStreamError):
    """Something about a stream and the segment that carries it."""


class StreamNotFoundError(StreamError):
    """No segment has this name."""


class StreamExistsError(StreamError):
    """A new stream was requested, but a stream of this name exists."""


class ProducerActiveError(StreamError):
    """The name is live: another producer holds its lock.

    Attributes:
        pid: the owner's process id as the owner sees it; None while it is still making the segment, or if the process
            that holds the lock is not the one that the segment names.
    """

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class LayoutMismatchError(StreamError):
    """The segment is sound, but has another layout version, dtype, capacity or size."""


class StreamMismatchError(StreamError):
    """The stream is sound, but has another time zone, sequencer or set of frequencies."""


class CorruptSegmentError(StreamError):
    """The segment is damaged, half made, or another program's."""


class AccessDeniedError(StreamError):
    """The segment belongs to another user, or the system does not let this process open it."""


class OutOfSharedMemoryError(StreamError):
    """The system has no room for the segment, or does not let this process map it."""


class StreamRemovedError(StreamError):
    """The stream was removed while it was in use."""


class ProducerGoneError(StreamError):
    """The producer died without closing the stream."""


class LostError(StreamError):
    """Records were overwritten before they were read.

    Attributes:
        first: ring position of the first lost record.
        last: ring position of the last lost record.
    """

    def __init__(self, first: int, last: int) -> None:
        # The arguments, not the message: pickle and copy call the class again with them.
        super().__init__(first, last)
        self.first = first
        self.last = last

    def __str__(self) -> str:
        return (
            f"{self.last - self.first + 1} records lost, positions {self.first} to {self.last}: the producer overwrote "
            "them before they were read; read more often or use a larger capacity"
        )


class StartError(StreamError):
    """The scheduler process could not be started."""


class ClosedError(ChronoStreamError):
    """The handle was closed."""


class ForkedError(ChronoStreamError):
    """The handle belongs to the parent of this process: open another one here."""


class BusyError(ChronoStreamError):
    """The handle is in the middle of another call, which something in the same thread interrupted."""


class RecordingError(ChronoStreamError):
    """A stream cannot be recorded into this directory: it is in use, holds other files, or cannot be written."""


class BridgeError(ChronoStreamError):
    """NATS does not answer, refuses a request, or sends something unexpected."""


class CoreUnavailableError(ChronoStreamError):
    """The requested ring core cannot run on this machine."""


class MissingDependencyError(ChronoStreamError, ImportError):
    """This call needs a package that ChronoStream does not install by itself."""


class SimulationError(ChronoStreamError):
    """A simulation found a broken promise."""
