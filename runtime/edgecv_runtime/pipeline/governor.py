"""What gives way when the device is too slow or too hot: first the frame rate, then the input size, then the model.

Each step is logged and kept. Going down takes a short while of trouble, going up a long while of calm, and a step up
that leads straight back down makes the next attempt wait twice as long: no swinging to and fro.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecv_runtime.errors import InputError
from edgecv_runtime.health import look, throttled_now

log = logging.getLogger("edgecv_runtime.pipeline")

_KEPT = 256  # steps that are remembered
_PATIENCE_CAP = 64.0  # times that the wait for a step up can double, as a factor


@dataclass(frozen=True)
class Level:
    """One way of running.

    Attributes
    ----------
    interval : float
        Least seconds between two frames; 0: as they come.
    model : int
        Which of the models, the heaviest first.
    size : int
        Which of the model's input sizes, the largest first.
    """

    interval: float = 0.0
    model: int = 0
    size: int = 0

    def __str__(self) -> str:
        rate = "every frame" if self.interval == 0 else f"{1 / self.interval:g} frames a second"
        return f"{rate}, model {self.model}" + (f", input size {self.size}" if self.size else "")


@dataclass(frozen=True)
class Step:
    """A change of level.

    Attributes
    ----------
    time : float
        `time.monotonic()`.
    before, after : Level
    reason : str
    """

    time: float
    before: Level
    after: Level
    reason: str


@dataclass(frozen=True)
class Strain:
    """How the device fares.

    Attributes
    ----------
    temperature : float
        °C; NaN where it is not told.
    throttled : bool
        Whether the firmware slows the clock at this moment.
    """

    temperature: float = math.nan
    throttled: bool = False


def read_strain() -> Strain:
    """This device's."""
    return Strain(look().hottest, throttled_now())


def ladder(rates: Sequence[float] = (15.0, 5.0, 2.0), models: int = 1, sizes: int = 1) -> tuple[Level, ...]:
    """The usual order: lower rates, then the next smaller input size at full rate and so on, then the next model.

    Parameters
    ----------
    rates : sequence of float
        Frames a second.
    models, sizes : int
        How many models there are, and how many input sizes of the first.

    Raises
    ------
    InputError
        A rate that is not above 0, no model or no size.
    """
    if models < 1 or sizes < 1 or any(rate <= 0 for rate in rates):
        raise InputError(
            "rates must be above 0, models and sizes at least 1; "
            f"received {list(rates)}, models {models} and sizes {sizes}"
        )
    return tuple(
        Level(interval, model, size)
        for model in range(models)
        for size in range(1 if model else sizes)
        for interval in (0.0, *(1 / rate for rate in sorted(rates, reverse=True)))
    )


class Governor:
    """Chooses the level for the next frame.

    Parameters
    ----------
    deadline : float
        Seconds from capture to result that are to be kept.
    levels : sequence of Level
        Best first (`ladder`).
    hot, cool : float
        °C from which on it steps down, and below which it may step up.
    trouble, calm : float
        Seconds that it must last before a step down, and up.
    strain : callable
        Reads temperature and throttling; asked at most once a second.

    Attributes
    ----------
    steps : deque of Step

    Raises
    ------
    InputError
        A number out of range, or no level.
    """

    def __init__(
        self,
        deadline: float,
        levels: Sequence[Level] = (),
        *,
        hot: float = 80.0,
        cool: float = 70.0,
        trouble: float = 2.0,
        calm: float = 30.0,
        strain: Callable[[], Strain] = read_strain,
    ) -> None:
        if not (deadline > 0 and trouble > 0 and calm > 0 and cool < hot):
            raise InputError(
                "deadline, trouble and calm must be above 0 and cool below hot; "
                f"received {deadline}, {trouble}, {calm}, {cool} and {hot}"
            )
        self.deadline, self.levels = deadline, tuple(levels) or ladder()
        self.hot, self.cool, self._trouble, self._calm = hot, cool, trouble, calm
        self._strain, self._seen, self._looked = strain, Strain(), -math.inf
        self._at = 0
        self._ages: deque[tuple[float, float]] = deque()
        self._since_bad: float | None = None
        self._since_good: float | None = None
        self._patience, self._went_up = 1.0, -math.inf
        self.steps: deque[Step] = deque(maxlen=_KEPT)

    @property
    def level(self) -> Level:
        return self.levels[self._at]

    def observe(self, age: float, now: float) -> Level:
        """Take note of a result, and say how to go on.

        Parameters
        ----------
        age : float
            Seconds from the frame's capture to its result.
        now : float
            `time.monotonic()`.
        """
        if now - self._looked >= 1.0:
            self._seen, self._looked = self._strain(), now
        self._ages.append((now, age))
        while self._ages[0][0] < now - self._trouble:
            self._ages.popleft()
        reason = self._complaint()
        if reason is not None:
            self._since_good = None
            self._since_bad = now if self._since_bad is None else self._since_bad
            if now - self._since_bad >= self._trouble and self._at + 1 < len(self.levels):
                if now - self._went_up < self._calm * self._patience:
                    self._patience = min(2 * self._patience, _PATIENCE_CAP)
                self._move(self._at + 1, reason, now)
        elif self._well():
            self._since_bad = None
            self._since_good = now if self._since_good is None else self._since_good
            if now - self._since_good >= self._calm * self._patience and self._at > 0:
                self._went_up = now
                self._move(self._at - 1, f"calm for {self._calm * self._patience:g} s", now)
        else:
            self._since_bad = self._since_good = None
        return self.level

    def _complaint(self) -> str | None:
        if self._seen.throttled:
            return "the board slows its clock"
        if self._seen.temperature >= self.hot:
            return f"{self._seen.temperature:.0f} °C"
        late = sum(age > self.deadline for _, age in self._ages)
        if 2 * late > len(self._ages):
            return f"{late} of {len(self._ages)} results later than {1000 * self.deadline:.0f} ms"
        return None

    def _well(self) -> bool:
        """Whether there is room: cool, and results a quarter before their deadline."""
        warm = self._seen.temperature >= self.cool  # False where it is not told
        return not warm and all(age <= 0.75 * self.deadline for _, age in self._ages)

    def _move(self, place: int, reason: str, now: float) -> None:
        before, self._at = self.level, place
        self.steps.append(Step(now, before, self.level, reason))
        log.warning("from %s to %s: %s", before, self.level, reason)
        self._since_bad = self._since_good = None
        self._ages.clear()
