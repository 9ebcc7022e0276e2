"""LeNet-5, the network of the digits (LeCun, Bottou, Bengio, Haffner 1998)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv.layers.heads import softmax
from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

ACTIVATIONS = ("tanh", "relu", "sigmoid")

_SHAPE = (32, 32, 1)
_MINIMUM_SIZE = 16  # two valid 5×5 convolutions and two halvings leave one pixel of it


@register(
    ModelRecord(
        name="lenet5",
        task="classification",
        summary="convolutions and tanh for digits; trained weights come with the package",
        paper=Paper(
            authors="LeCun, Bottou, Bengio, Haffner",
            year=1998,
            title="Gradient-Based Learning Applied to Document Recognition",
        ),
        input_shape=_SHAPE,
        classes=10,
        parameters=61_706,
        macs=416_520,
        # White ink on black, 0..1: close to the zero mean that the paper asks of its input (section II.B).
        preprocessing=Preprocessing(mean=(0.0,), std=(255.0,), color="GRAY"),
        options=(Option("activation", str, "tanh", help=f"between the layers: {', '.join(ACTIVATIONS)}"),),
        weights_note='LeNet-5 was never trained on ImageNet; weights="digits" is its trained file',
        shipped_weights={"digits": "lenet5_digits.weights.h5"},
        minimum_size=_MINIMUM_SIZE,
    )
)
def lenet5(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 10,
    *,
    activation: str = "tanh",
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "lenet5",
) -> keras.Model:
    """Build LeNet-5 as the usual course table has it.

    ======================  ==========  ==========
    layer                   output      parameters
    ======================  ==========  ==========
    conv 6, 5×5, valid      28×28×6     156
    average pool 2×2        14×14×6     0
    conv 16, 5×5, valid     10×10×16    2,416
    average pool 2×2        5×5×16      0
    dense 120               120         48,120
    dense 84                84          10,164
    dense 10, softmax       10          850
    ======================  ==========  ==========

    The table differs from the paper in three places that every modern LeNet-5 shares: pooling has no trained
    coefficient, the second convolution sees all six maps (the paper's table I connects them in part), and a
    softmax stands for the radial basis functions of the output.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (32, 32, 1); height and width at least 16. The input is float32, pixels / 255.
    classes : int
        At least 1.
    activation : {"tanh", "relu", "sigmoid"}
        After each layer but the last. The published network has tanh, whose bounded range also suits int8.
    include_top : bool
        False ends with the feature map of the second pooling, 5×5×16 at the default input.
    classifier_activation : {"softmax", None}
        None ends with the logits.
    name : str

    Returns
    -------
    keras.Model
        (N, height, width, channels) float32 to (N, classes) float32 probabilities.

    Raises
    ------
    InputError
        An input too small, a class count below 1 or another activation.

    Examples
    --------
    >>> lenet5().count_params()
    61706

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of
    the IEEE 86(11), 1998, section II.B.
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _MINIMUM_SIZE)
    check_classes(name, classes)
    if activation not in ACTIVATIONS:
        raise InputError(f"{name}: activation must be one of {', '.join(ACTIVATIONS)}; received {activation!r}")
    image = layers.Input(shape, name="image")
    x = layers.Conv2D(6, 5, activation=activation, name="c1")(image)
    x = layers.AveragePooling2D(2, name="s2")(x)
    x = layers.Conv2D(16, 5, activation=activation, name="c3")(x)
    x = layers.AveragePooling2D(2, name="s4")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(120, activation=activation, name="c5")(x)
        x = layers.Dense(84, activation=activation, name="f6")(x)
        x = layers.Dense(classes, name="output")(x)
        x = softmax(x, classifier_activation, "predictions")
    return keras.Model(image, x, name=name)
