"""Networks that keras.applications maintains, built under our conventions. No Keras needed until one is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.models.registry import Builder, ModelRecord, OfficialWeights


def wrapper_of(record: ModelRecord, constructor: Callable[[], Callable[..., Any]]) -> Builder:
    """A builder around a constructor of keras.applications.

    Input and output follow the other models: the input layer is ``image``, the dense layer ``predictions`` gives
    logits and ``probabilities`` is a layer of its own. Layer order and weights are the constructor's: its official
    files load.

    Parameters
    ----------
    record : ModelRecord
    constructor : callable
        Without arguments; imports Keras and returns ``keras.applications.DenseNet121`` or the like.
    """

    def builder(
        input_shape: tuple[int, int, int] | None = None,
        classes: int = record.classes,
        *,
        include_top: bool = True,
        classifier_activation: str | None = "softmax",
        name: str = record.name,
    ) -> Any:
        import keras

        from edgecv.layers.graph import functional
        from edgecv.layers.heads import softmax
        from edgecv.layers.shapes import check_classes, check_image_shape

        shape = check_image_shape(name, input_shape, record.input_shape, record.minimum_size)
        check_classes(name, classes)
        image = keras.layers.Input(shape, name="image")
        arguments = {"classes": classes, "classifier_activation": None} if include_top else {}
        network = constructor()(include_top=include_top, weights=None, input_tensor=image, **arguments)
        x = network.outputs[0]
        if include_top:
            x = softmax(x, classifier_activation, "probabilities")
        return functional(image, x, name)

    builder.__name__ = builder.__qualname__ = record.name
    builder.__doc__ = f"Build {record.name}: {record.summary} ({record.paper.citation})."
    return builder


def official_files(
    folder: str, files: tuple[str, str], md5: tuple[str, str], size: int, licence: str = "Apache-2.0"
) -> tuple[OfficialWeights, ...]:
    """The two published files, with the classifier and without, with the md5 that Keras states.

    Parameters
    ----------
    folder : str
        Behind the common address.
    files, md5 : (str, str)
    size : int
        Of the training images, pixels.
    licence : str
        As their authors chose it.
    """
    address = f"https://storage.googleapis.com/tensorflow/keras-applications/{folder}/"
    return tuple(
        OfficialWeights(
            address=f"{address}{file}",
            file=file,
            licence=licence,
            input_size=size,
            include_top=top,
            md5=digest,
        )
        for file, top, digest in zip(files, (True, False), md5, strict=True)
    )


def usual_files(name: str) -> tuple[str, str]:
    """The names that most of them have."""
    stem = f"{name}_weights_tf_dim_ordering_tf_kernels"
    return f"{stem}.h5", f"{stem}_notop.h5"
