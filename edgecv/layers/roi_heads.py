"""The heads of two-stage detectors: region proposals, classes and boxes, masks, keypoints.

A head is a list of layers that is applied to more than one input: to the regions that a network proposes when it
runs, and to those that are drawn for it when it learns. `Head.of` finds the layers again in a built network.
This module imports Keras when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

_PACKAGE = "edgecv"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class RegionRows(keras.layers.Layer):
    """From (N · R, ...), the regions of all pictures one after the other, to (N, R, ...), or flat, to (N, R, F)."""

    def __init__(self, regions: int, flat: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.regions, self.flat = int(regions), bool(flat)

    def call(self, x: Any) -> Any:
        return ops.reshape(x, (-1, self.regions, *self._each(x.shape)))

    def rows_of_a_picture(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """One: all of its regions in a row (see `edgecv.complexity`)."""
        return 1

    def _each(self, shape: Any) -> tuple[int, ...]:
        return (math.prod(shape[1:]),) if self.flat else tuple(shape[1:])

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        batch = None if input_shape[0] is None else input_shape[0] // self.regions
        return batch, self.regions, *self._each(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "regions": self.regions, "flat": self.flat}


@keras.saving.register_keras_serializable(package=_PACKAGE)
class RegionScores(keras.layers.Layer):
    """Softmax over the classes of every region; 0 for rows that stand for nothing, which have no width.

    From logits (N, R, 1 + classes) and regions (N, R, 4) xyxy.
    """

    exact = True  # as `edgecv.layers.proposals.Proposals`

    def call(self, inputs: Any) -> Any:
        logits, regions = inputs
        there = ops.cast(regions[..., 2:3] > regions[..., 0:1], logits.dtype)
        return ops.softmax(logits, axis=-1) * there

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MaskOfClass(keras.layers.Layer):
    """The mask of each detection's own class (He et al. 2017, section 3), as probabilities.

    From logits (N, D, m, m, classes) and class indices (N, D) as floats: (N, D, m, m).
    """

    exact = True  # as `edgecv.layers.proposals.Proposals`

    def call(self, inputs: Any) -> Any:
        logits, classes = inputs
        kinds = ops.arange(logits.shape[-1], dtype=logits.dtype)
        chosen = ops.relu(1.0 - ops.abs(classes[..., None] - kinds))  # 1 at the class, 0 elsewhere
        return ops.sigmoid(ops.sum(logits * chosen[:, :, None, None], axis=-1))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return tuple(input_shape[0][:-1])


def proposal_head(features: Any, anchors: int, width: int) -> tuple[Any, Any]:
    """Two logits and four offsets for each of the k anchors at each place (Ren et al. 2017, section 3.1).

    Returns
    -------
    logits : (N, H · W · k, 2) tensor, layer ``rpn_logits``
        Of no object, and of an object.
    offsets : (N, H · W · k, 4) tensor, layer ``rpn_offsets``
    """
    layers = keras.layers
    draw = keras.initializers.RandomNormal(stddev=0.01, seed=0)
    x = layers.Conv2D(width, 3, padding="same", activation="relu", name="rpn_conv")(features)
    logits = layers.Conv2D(2 * anchors, 1, kernel_initializer=draw, name="rpn_logits_map")(x)
    offsets = layers.Conv2D(4 * anchors, 1, kernel_initializer=draw, name="rpn_offsets_map")(x)
    return layers.Reshape((-1, 2), name="rpn_logits")(logits), layers.Reshape((-1, 4), name="rpn_offsets")(offsets)


class Head:
    """Layers in a row, applied as often as wanted with one set of weights."""

    names: tuple[str, ...] = ()

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers

    @classmethod
    def of(cls, model: keras.Model) -> Head | None:
        """The head of a built network; None where it has none."""
        # Keras lists layers in the order of execution, and those of a row have but one.
        found = [layer for layer in model.layers if layer.name.startswith(cls.names)]
        return cls(found) if found else None

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class BoxHead(Head):
    """Two dense layers, then logits of 1 + classes and four offsets a class (Girshick 2015, section 2)."""

    names = ("roi_fc", "roi_dropout")
    ends = ("roi_class", "roi_box")

    @classmethod
    def of(cls, model: keras.Model) -> BoxHead | None:
        found = super().of(model)
        return None if found is None else cls([*found.layers, *(model.get_layer(name) for name in cls.ends)])

    @classmethod
    def create(cls, classes: int, width: int, dropout: float = 0.5) -> BoxHead:
        """Fresh layers: dense ones of `width` units, as VGG's fc6 and fc7."""
        layers = keras.layers
        made: list[Any] = []
        for number in (6, 7):
            made.append(layers.Dense(width, activation="relu", name=f"roi_fc{number}"))
            if dropout > 0:
                made.append(layers.Dropout(dropout, name=f"roi_dropout{number}"))
        # Standard deviations of section 2.3.
        draw = [keras.initializers.RandomNormal(stddev=deviation, seed=0) for deviation in (0.01, 0.001)]
        for units, name, first in zip((1 + classes, 4 * classes), cls.ends, draw, strict=True):
            made.append(layers.Dense(units, kernel_initializer=first, name=name))
        return cls(made)

    def __call__(self, x: Any) -> tuple[Any, Any]:
        """Features (N, R, F) to logits (N, R, 1 + classes) and offsets (N, R, 4 · classes)."""
        for layer in self.layers[:-2]:
            x = layer(x)
        return self.layers[-2](x), self.layers[-1](x)


