"""Mean IoU from counts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.metrics.miou import Confusion


def test_by_hand() -> None:
    confusion = Confusion()
    truth = np.array([[0, 0, 1, 1], [0, 255, 2, 2]], np.uint8)
    confusion.add(truth, np.array([[0, 1, 1, 1], [0, 1, 2, 0]], np.uint8))
    confusion.add(np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint8))
    found = confusion.accuracy(skipped=1)
    # Class 0: 4 right of 4 + 1 + 1; class 1: 2 of 3; class 2: 1 of 2.
    assert dict(found.by_class) == {0: pytest.approx(4 / 6), 1: pytest.approx(2 / 3), 2: pytest.approx(1 / 2)}
    assert found.miou == pytest.approx((4 / 6 + 2 / 3 + 1 / 2) / 3)
    assert found.pixel_accuracy == pytest.approx(7 / 9)
    assert (found.n, found.skipped) == (2, 1)
    assert found.to_dict()["miou"] == found.miou


def test_refused() -> None:
    with pytest.raises(InputError, match="at least one labelled pixel"):
        Confusion().accuracy()
    with pytest.raises(InputError, match=r"the picture's size \(2, 2\); received \(2, 3\)"):
        Confusion().add(np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.uint8))
