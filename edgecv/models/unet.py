"""U-Net: a contracting path, an expanding path, and what lies between copied across (Ronneberger et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import keras

PAPER = Paper(
    "Ronneberger, Fischer, Brox", 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation", "1505.04597"
)
_LEVELS = 4  # halvings
_GRAY = Preprocessing(mean=(0.0,), std=(255.0,), color="GRAY")
_OPTION = Option("filters", int, 64, 1, 256, "channels of the first level; each level below has twice as many")


@register(
    ModelRecord(
        name="unet",
        task="segmentation",
        summary="as published: valid convolutions, 572 pixels in, the middle 388 out",
        paper=PAPER,
        input_shape=(572, 572, 1),
        classes=2,
        parameters=31_030_658,
        macs=150_428_424_448,
        preprocessing=_GRAY,
        options=(_OPTION,),
        weights_note="the authors publish weights for Caffe only",
        minimum_size=188,
    )
)
def unet(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 2,
    *,
    filters: int = 64,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "unet",
) -> keras.Model:
    """Build U-Net as published, with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (572, 572, 1); at least 188. Every map before a pooling must have an even height and width: heights and
        widths of the form 16 k + 124.
    classes : int
    filters : int
        Of the first level.
    include_top : bool
        False ends with the last (N, H − 184, W − 184, filters) map.
    classifier_activation : {"softmax", None}
        None ends with the logits.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, H − 184, W − 184, classes): of the middle, where no convolution saw a border. Larger
        pictures go through in overlapping tiles, mirrored at their borders (figure 2).

    Raises
    ------
    InputError
        A shape or class count that cannot be built.
    """
    shape = check_image_shape(name, input_shape, (572, 572, 1), 188)
    if (shape[0] - 124) % 16 or (shape[1] - 124) % 16:
        raise InputError(
            f"{name}: height and width must be 124 plus a multiple of 16 pixels, so that every pooling finds an even "
            f"map; received {shape[0]}x{shape[1]}"
        )
    return _build(name, shape, classes, filters, "valid", False, include_top, classifier_activation)


@register(
    ModelRecord(
        name="unet_same",
        task="segmentation",
        summary="U-Net for devices: padded, batch-normalised, one answer per pixel; half the channels",
        paper=PAPER,
        input_shape=(256, 256, 1),
        classes=2,
        parameters=7_768_386,
        macs=12_035_555_328,
        preprocessing=_GRAY,
        options=(Option("filters", int, 32, 1, 256, _OPTION.help),),
        weights_note="the authors publish weights for Caffe only",
        minimum_size=16,
    )
)
def unet_same(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 2,
    *,
    filters: int = 32,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "unet_same",
) -> keras.Model:
    """Build a U-Net for devices, with fresh weights: as large out as in.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (256, 256, 1); height and width multiples of 16.
    classes, filters, include_top, classifier_activation, name
        As of `unet`.

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, H, W, classes).

    Raises
    ------
    InputError
        A shape or class count that cannot be built.
    """
    shape = check_image_shape(name, input_shape, (256, 256, 1), 16)
    if shape[0] % 16 or shape[1] % 16:
        raise InputError(f"{name}: height and width must be multiples of 16 pixels; received {shape[0]}x{shape[1]}")
    return _build(name, shape, classes, filters, "same", True, include_top, classifier_activation)


def _build(
    name: str,
    shape: tuple[int, int, int],
    classes: int,
    filters: int,
    padding: str,
    normalized: bool,
    include_top: bool,
    activation: str | None,
) -> keras.Model:
    import keras

    from edgecv.layers.heads import softmax

    layers = keras.layers
    check_classes(name, classes)
    x = image = layers.Input(shape, name="image")
    across = []
    for level in range(_LEVELS):
        x = _pair(x, filters * 2**level, padding, normalized, f"down{level + 1}")
        across.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level + 1}")(x)
    x = _pair(x, filters * 2**_LEVELS, padding, normalized, "bottom")
    # The paper drops features at the end of the contracting path (section 3.1).
    x = layers.Dropout(0.5, name="bottom_dropout")(x)
    for level in reversed(range(_LEVELS)):
        width = filters * 2**level
        x = layers.Conv2DTranspose(width, 2, strides=2, name=f"up{level + 1}_enlarge")(x)
        x = layers.Concatenate(name=f"up{level + 1}_join")([_middle(across[level], x, f"up{level + 1}_crop"), x])
        x = _pair(x, width, padding, normalized, f"up{level + 1}")
    if include_top:
        x = layers.Conv2D(classes, 1, name="scores")(x)
        x = softmax(x, activation, "probabilities")
    return keras.Model(image, x, name=name)


def _pair(x: Any, filters: int, padding: str, normalized: bool, name: str) -> Any:
    """Two 3×3 convolutions with ReLU."""
    import keras

    layers = keras.layers
    for number in (1, 2):
        # He's rule, as the paper asks (section 3): √(2/N).
        x = layers.Conv2D(
            filters,
            3,
            padding=padding,
            use_bias=not normalized,
            kernel_initializer="he_normal",
            name=f"{name}_conv{number}",
        )(x)
        if normalized:
            x = layers.BatchNormalization(name=f"{name}_bn{number}")(x)
        x = layers.ReLU(name=f"{name}_relu{number}")(x)
    return x


def _middle(x: Any, like: Any, name: str) -> Any:
    """The centre of a map, cut to the size of another."""
    import keras

    spare = [large - small for large, small in zip(x.shape[1:3], like.shape[1:3], strict=True)]
    if not any(spare):
        return x
    return keras.layers.Cropping2D([(extra // 2, extra - extra // 2) for extra in spare], name=name)(x)
