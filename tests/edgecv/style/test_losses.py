"""Losses of style transfer by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.style.losses import content_loss, gram, style_loss, total_variation

# Two maps of 2×2: [[1, 3], [5, 7]] and [[2, 4], [6, 8]].
MAPS = np.arange(1, 9, dtype=np.float32).reshape(1, 2, 2, 2)


def values(tensor: Any) -> Any:
    return np.asarray(tensor).tolist()


def test_the_gram_matrix_of_two_maps() -> None:
    # 1 + 9 + 25 + 49; 2 + 12 + 30 + 56; 4 + 16 + 36 + 64 (eq. 3).
    assert values(gram(MAPS)) == [[[84, 100], [100, 120]]]


def test_the_style_of_one_layer() -> None:
    # N = 2 maps of M = 4 positions: 1 / (4 · 4 · 16) of 84² + 2 · 100² + 120² (eq. 4).
    nothing = np.zeros((1, 2, 2), np.float32)
    assert values(style_loss(MAPS, nothing)) == pytest.approx([41_456 / 256])
    assert values(style_loss(MAPS, gram(MAPS))) == [0]
    # Every value of the matrix off by 8: 4 · 64 / 256.
    assert values(style_loss(MAPS, np.asarray(gram(MAPS)) + 8)) == pytest.approx([1])


def test_a_style_of_another_size_counts_per_position() -> None:
    twice = np.concatenate([MAPS, MAPS], axis=1)  # the same maps twice: the matrix doubles, and the positions
    assert values(style_loss(MAPS, gram(twice), wanted_positions=8)) == [0]


def test_where_things_are_does_not_matter_to_style() -> None:
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(1, 4, 4, 3)).astype(np.float32)
    moved = maps.reshape(1, 16, 3)[:, generator.permutation(16)].reshape(maps.shape)
    assert values(style_loss(moved, gram(maps))) == pytest.approx([0], abs=1e-10)
    assert values(content_loss(moved, maps))[0] > 1


def test_the_style_of_several_layers_is_their_weighed_sum() -> None:
    # eq. 5 with w = ½: layers at 41,456 / 256 and at 1.
    first = style_loss(MAPS, np.zeros((1, 2, 2), np.float32))
    second = style_loss(MAPS, np.asarray(gram(MAPS)) + 8)
    assert values((first + second) / 2) == pytest.approx([(41_456 / 256 + 1) / 2])


def test_content() -> None:
    wanted = MAPS.copy()
    wanted[0, 0, 0] = (3, 5)  # off by 2 and 3: (4 + 9) / 2 (eq. 1)
    assert values(content_loss(MAPS, wanted)) == [6.5]


def test_total_variation() -> None:
    image = np.array([[0, 1], [3, 1]], np.float32).reshape(1, 2, 2, 1)
    # Down: 9 + 0, across: 1 + 4; four values.
    assert values(total_variation(image)) == [14 / 4]
