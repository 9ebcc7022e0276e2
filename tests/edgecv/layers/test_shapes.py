"""Rounding of channels and repeats, paddings, and the checks of arguments."""

from __future__ import annotations

import math

import keras
import pytest

from edgecv.layers.shapes import check_classes, check_image_shape, make_divisible, round_repeats, strided_padding
from edgecv_runtime.errors import InputError


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [
        (32, 32),
        (3, 8),  # never below the divisor
        (11.2, 16),  # 8 would lose 29 %
        (12, 16),  # half rounds up
        (44.8, 48),  # MobileNet v2 at 1.4
        (33.6, 32),  # loses 5 %: allowed
        (26.4, 24),  # loses 9 %: allowed
        (8.95, 16),  # would lose 10.6 %
        (32 * 1.1, 32),  # EfficientNet-B2 stem
        (1280 * 2.0, 2560),
    ],
)
def test_make_divisible(channels: float, rounded: int) -> None:
    assert make_divisible(channels) == rounded


def test_make_divisible_never_loses_more_than_a_tenth() -> None:
    for tenths in range(80, 20_000, 7):
        channels = tenths / 10
        rounded = make_divisible(channels)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * channels
        assert abs(rounded - channels) < 8


@pytest.mark.parametrize(("repeats", "depth", "expected"), [(2, 1.0, 2), (2, 1.1, 3), (4, 3.1, 13), (1, 1.8, 2)])
def test_repeats_round_up(repeats: int, depth: float, expected: int) -> None:
    assert round_repeats(repeats, depth) == expected


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (225, 224)])
def test_strided_padding_is_what_same_padding_does(size: tuple[int, int], kernel: int) -> None:
    for length, (before, after) in zip(size, strided_padding(size, kernel), strict=True):
        total = max((math.ceil(length / 2) - 1) * 2 + kernel - length, 0)
        assert (length + before + after - kernel) // 2 + 1 == math.ceil(length / 2)
        assert before == total // 2


def test_image_shape_defaults_and_passes() -> None:
    assert check_image_shape("m", None, (224, 192, 3), 32) == (224, 192, 3)
    assert check_image_shape("m", (32, 64, 1), (224, 224, 3), 32) == (32, 64, 1)


@pytest.mark.parametrize("shape", [(224, 224), (224, 224, 0), (224.0, 224, 3), (True, 224, 3), (None, None, 3)])
def test_image_shape_refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"m: input_shape must be \(height, width, channels\); received"):
        check_image_shape("m", shape, (224, 224, 3), 32)


def test_image_shape_refuses_small_ones() -> None:
    with pytest.raises(InputError, match="m: the input must be at least 32x32 pixels; received 31x224"):
        check_image_shape("m", (31, 224, 3), (224, 224, 3), 32)


def test_channels_first_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(InputError, match="m is built with channels last; Keras is set to channels_first"):
        check_image_shape("m", None, (224, 224, 3), 32)


@pytest.mark.parametrize("classes", [0, -1, 1.0, True, "10"])
def test_classes_refused(classes: object) -> None:
    with pytest.raises(InputError, match="m: classes must be a whole number of at least 1"):
        check_classes("m", classes)  # type: ignore[arg-type]
