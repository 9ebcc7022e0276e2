"""Networks of the list with fresh weights that answer as trained ones do, and what to show them.

Fresh weights are not like trained ones: signals fade or run away with depth, and each layer adds to the noise of
rounding while none takes any away. So batch normalisations take the statistics of pictures, the last layers are scaled
to answers of a usual spread, and the few networks for which that is not enough learn for a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import edgecv
from edgecv.data.shapes import generate_shapes
from edgecv.models.registry import ModelRecord, get_record

CLASSES = 10
PICTURES = 8
_LOGIT_SPREAD = 2.0
_VALUE_SPREAD = 1.0
_SHAPING = ("Reshape", "Concatenate", "Permute", "Flatten")

# Of networks that cost little statistics are taken of more pictures: the last map of a detector may be 1 x 1. Of those
# that cost much at their own size fewer pictures must do.
_SETTLING = 32
_LIGHT, _COSTLY = 1e9, 10e9  # multiply-adds
_FULL_PICTURES, _COSTLY_PICTURES = 4, 2

# Pixels: most networks' last map is then 2 x 2.
SMALLEST = 64

# Where an architecture has a width or depth to choose, and where its smallest input needs more than `SMALLEST`.
# fmt: off
_REDUCED: dict[str, dict[str, Any]] = {
    "alexnet": {"dense_width": 64},
    "vgg16": {"dense_width": 64},
    "vgg19": {"dense_width": 64},
    "resnext50": {"cardinality": 8},
    "resnext101": {"cardinality": 8},
    "amoebanet_a": {"cells": 1, "filters": 16},
    "amoebanet_c": {"cells": 1, "filters": 16},
    "pnasnet5": {"cells": 1, "filters": 16},
    "polynet": {"units": 4},
    "mobilenet_v1": {"alpha": 0.25},
    "mobilenet_v2": {"alpha": 0.35},
    "unet": {"filters": 8},
    "unet_same": {"filters": 8},
    "segnet": {"alpha": 0.25},
    "fcn32s": {"alpha": 0.1},
    "fcn16s": {"alpha": 0.1},
    "fcn8s": {"alpha": 0.1},
    "deeplab_mobilenet_v2": {"alpha": 0.35},
    "ssd300": {"alpha": 0.1},
    "ssdlite_mobilenet_v1": {"alpha": 0.25},
    "ssdlite_mobilenet_v2": {"alpha": 0.35},
    "anchor_free_mobilenet_v2": {"alpha": 0.35, "channels": 32},
    "yolo_v1": {"alpha": 0.1},
    "yolo_v1_tiny": {"alpha": 0.25},
    "yolo_v2_tiny": {"alpha": 0.25},
    "yolo_v3_tiny": {"alpha": 0.25},
    "overfeat": {"alpha": 0.1},
    "rcnn": {"alpha": 0.25, "dense_width": 64},
    "fast_rcnn": {"backbone": "mobilenet_v2", "alpha": 0.25, "dense_width": 64},
    "faster_rcnn": {
        "backbone": "mobilenet_v2", "alpha": 0.25, "dense_width": 64, "proposals": 16, "candidates": 64,
    },
    "mask_rcnn": {
        "backbone": "mobilenet_v2", "alpha": 0.25, "dense_width": 64, "proposals": 16, "candidates": 64,
        "detections": 8, "mask_width": 16,
    },
    "deeppose": {"dense_width": 64},
    "simple_baseline": {"filters": 32},
}
# fmt: on

# Deep dense networks without a way around: with fresh weights each layer adds to the noise of rounding and none takes
# any away, so that their int8 answers are noise as they never are of trained ones. They learn for a moment, if a step
# costs little.
_TAUGHT_LEVELS = ("segnet", "deeplab_mobilenet_v2")
_TAUGHT_SHAPES = ("ssdlite_mobilenet_v1", "ssdlite_mobilenet_v2", "anchor_free_mobilenet_v2")
_LESSONS = 40

# Very deep plain networks: with fresh weights what float32 rounds grows from layer to layer until it shows in the
# answers. Their kernels begin near the identity, as trained ones must be for anything to come through.
_CARRIED = ("cifar_plain56", "cifar_plain110")


def fresh_network(name: str, full_size: bool = False) -> tuple[Any, npt.NDArray[Any]]:
    """A network, and (N, H, W, C) uint8 pictures (or float32 arrays) to calibrate and prove it with.

    Parameters
    ----------
    name : str
    full_size : bool
        At its own input size and width; otherwise at a small input, narrow where it has a width to choose.
    """
    import keras

    record = get_record(name)
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    arguments = {} if full_size else reduced_arguments(record)
    model = edgecv.create_model(name, **arguments)
    count, several = _how_many(record, full_size)
    shape = tuple(model.input_shape[1:])
    samples = generate_shapes(several, shape[0]) if name in _TAUGHT_SHAPES else []
    images: npt.NDArray[Any] = np.stack([sample.image for sample in samples]) if samples else inputs(shape, several)
    preprocessing = record.preprocessing
    values = ((images - np.array(preprocessing.mean)) / np.array(preprocessing.std)).astype(np.float32)
    if samples:
        teach_shapes(model, name, arguments, samples[:count] if full_size else samples)
    if name in _TAUGHT_LEVELS and several > count:
        teach_levels(model, values[:count], images[:count])
    if name in _CARRIED:
        carry(model)
    settle(model, values)
    scale(model, values, logits=not samples)
    return model, images[:count]


def _how_many(record: ModelRecord, full_size: bool) -> tuple[int, int]:
    """How many pictures to calibrate and prove with, and to take statistics of."""
    macs = (record.macs or 0) if full_size else 0
    count = _COSTLY_PICTURES if macs > _COSTLY else _FULL_PICTURES if full_size else PICTURES
    return count, count if macs > _LIGHT else _SETTLING


def inputs(shape: Sequence[int], count: int) -> npt.NDArray[Any]:
    """Pictures, or arrays where the shape is none of pictures."""
    return pictures(shape, count) if len(shape) == 3 else arrays(shape, count)


def reduced_arguments(record: ModelRecord) -> dict[str, Any]:
    """Arguments of `edgecv.create_model` for a network small enough to convert in seconds."""
    lengths = [min(size, max(SMALLEST, record.minimum_size)) for size in record.input_shape[:-1]]
    classes = {"classes": CLASSES} if record.classes else {}
    return {"input_shape": (*lengths, record.input_shape[-1]), **classes, **_REDUCED.get(record.name, {})}


def pictures(shape: Sequence[int], count: int = PICTURES, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(count, H, W, C) uint8: smooth blobs of colour, as pictures are, and unlike noise."""
    height, width, channels = shape
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (count, 4, 4, channels))
    rows, columns = (np.linspace(0, 3, size) for size in (height, width))
    return np.clip(_bilinear(_bilinear(coarse, rows, 1), columns, 2), 0, 255).astype(np.uint8)


