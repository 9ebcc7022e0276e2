from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.aware.calibrate import Calibrated, best_range, calibrate


def test_eight_levels_for_eight_values() -> None:
    # Values on a grid of three bits: the full range has no error at all.
    assert best_range(np.arange(8, dtype=np.float32), bits=3) == Range(0, 7)


def test_few_levels_clip_an_outlier() -> None:
    values = np.append(np.random.default_rng(0).uniform(0, 1, 10_000), 4.0).astype(np.float32)
    # Clipping costs (4 - h)², rounding h² / 12 / 15² for each of 10,000: least near 4 / (1 + 10000/2700) = 0.85; below
    # 1 the clipping of the many begins, so the best of the candidates lies at 1.
    assert best_range(values, bits=4).high == pytest.approx(1.0, abs=0.09)
    assert best_range(values, bits=8).high == pytest.approx(4.0, abs=0.3)


def test_share_is_of_the_width_of_an_image() -> None:
    assert Calibrated(Range(-1, 2), image_width=6).share == 0.5


def test_stored_tensors_of_a_residual_network(residual: Any, images: np.ndarray) -> None:
    from edgecv_export.quantize.fold import fold_batch_norms

    model = fold_batch_norms(residual)
    found = calibrate(model, images, batch=10)
    assert list(found) == ["stem_relu", "branch", "sum_relu", "pool"]
    import keras

    values = np.asarray(keras.Model(model.input, model.get_layer("stem_relu").output)(images))
    assert found["stem_relu"].image_width == pytest.approx(float(values.max(axis=(1, 2, 3)).mean()))
    assert found["stem_relu"].range.low == 0
    assert 0.3 * values.max() < found["stem_relu"].range.high <= values.max()
