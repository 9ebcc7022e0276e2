"""What every stream is: an iterator of frames that must be closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

from edgecv_runtime.errors import InputError
from edgecv_runtime.streams.frame import Frame

Self = TypeVar("Self", bound="Stream")


class Stream(ABC):
    """An iterator of frames that must be closed; use it with ``with``.

    Attributes
    ----------
    name : str
        The source, without credentials.
    length : int or None
        Frames in all, where that is known.
    live : bool
        Whether frames come whether or not they are asked for.
    """

    live = False

    def __init__(self, name: str, length: int | None = None) -> None:
        self.name = name
        self.length = length
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            raise InputError(f"this stream of {self.name} is closed")
        return self._next()

    @abstractmethod
    def _next(self) -> Frame:
        """The next frame, or StopIteration."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the source. Calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._release()

    @abstractmethod
    def _release(self) -> None:
        """Let go of the source."""

    def __repr__(self) -> str:
        length = "unknown" if self.length is None else self.length
        return f"<Stream {self.name}, {length} frames{', closed' if self._closed else ''}>"
