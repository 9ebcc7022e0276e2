"""GoogLeNet, the first Inception network, with its two auxiliary heads (Szegedy et al. 2015, arXiv:1409.4842)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edgecv.layers.heads import classifier, softmax
from edgecv.models.imagenet import MEAN_SUBTRACTED, NO_WEIGHTS, builder_of
from edgecv.models.registry import Auxiliary, ModelRecord, Paper, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

PAPER = Paper(
    "Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
    2015,
    "Going Deeper with Convolutions",
    "1409.4842",
)

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj of each inception module.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY = ("4a", "4d")  # where the auxiliary heads begin
AUXILIARY_WEIGHT = 0.3  # of each of their losses (section 5)

_AUXILIARY_WIDTH = 1024
_MINIMUM_TRAINING_SIZE = 80  # leaves the auxiliary heads a 5x5 map

_RECORD = ModelRecord(
    name="googlenet",
    task="classification",
    summary="nine inception modules: 1x1, 3x3 and 5x5 convolutions and pooling side by side",
    paper=PAPER,
    input_shape=(224, 224, 3),
    classes=1000,
    parameters=6_998_552,
    macs=1_582_671_872,
    preprocessing=MEAN_SUBTRACTED,
    weights_note=NO_WEIGHTS,
    auxiliary=Auxiliary(lambda model: training_model(model).output, AUXILIARY_WEIGHT, _MINIMUM_TRAINING_SIZE),
)


def body(image: Any) -> Any:
    """Stem and modules, without the auxiliary heads: (N, H/32, W/32, 1024)."""
    return _modules(image)["5b"]


googlenet = register(_RECORD)(builder_of(_RECORD, body, partial(classifier, dropout=0.4)))


def training_model(model: keras.Model, classifier_activation: str | None = "softmax") -> keras.Model:
    """The same network with its two auxiliary heads, for training.

    The heads are branches beside it: what is trained is `model` itself, layer for layer, so that `model` is what is
    saved, evaluated and exported afterwards, and the heads are dropped by dropping the returned model.

    Parameters
    ----------
    model : keras.Model
        A GoogLeNet of `create_model`, with its classifier, at least 80 x 80 pixels.
    classifier_activation : {"softmax", None}
        Of the auxiliary heads; as `model` was built.

    Returns
    -------
    keras.Model
        From the same input to three times (N, classes), named ``main``, ``auxiliary1`` and ``auxiliary2``. The paper
        adds the auxiliary losses with `AUXILIARY_WEIGHT`:
        ``compile(loss={...}, loss_weights={"main": 1, "auxiliary1": 0.3, "auxiliary2": 0.3})``.

    Raises
    ------
    InputError
        Not a GoogLeNet with its classifier, or an input too small.

    Examples
    --------
    >>> from edgecv import create_model
    >>> main = create_model("googlenet", (96, 96, 3), classes=10)
    >>> sorted(training_model(main).output)
    ['auxiliary1', 'auxiliary2', 'main']
    """
    import keras

    known = {layer.name for layer in model.layers}
    if not {*(f"inception_{name}" for name in AUXILIARY), "predictions"} <= known:
        raise InputError(f"a GoogLeNet with its classifier is required; received {model.name}")
    if min(model.input_shape[1:3]) < _MINIMUM_TRAINING_SIZE:
        raise InputError(
            f"the auxiliary heads need an input of at least {_MINIMUM_TRAINING_SIZE}x{_MINIMUM_TRAINING_SIZE} pixels; "
            f"received {model.input_shape[1]}x{model.input_shape[2]}"
        )
    classes = model.get_layer("predictions").units
    outputs = {"main": model.output}
    for number, module in enumerate(AUXILIARY, start=1):
        features = model.get_layer(f"inception_{module}").output
        outputs[f"auxiliary{number}"] = _auxiliary(features, classes, classifier_activation, f"auxiliary{number}")
    return keras.Model(model.input, outputs, name=f"{model.name}_training")


def _modules(image: Any) -> dict[str, Any]:
    """Output of every inception module, by its name in table 1."""
    from edgecv.layers.convolution import max_pool
    from edgecv.layers.local_response import local_response_normalization

    x = _convolution(image, 64, 7, "conv1", strides=2)
    x = max_pool(x, 3, 2, "same", "pool1")
    x = local_response_normalization(x, "norm1")
    x = _convolution(x, 64, 1, "conv2_reduce")
    x = _convolution(x, 192, 3, "conv2")
    x = local_response_normalization(x, "norm2")
    x = max_pool(x, 3, 2, "same", "pool2")
    found = {}
    for name, widths in MODULES.items():
        if name in ("4a", "5a"):
            x = max_pool(x, 3, 2, "same", f"pool{int(name[0]) - 1}")
        x = found[name] = _inception(x, widths, f"inception_{name}")
    return found


def _inception(x: Any, widths: tuple[int, ...], name: str) -> Any:
    """Figure 2 (b): four branches side by side."""
    from edgecv.layers.convolution import concatenate, max_pool

    one, reduce3, three, reduce5, five, projected = widths
    branches = [
        _convolution(x, one, 1, f"{name}_1x1"),
        _convolution(_convolution(x, reduce3, 1, f"{name}_3x3_reduce"), three, 3, f"{name}_3x3"),
        _convolution(_convolution(x, reduce5, 1, f"{name}_5x5_reduce"), five, 5, f"{name}_5x5"),
        _convolution(max_pool(x, 3, 1, "same", f"{name}_pool"), projected, 1, f"{name}_pool_proj"),
    ]
    return concatenate(branches, name)


def _auxiliary(x: Any, classes: int, activation: str | None, name: str) -> Any:
    """Section 5: pooling 5x5 with stride 3, a 1x1 convolution of 128, a dense layer of 1024, 70 % dropout."""
    import keras

    layers = keras.layers
    x = layers.AveragePooling2D(5, strides=3, name=f"{name}_pool")(x)
    x = _convolution(x, 128, 1, f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(_AUXILIARY_WIDTH, activation="relu", name=f"{name}_fc")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    x = layers.Dense(classes, name=f"{name}_predictions")(x)
    return softmax(x, activation, f"{name}_probabilities")


def _convolution(x: Any, filters: int, kernel: int, name: str, strides: int = 1) -> Any:
    import keras

    return keras.layers.Conv2D(filters, kernel, strides=strides, padding="same", activation="relu", name=name)(x)
