"""How pixels of ImageNet are normalised, and the frame that builders share. No Keras needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.layers.heads import classifier
from edgecv.models.registry import Builder, ModelRecord, Preprocessing
from edgecv_runtime.manifest import Resize

_CROP = Resize(mode="crop", crop_fraction=0.875)

# Pixels less ImageNet's mean, as Caffe's networks were trained.
MEAN_SUBTRACTED = Preprocessing(mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0), resize=_CROP)

# Pixels less ImageNet's mean and over its standard deviation, of 0..1.
STANDARDISED = Preprocessing(
    mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), std=(0.229 * 255, 0.224 * 255, 0.225 * 255), resize=_CROP
)

# Pixels in -1..1, as the Inception networks were trained.
SYMMETRIC = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3, resize=_CROP)

NO_WEIGHTS = "its authors publish no weights for Keras"


def builder_of(
    record: ModelRecord,
    body: Callable[..., Any],
    top: Callable[..., Any] = classifier,
    top_options: tuple[str, ...] = (),
) -> Builder:
    """The builder of a record from its two parts.

    Parameters
    ----------
    record : ModelRecord
        Gives name, default shape, default classes and smallest size.
    body : callable
        ``body(image, **options)``: from the input, (N, H, W, C) of images, to the last feature map.
    top : callable
        ``top(features, classes, classifier_activation)``: from there to the (N, classes) answers.
    top_options : tuple of str
        Options of the record that `top` takes, and not `body`.

    Returns
    -------
    callable
        ``builder(input_shape=None, classes=..., *, include_top=True, classifier_activation="softmax", name=...,
        **options)``, as `ModelRecord.builder` requires.
    """

    def builder(
        input_shape: tuple[int, ...] | None = None,
        classes: int = record.classes,
        *,
        include_top: bool = True,
        classifier_activation: str | None = "softmax",
        name: str = record.name,
        **options: Any,
    ) -> Any:
        import keras

        from edgecv.layers.graph import functional
        from edgecv.layers.shapes import check_classes, check_input_shape

        shape = check_input_shape(name, input_shape, record.input_shape, record.minimum_size)
        check_classes(name, classes)
        image = keras.layers.Input(shape, name={2: "signal", 3: "image", 4: "volume"}[len(shape)])
        ending = {key: options.pop(key) for key in top_options if key in options}
        x = body(image, **options)
        if include_top:
            x = top(x, classes, classifier_activation, **ending)
        return functional(image, x, name)

    builder.__name__ = builder.__qualname__ = record.name
    builder.__doc__ = f"Build {record.name}: {record.summary} ({record.paper.citation})."
    return builder


def swap_first_channels(model: Any) -> None:
    """Turn a network trained on BGR pixels into one for RGB, by the kernel of its first convolution.

    The weights that came from Caffe expect blue first; every picture here is RGB.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    """
    import keras
    import numpy as np

    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *rest = first.get_weights()
    first.set_weights([np.ascontiguousarray(kernel[:, :, ::-1]), *rest])
