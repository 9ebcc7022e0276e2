"""Receptive fields by hand, and by what the output really depends on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import edgecv
from edgecv.explain.gradients import gradient
from edgecv.receptive_field import ReceptiveField, receptive_fields

layers = keras.layers


def chain(shape: tuple[int, ...], *stack: Any) -> Any:
    x = image = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return keras.Model(image, x)


def last(model: Any) -> ReceptiveField:
    field = list(receptive_fields(model).values())[-1]
    assert field is not None
    return field


def depends_on(model: Any, position: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last input pixel, along each axis, that the gradient of one output position reaches."""
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 0.5, np.float32))  # of one sign: nothing cancels
    ones = np.ones((1, *model.input_shape[1:]), np.float32)
    _, slope = gradient(lambda x: model(x, training=False)[(slice(None), *position)], ones)
    reached = np.abs(slope[0]).sum(axis=-1) > 0
    spans = []
    for axis in range(reached.ndim):
        along = np.flatnonzero(reached.any(axis=tuple(other for other in range(reached.ndim) if other != axis)))
        spans.append((int(along[0]), int(along[-1])))
    return spans


def test_alexnet_by_hand() -> None:
    # Krizhevsky 2012: 11/4, pool 3/2, 5, pool 3/2, three times 3, pool 3/2. Araujo et al. 2019 publish 195 and 32.
    model = chain(
        (227, 227, 3),
        layers.Conv2D(2, 11, strides=4, name="conv1"),
        layers.MaxPooling2D(3, 2, name="pool1"),
        layers.Conv2D(2, 5, padding="same", name="conv2"),
        layers.MaxPooling2D(3, 2, name="pool2"),
        layers.Conv2D(2, 3, padding="same", name="conv3"),
        layers.Conv2D(2, 3, padding="same", name="conv4"),
        layers.Conv2D(2, 3, padding="same", name="conv5"),
        layers.MaxPooling2D(3, 2, name="pool5"),
    )
    fields = receptive_fields(model)
    sizes = [fields[name].size[0] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")]
    assert sizes == [11, 19, 51, 67, 99, 131, 163, 195]
    strides = [fields[name].stride[0] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "pool5")]
    assert strides == [4, 8, 8, 16, 16, 32]
    # conv1 begins at 0; pool1 too; conv2 pads 2 of stride 8; conv3 to conv5 pad 1 of stride 16 each.
    assert [fields[name].start[0] for name in ("conv1", "pool1", "conv2", "conv3", "conv5")] == [0, 0, -16, -32, -64]
    assert fields["conv1"].of((2, 3)) == ((8, 18), (12, 22))


STACKS = [
    ([layers.Conv2D(1, 3), layers.Conv2D(1, 5, strides=2)], (32, 30, 1)),
    ([layers.Conv2D(1, 3, strides=2, padding="same"), layers.DepthwiseConv2D(5, padding="same")], (31, 32, 1)),
    ([layers.ZeroPadding2D(((0, 1), (2, 0))), layers.SeparableConv2D(1, 3, strides=2)], (32, 32, 2)),
    ([layers.Conv2D(1, 3, dilation_rate=3), layers.AveragePooling2D(3, 2)], (40, 40, 1)),
    ([layers.AveragePooling2D(2), layers.Conv2D(1, (1, 3)), layers.Cropping2D(1)], (32, 32, 1)),
    ([layers.Conv2D(1, 3, strides=2, padding="same"), layers.UpSampling2D(2), layers.Conv2D(1, 3)], (32, 32, 1)),
    ([layers.AveragePooling2D(4), layers.UpSampling2D(4, interpolation="bilinear")], (64, 64, 1)),
    ([layers.AveragePooling2D(2), layers.Conv2DTranspose(1, 3, strides=2, padding="same")], (32, 32, 1)),
    ([layers.Conv2D(1, 2, strides=2), layers.Conv2DTranspose(1, 4, strides=2, padding="same")], (32, 32, 1)),
    ([layers.Conv2DTranspose(1, 5, strides=3)], (12, 12, 1)),
    ([layers.Conv1D(1, 4, strides=2), layers.AveragePooling1D(2)], (50, 2)),
    ([layers.Conv1D(1, 3, padding="causal", dilation_rate=2)], (30, 1)),
    ([layers.Conv3D(1, (3, 1, 5)), layers.AveragePooling3D(2)], (16, 14, 18, 1)),
]