def arrays(shape: Sequence[int], count: int = PICTURES, seed: int = 0) -> npt.NDArray[np.float32]:
    """(count, ...) float32 for networks of signals and volumes: standardised noise."""
    return np.random.default_rng(seed).standard_normal((count, *shape), np.float32)


def _bilinear(values: npt.NDArray[np.float64], places: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Sample along one axis between the given values."""
    low = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = (places - low).reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    sampled: npt.NDArray[np.float64] = np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share
    return sampled


def settle(model: Any, values: npt.NDArray[np.float32]) -> None:
    """Let every batch normalisation take the statistics of these values."""
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(values, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def scale(model: Any, values: npt.NDArray[np.float32], *, logits: bool = True) -> None:
    """Let the layers that make the outputs neither run away nor fade, as without normalisation fresh weights do.

    Logits, unless they have been learned, are scaled to a standard deviation of `_LOGIT_SPREAD`, what no activation
    follows to one of `_VALUE_SPREAD`: most of a trained detector's boxes lie near their default ones.
    """
    import keras

    found = [(layer, spread) for layer, spread in heads(model) if logits or spread == _VALUE_SPREAD]
    if not found:
        return
    answers = keras.Model(model.input, {layer.name: layer.output for layer, _ in found})(values, training=False)
    for layer, spread in found:
        deviation = float(np.std(np.asarray(answers[layer.name])))
        if deviation > 0:
            layer.kernel.assign(layer.kernel * (spread / deviation))


def heads(model: Any) -> list[tuple[Any, float]]:
    """The last layers with a kernel before each output, and the spread that their answers are to have."""
    found: dict[str, tuple[Any, float]] = {}

    def follow(tensor: Any, spread: float) -> None:
        made_by = tensor._keras_history.operation
        if getattr(made_by, "kernel", None) is not None:
            found.setdefault(made_by.name, (made_by, spread))
        elif type(made_by).__name__ in _SHAPING:
            for node in made_by._inbound_nodes[:1]:
                for source in node.input_tensors:
                    follow(source, spread)
        elif type(made_by).__name__ == "Activation":
            follow(made_by.input, spread if made_by.activation.__name__ == "linear" else _LOGIT_SPREAD)

    for output in model.outputs:
        follow(output, _VALUE_SPREAD)
    return list(found.values())


def carry(model: Any) -> None:
    """Let every 3x3 convolution pass its input on, beside half of what its fresh kernel makes of it."""
    import keras

    for layer in model.layers:
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (3, 3):
            kernel = 0.5 * keras.ops.convert_to_numpy(layer.kernel)
            channels = np.arange(min(kernel.shape[2:]))
            kernel[1, 1, channels, channels] += 1
            layer.kernel.assign(kernel)


def teach_levels(model: Any, values: npt.NDArray[np.float32], images: npt.NDArray[np.uint8]) -> None:
    """Let a segmenter tell ten levels of brightness apart."""
    brightness = images.mean(axis=-1)
    limits = np.quantile(brightness, np.linspace(0, 1, CLASSES + 1)[1:-1])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(values, np.digitize(brightness, limits), batch_size=len(values), epochs=_LESSONS, verbose=0)


def teach_shapes(model: Any, name: str, arguments: Mapping[str, Any], samples: Sequence[Any]) -> None:
    """Let a detector look for drawn shapes for a moment; it need not find them."""
    from edgecv.detection.families import coding_of, loss_of
    from edgecv.detection.train import train_detector

    learner = edgecv.create_model(name, **arguments, classifier_activation=None)
    coding = coding_of(learner)
    preprocessing = get_record(name).preprocessing
    train_detector(
        learner, samples, coding, loss_of(coding), preprocessing=preprocessing, epochs=_LESSONS, batch=len(samples)
    )
    model.set_weights(learner.get_weights())
