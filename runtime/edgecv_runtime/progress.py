"""A progress bar on stderr for long work; silent where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")

_WIDTH = 28
_INTERVAL = 0.1  # seconds between redraws


class Progress:
    """A bar that is drawn only on a terminal.

    Parameters
    ----------
    total : int or None
        How much there is to do. None: unknown.
    text : str
        What is being done.
    unit : str
        What is counted; ``"B"`` is shown as MB.

    Examples
    --------
    >>> with Progress(3, "calibrating", unit="images") as bar:
    ...     for _ in range(3):
    ...         bar.advance()
    """

    def __init__(self, total: int | None, text: str, unit: str = "") -> None:
        self.total, self.text, self.unit = total, text, unit
        self.done = 0
        self._started = self._drawn = time.monotonic()
        self._visible = sys.stderr is not None and sys.stderr.isatty()

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if self._visible and (now - self._drawn >= _INTERVAL or self.done == self.total):
            self._drawn = now
            self._draw(now)

    def _draw(self, now: float) -> None:
        elapsed = now - self._started
        if self.total:
            share = min(1.0, self.done / self.total)
            bar = "━" * round(share * _WIDTH) + "╌" * (_WIDTH - round(share * _WIDTH))
            left = f"{elapsed / share - elapsed:.0f} s left" if 0 < share < 1 else f"{elapsed:.1f} s"
            state = f"{bar} {self._amount(self.done)}/{self._amount(self.total)} {left}"
        else:
            state = f"{self._amount(self.done)} {elapsed:.0f} s"
        sys.stderr.write(f"\r\x1b[K{self.text} {state}")
        sys.stderr.flush()

    def _amount(self, count: int) -> str:
        return f"{count / 1e6:.1f} MB" if self.unit == "B" else f"{count}"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def track(items: Iterable[Item], total: int | None, text: str, unit: str = "") -> Iterator[Item]:
    """Iterate with a progress bar."""
    with Progress(total, text, unit) as bar:
        for item in items:
            yield item
            bar.advance()