@pytest.mark.parametrize(("stack", "shape"), STACKS)
def test_fields_hold_exactly_what_the_gradient_reaches(stack: list, shape: tuple[int, ...]) -> None:
    model = chain(shape, *stack)
    field = last(model)
    places = model.output_shape[1:-1]
    middle = tuple(size // 2 for size in places)
    spans = []
    for step in range(4):  # after upsampling by up to 4 each phase reaches differently, and the field holds them all
        position = tuple(
            start + step if start + step < size else start for start, size in zip(middle, places, strict=True)
        )
        reached, claimed = depends_on(model, position), field.of(position)
        for (first, final), (lowest, highest) in zip(reached, claimed, strict=True):
            assert lowest - 1e-9 <= first <= final <= highest + 1e-9
        spans.append([(first - c[0], c[1] - final) for (first, final), c in zip(reached, claimed, strict=True)])
    for axis in range(len(places)):  # and not one pixel is claimed that no position needs
        assert min(span[axis][0] for span in spans) == pytest.approx(0)
        assert min(span[axis][1] for span in spans) == pytest.approx(0)


def test_branches_are_joined_to_the_smallest_field_that_holds_both() -> None:
    image = keras.Input((32, 32, 1))
    left = layers.Cropping2D(((0, 4), (0, 4)))(layers.Conv2D(1, 3)(image))  # position 0 sees 0..2
    right = layers.Cropping2D(((4, 0), (4, 0)))(layers.Conv2D(1, 3)(image))  # and 4..6
    model = keras.Model(image, layers.Add()([left, right]))
    assert last(model) == ReceptiveField((7, 7), (1, 1), (3, 3))
    assert depends_on(model, (10, 12, 0)) == [(10, 16), (12, 18)]


def test_a_model_inside_a_model_continues_the_field() -> None:
    inner = chain((14, 14, 1), layers.Conv2D(1, 3), layers.Conv2D(1, 3))
    model = chain((32, 32, 1), layers.Conv2D(1, 5, strides=2), inner)
    assert last(model) == ReceptiveField((13, 13), (2, 2), (6, 6))  # 5 + 2·2·2


def test_reach_that_is_not_known_is_not_guessed() -> None:
    class Shuffled(layers.Conv2D):
        def call(self, x: Any) -> Any:
            return keras.ops.flip(super().call(x), axis=1)

    fields = receptive_fields(chain((8, 8, 1), Shuffled(1, 3, name="shuffled"), layers.Resizing(7, 7)))
    assert fields["shuffled"] is None
    fields = receptive_fields(chain((8, 8, 1), layers.Resizing(12, 12, name="resized")))
    assert fields["resized"] is None


def test_layers_of_our_own_and_of_keras_applications_act_on_every_place_alone() -> None:
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    from edgecv.layers.l2_scale import l2_scale
    from edgecv.layers.pad_channels import pad_channels

    image = keras.Input((16, 16, 2))
    x = pad_channels(layers.Conv2D(2, 3, name="first")(image), 4, "padded")
    x = CustomScaleLayer(0.5, name="scaled")([x, layers.Conv2D(4, 1)(x)])
    model = keras.Model(image, l2_scale(x, "normalised"))
    fields = receptive_fields(model)
    for name in ("padded", "scaled", "normalised"):
        assert fields[name] == fields["first"] == ReceptiveField((3, 3), (1, 1), (1, 1))
    assert depends_on(model, (4, 5, 0)) == [(4, 6), (5, 7)]


def test_mobilenet_by_gradient() -> None:
    # The same chain of windows and paddings as MobileNet v1, without what could stop a gradient.
    shape = (384, 384, 1)
    field = last(edgecv.create_model("mobilenet_v1", (384, 384, 3), alpha=0.1, include_top=False))
    x = image = keras.Input(shape)
    for layer in edgecv.create_model("mobilenet_v1", (384, 384, 3), alpha=0.1, include_top=False).layers[1:]:
        if isinstance(layer, layers.ZeroPadding2D):
            x = layers.ZeroPadding2D(layer.padding)(x)
        elif hasattr(layer, "kernel_size"):
            x = layers.AveragePooling2D(layer.kernel_size, layer.strides, layer.padding)(x)
    reached = depends_on(keras.Model(image, x), (6, 5, 0))
    assert field.size == (315, 315)
    assert reached == [(max(0, int(low)), min(383, int(high))) for low, high in field.of((6, 5))]
