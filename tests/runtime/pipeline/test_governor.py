"""The governor on a clock of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.pipeline.governor import Governor, Level, Strain, ladder


class Device:
    """Ten results a second, of an age and at a temperature that can be set."""

    def __init__(self, **how: Any) -> None:
        self.now, self.strain = 0.0, Strain(50.0)
        self.governor = Governor(0.1, ladder((10, 2), models=2), strain=lambda: self.strain, **how)

    def run(self, seconds: float, age: float) -> Level:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            level = self.governor.observe(age, self.now)
        return level


def test_the_ladder_steps_the_rate_then_the_model() -> None:
    assert ladder((5, 15), models=2) == (
        Level(0, 0), Level(1 / 15, 0), Level(1 / 5, 0), Level(0, 1), Level(1 / 15, 1), Level(1 / 5, 1)
    )  # fmt: skip
    assert str(Level(0.2, 1)) == "5 frames a second, model 1" and str(Level()) == "every frame, model 0"


def test_the_ladder_steps_the_input_size_between_rate_and_model() -> None:
    assert ladder((5,), models=2, sizes=3) == (
        Level(0, 0, 0), Level(1 / 5, 0, 0), Level(0, 0, 1), Level(1 / 5, 0, 1), Level(0, 0, 2), Level(1 / 5, 0, 2),
        Level(0, 1, 0), Level(1 / 5, 1, 0),
    )  # fmt: skip
    assert str(Level(0, 0, 2)) == "every frame, model 0, input size 2"
    with pytest.raises(InputError, match="models and sizes at least 1; received .* sizes 0"):
        ladder(sizes=0)


def test_late_results_step_down_after_two_seconds_each() -> None:
    device = Device()
    assert device.run(1.8, age=0.2) == Level()
    assert device.run(0.5, age=0.2) == Level(0.1)
    assert device.run(2.5, age=0.2) == Level(0.5)
    assert device.run(2.5, age=0.2) == Level(0, 1)
    assert device.run(60, age=0.2) == Level(0.5, 1)  # there is no further step
    assert device.governor.steps[0].reason.endswith("results later than 100 ms")


def test_a_single_late_result_is_nothing() -> None:
    device = Device()
    for _ in range(20):
        device.run(0.9, age=0.05)
        device.run(0.1, age=0.5)
    assert not device.governor.steps


def test_heat_and_throttling_step_down_and_cold_steps_up_again() -> None:
    device = Device()
    device.strain = Strain(85.0)
    assert device.run(3, age=0.01) == Level(0.1) and device.governor.steps[0].reason == "85 °C"
    device.strain = Strain(75.0)  # neither hot nor cool: it stays
    assert device.run(100, age=0.01) == Level(0.1)
    device.strain = Strain(60.0)
    assert device.run(29, age=0.01) == Level(0.1)
    assert device.run(3, age=0.01) == Level()
    device.strain = Strain(60.0, throttled=True)
    assert device.run(3.5, age=0.01) == Level(0.1)
    assert device.governor.steps[-1].reason == "the board slows its clock"


def test_a_device_without_a_thermometer_steps_up_too() -> None:
    device = Device()
    device.strain = Strain()
    device.run(3, age=0.2)
    assert device.run(33, age=0.01) == Level()


def test_swinging_to_and_fro_becomes_rare() -> None:
    """Slow at the full rate, quick at the next: each attempt to go up waits twice as long."""
    device = Device()
    for _ in range(6000):  # ten minutes
        device.run(0.1, age=0.2 if device.governor.level == Level() else 0.01)
    ups = [step.time for step in device.governor.steps if step.after == Level()]
    waits = [round(later - earlier) for earlier, later in pairwise(ups)]
    assert len(ups) <= 5 and waits == sorted(waits) and waits[1] > 1.8 * waits[0]


@pytest.mark.parametrize("options", [{"deadline": 0}, {"deadline": 1, "cool": 90}, {"deadline": 1, "calm": 0}])
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="deadline, trouble and calm must be above 0"):
        Governor(**options)
    with pytest.raises(InputError, match="rates must be above 0"):
        ladder((0,))
