"""Scores of an auto-encoder by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgecv.anomaly import auc, plot_scores, score_maps, scores
from edgecv_runtime.errors import InputError


def halving() -> keras.Model:
    image = keras.Input((4, 4, 2))
    return keras.Model(image, keras.layers.Rescaling(0.5)(image))


def test_score_maps() -> None:
    pictures = np.zeros((2, 4, 4, 2), np.float32)
    pictures[1, 2, 1] = (2, 4)  # rebuilt as (1, 2): (1 + 4) / 2
    maps = score_maps(halving(), pictures)
    assert maps.shape == (2, 4, 4) and not maps[0].any()
    assert maps[1, 2, 1] == 2.5 and maps[1].sum() == 2.5
    smooth = score_maps(halving(), pictures, smooth=3)
    assert smooth[1, 1, 1] == pytest.approx(2.5 / 9)
    assert scores(maps).tolist() == [0, 2.5]
    assert scores(maps, 0.5).tolist() == [0, 0]


def test_auc_by_hand() -> None:
    assert auc([1, 2], [3, 4]) == 1
    assert auc([1, 2, 3], [2]) == pytest.approx((1 + 0.5) / 3)
    assert auc([3], [1, 2]) == 0


def test_plot() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    errors = np.zeros((4, 4), np.float32)
    errors[0, 0] = 1
    drawn = plot_scores(picture, errors)
    assert drawn.shape == (8, 8, 3)
    assert drawn[0, 0, 0] > drawn[0, 0, 2] and drawn[7, 7, 2] > drawn[7, 7, 0]  # red there, blue here


def test_refused() -> None:
    with pytest.raises(InputError, match="smooth must be an odd number of pixels; received 2"):
        score_maps(halving(), np.zeros((1, 4, 4, 2)), smooth=2)
    with pytest.raises(InputError, match="an auto-encoder of .* and such pictures are required"):
        score_maps(halving(), np.zeros((1, 4, 5, 2)))
    with pytest.raises(InputError, match=r"quantile must be in 0\.\.1"):
        scores(np.zeros((1, 4, 4)), 2)
    with pytest.raises(InputError, match="scores of both kinds are required; received 0 normal and 1 abnormal"):
        auc([], [1])
