"""Pooled and aligned regions beside ONNX Runtime's operators, and by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgecv.explain.gradients import gradient
from edgecv.layers.roi import METHODS, RoIAlign, RoIPooling
from edgecv_runtime.errors import InputError

STRIDE = 8


def regions(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two maps (13, 17, 5), and nine boxes in each picture of 104×136 pixels, some small, one the whole."""
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.uniform(0, 1, (2, 9, 2, 2)), axis=2) * [136, 104]
    corners[0, 0] = [[0, 0], [136, 104]]
    corners[1, 0] = [[50, 50], [51, 52]]
    return generator.normal(size=(2, 13, 17, 5)).astype(np.float32), corners.reshape(2, 9, 4).astype(np.float32)


def onnx_operator(kind: str, opset: int, features: np.ndarray, boxes: np.ndarray, **attributes: Any) -> np.ndarray:
    """RoiAlign or MaxRoiPool as ONNX Runtime computes it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    which = np.repeat(np.arange(len(boxes)), boxes.shape[1])
    feed = {"x": features.transpose(0, 3, 1, 2), "rois": boxes.reshape(-1, 4)}
    if kind == "RoiAlign":
        feed["which"] = which.astype(np.int64)
    else:
        feed["rois"] = np.concatenate([which[:, None], feed["rois"]], axis=1).astype(np.float32)
    inputs = [
        helper.make_tensor_value_info(name, kinds.INT64 if name == "which" else kinds.FLOAT, array.shape)
        for name, array in feed.items()
    ]
    node = helper.make_node(kind, list(feed), ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", kinds.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("aligned", "mode"), [(True, "half_pixel"), (False, "output_half_pixel")])
@pytest.mark.parametrize(("size", "samples"), [(7, 2), (3, 1)])
def test_align_equals_onnx(method: str, aligned: bool, mode: str, size: int, samples: int) -> None:
    features, boxes = regions()
    expected = onnx_operator(
        "RoiAlign", 16, features, boxes, output_height=size, output_width=size, sampling_ratio=samples,
        spatial_scale=1 / STRIDE, coordinate_transformation_mode=mode,
    )  # fmt: skip
    ours = np.asarray(RoIAlign(size, 1 / STRIDE, samples, aligned, method)([features, boxes]))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("size", [2, 7])
def test_pooling_equals_onnx(size: int) -> None:
    features, boxes = regions(1)
    expected = onnx_operator(
        "MaxRoiPool", 16, features, boxes, pooled_shape=[size, size], spatial_scale=1 / STRIDE
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(RoIPooling(size, 1 / STRIDE)([features, boxes])), expected)


def test_by_hand() -> None:
    """A map that rises by one a column: aligned features are the places of the cells, pooled ones whole columns."""
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[None, None, :, None], (1, 8, 8, 1))
    box = np.float32([[[16, 16, 48, 48]]])  # columns 2 to 6 at stride 8
    aligned = np.asarray(RoIAlign(2, 1 / 8)([ramp, box]))
    # Cells from 2 to 4 and 4 to 6; middles 3 and 5, and place i has its middle at i + 1/2.
    np.testing.assert_allclose(aligned[0, 0, :, 0], [2.5, 4.5], atol=1e-6)
    pooled = np.asarray(RoIPooling(2, 1 / 8)([ramp, box]))
    # Corners 2 and 6, both inside: five columns, of which each half takes ⌈5/2⌉.
    np.testing.assert_array_equal(pooled[0, 0, :, 0], [4, 6])


@pytest.mark.parametrize("layer", [RoIAlign(2, 1 / 8), RoIAlign(2, 1 / 8, method="matrices"), RoIPooling(2, 1 / 8)])
def test_gradient_is_the_share_of_each_place(layer: Any) -> None:
    features, boxes = regions(2)

    def total(x: Any) -> Any:
        return keras.ops.sum(layer([x, boxes]))

    _, slope = gradient(total, features)
    assert np.isfinite(slope).all()
    place = tuple(np.argwhere(slope > 0.5)[0])
    step = np.zeros_like(features)
    step[place] = 1e-2
    difference = float(total(features + step)) - float(total(features))
    assert difference / 1e-2 == pytest.approx(slope[place], abs=2e-2)


def test_settings_survive_and_are_checked() -> None:
    layer = RoIAlign(3, 0.25, 4, False, "matrices", name="a")
    assert RoIAlign.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(InputError, match="size must be a whole number of at least 1; received 0"):
        RoIPooling(0, 0.5)
    with pytest.raises(InputError, match="scale .* must be above 0; received 0"):
        RoIPooling(2, 0)
    with pytest.raises(InputError, match="method must be one of gather, matrices; received 'x'"):
        RoIAlign(2, 0.5, method="x")
    with pytest.raises(InputError, match="samples must be a whole number"):
        RoIAlign(2, 0.5, 0)