def _convolutions(name: str, width: int, depth: int) -> list[Any]:
    """Fresh 3×3 convolutions: what the heads of masks and of keypoints begin with."""
    return [
        keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}_conv{number}")
        for number in range(1, depth + 1)
    ]


class MaskHead(Head):
    """Convolutions, a transposed one that doubles the size, and one map a class (He et al. 2017, figure 4)."""

    names = ("mask_conv", "mask_up", "mask_map")

    @classmethod
    def create(cls, classes: int, width: int, depth: int) -> MaskHead:
        """Fresh layers: `depth` convolutions of `width` channels; four of 256 in the paper."""
        layers, made = keras.layers, _convolutions("mask", width, depth)
        made.append(layers.Conv2DTranspose(width, 2, strides=2, activation="relu", name="mask_up"))
        made.append(layers.Conv2D(classes, 1, name="mask_map"))
        return cls(made)


class KeypointHead(Head):
    """Convolutions, a transposed one and a bilinear enlargement: one map a keypoint (He et al. 2017, section 5)."""

    names = ("keypoint_conv", "keypoint_up", "keypoint_map")

    @classmethod
    def create(cls, keypoints: int, width: int, depth: int) -> KeypointHead:
        """Fresh layers: `depth` convolutions of `width` channels; eight of 512 in the paper."""
        layers, made = keras.layers, _convolutions("keypoint", width, depth)
        made.append(layers.Conv2DTranspose(keypoints, 4, strides=2, padding="same", name="keypoint_up"))
        made.append(layers.UpSampling2D(2, interpolation="bilinear", name="keypoint_map"))
        return cls(made)


@keras.saving.register_keras_serializable(package=_PACKAGE)
class FixedRegions(keras.layers.Layer):
    """The same regions for every picture: from any (N, ...) tensor to (N, R, 4).

    Parameters
    ----------
    boxes : (R, 4) array, xyxy pixels
    """

    def __init__(self, boxes: npt.ArrayLike, **options: Any) -> None:
        super().__init__(**options)
        self.boxes = np.asarray(boxes, np.float32).reshape(-1, 4)

    def call(self, x: Any) -> Any:
        batch = ops.shape(x)[0]
        return ops.broadcast_to(ops.convert_to_tensor(self.boxes)[None], (batch, *self.boxes.shape))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return input_shape[0], *self.boxes.shape

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(x.shape), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "boxes": self.boxes.tolist()}
