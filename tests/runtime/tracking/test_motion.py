from __future__ import annotations

import numpy as np
import pytest

from edgecv_runtime import MotionGate
from edgecv_runtime.errors import InputError


def scene(noise: int = 0, spot: tuple[int, int] | None = None) -> np.ndarray:
    generator = np.random.default_rng(noise)
    image = np.full((480, 640, 3), 100.0) + generator.normal(0, 8, (480, 640, 3))
    if spot is not None:
        image[spot[1] : spot[1] + 60, spot[0] : spot[0] + 40] = 180
    return image.clip(0, 255).astype(np.uint8)


def test_noise_is_not_motion_and_a_person_is() -> None:
    gate = MotionGate(at_least_every=None)
    assert gate.moving(scene(0), 0.0)  # nothing to compare with
    assert not any(gate.moving(scene(turn), turn / 30) for turn in range(1, 20))
    assert gate.moving(scene(20, (300, 200)), 1.0)
    assert not gate.moving(scene(21, (300, 200)), 1.1)
    assert gate.moving(scene(22), 1.2)


def test_slow_movement_adds_up() -> None:
    gate = MotionGate(at_least_every=None)
    gate.moving(scene(0, (100, 100)), 0.0)
    let_through = [gate.moving(scene(turn, (100 + turn // 5, 100)), turn / 30) for turn in range(1, 30)]
    assert 1 <= sum(let_through) < 15


def test_now_and_then_it_looks_all_the_same() -> None:
    gate = MotionGate(at_least_every=10)
    let_through = [time for time in (0.0, 5.0, 9.9, 10.0, 15.0, 20.0) if gate.moving(scene(), time)]
    assert let_through == [0.0, 10.0, 20.0]


def test_another_size_is_motion() -> None:
    gate = MotionGate()
    assert gate.moving(scene(), 0.0) and gate.moving(scene()[:240], 0.1)
    assert MotionGate().moving(np.zeros((3, 5, 3), np.uint8), 0.0)


def test_refused() -> None:
    with pytest.raises(InputError, match="share in \\(0, 1\\]; received 6.0, 10.0 and 0"):
        MotionGate(share=0)
