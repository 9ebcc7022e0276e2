"""A convolutional auto-encoder: what it cannot rebuild, it has not seen (Masci et al. 2011; Bergmann et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv.layers.shapes import check_image_shape
from edgecv.models.fcn import check_multiple
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register

if TYPE_CHECKING:
    import keras

_SHAPE = (32, 32, 1)
_STRIDE = 8


@register(
    ModelRecord(
        name="autoencoder",
        task="anomaly",
        summary="convolutional auto-encoder; its reconstruction error is a map of anomalies",
        paper=Paper(
            "Bergmann, Löwe, Fauser, Sattlegger, Steger",
            2019,
            "Improving Unsupervised Defect Segmentation by Applying Structural Similarity to Autoencoders",
            "1807.02011",
        ),
        input_shape=_SHAPE,
        classes=0,
        parameters=131_153,
        macs=1_806_336,
        preprocessing=Preprocessing(mean=(0.0,), std=(255.0,), color="GRAY"),
        options=(
            Option("filters", int, 16, 1, 256, "channels of the first level; each level below has twice as many"),
            Option("latent", int, 32, 1, 4096, "length of the code between encoder and decoder"),
        ),
        weights_note="it is trained on the pictures that are to count as normal",
        minimum_size=_STRIDE,
    )
)
def autoencoder(
    input_shape: tuple[int, int, int] | None = None,
    *,
    filters: int = 16,
    latent: int = 32,
    include_top: bool = True,
    name: str = "autoencoder",
) -> keras.Model:
    """Build an auto-encoder with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (32, 32, 1); height and width multiples of 8. Pixels / 255.
    filters : int
        Of the first of three strided convolutions.
    latent : int
        Length of the code: short enough that only what is usual fits.
    include_top : bool
        False ends with the (N, latent) code.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) in 0..1 to its reconstruction, of the same shape. `edgecv.anomaly` makes scores of it.

    Raises
    ------
    InputError
        A shape that cannot be built.
    """
    import keras

    layers = keras.layers
    shape = check_image_shape(name, input_shape, _SHAPE, _STRIDE)
    check_multiple(name, shape, _STRIDE)
    x = image = layers.Input(shape, name="image")
    for level in range(3):
        x = layers.Conv2D(filters * 2**level, 3, strides=2, padding="same", activation="relu", name=f"down{level}")(x)
    small = tuple(x.shape[1:])
    x = layers.Dense(latent, name="code")(layers.Flatten(name="flatten")(x))
    if include_top:
        x = layers.Dense(small[0] * small[1] * small[2], activation="relu", name="decode")(x)
        x = layers.Reshape(small, name="map")(x)
        for level in reversed(range(2)):
            x = layers.Conv2DTranspose(
                filters * 2**level, 4, strides=2, padding="same", activation="relu", name=f"up{level}"
            )(x)
        x = layers.Conv2DTranspose(shape[2], 4, strides=2, padding="same", name="rebuilt")(x)
        x = layers.Activation("sigmoid", name="pixels")(x)
    return keras.Model(image, x, name=name)
