"""Pose networks against their papers, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

import edgecv
from edgecv.layers.graph import without_weights
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError

NAMES = ("deeppose", "deeppose_small", "hourglass_small", "simple_baseline")


def test_simple_baseline_has_the_published_size() -> None:
    # Xiao et al. 2018 with 17 joints: 34.0 million parameters, maps of 64 x 48 for pictures of 256 x 192.
    with without_weights():
        model = edgecv.create_model("simple_baseline", classes=17)
    assert round(sum(int(np.prod(w.shape)) for w in model.trainable_weights) / 1e6, 1) == 34.0
    assert model.output_shape == (None, 64, 48, 17)


def test_deeppose_is_alexnet_with_two_numbers_a_joint() -> None:
    with without_weights():
        model, alexnet = (edgecv.create_model(name) for name in ("deeppose", "alexnet"))
    # 1000 classes against 28 numbers, behind 4096 units.
    assert alexnet.count_params() - model.count_params() == 4097 * (1000 - 28)
    assert model.output_shape == (None, 28)


def test_deeppose_small_by_hand() -> None:
    def convolution(channels: int, filters: int) -> int:
        return 9 * channels * filters + 4 * filters

    convolutions = [(3, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    dense = 6 * 6 * 128 * 256 + 4 * 256 + 257 * 28
    with without_weights():
        model = edgecv.create_model("deeppose_small")
    assert model.count_params() == sum(convolution(*pair) for pair in convolutions) + dense


def test_maps_have_a_cell_for_every_four_pixels() -> None:
    model = edgecv.create_model("hourglass_small", (64, 96, 3), classes=5, filters=4)
    answer = np.asarray(model(np.zeros((2, 64, 96, 3), np.float32)))
    assert answer.shape == (2, 16, 24, 5)
    assert edgecv.create_model("hourglass_small", (64, 96, 3), filters=4, include_top=False).output_shape[-1] == 8


@pytest.mark.parametrize("name", NAMES)
def test_records_say_how_the_runtime_reads_them(name: str) -> None:
    record = get_record(name)
    assert record.task == "pose" and record.decoder is not None
    decoder, parameters = record.decoder(record.input_shape, 14, {})
    assert decoder == ("regression-pose" if name.startswith("deeppose") else "heatmap-pose")
    assert [12, 13] in parameters["skeleton"]
    assert record.decoder(record.input_shape, 17, {})[1] == {}


def test_sizes() -> None:
    with pytest.raises(InputError, match="hourglass_small: height and width must be multiples of 16 pixels; received"):
        edgecv.create_model("hourglass_small", (60, 64, 3))
    with pytest.raises(InputError, match="simple_baseline: height and width must be multiples of 32 pixels; received"):
        edgecv.create_model("simple_baseline", (256, 200, 3))
