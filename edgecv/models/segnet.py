"""SegNet: an encoder, and a decoder that unpools with the encoder's indices (Badrinarayanan et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.fcn import check_multiple
from edgecv.models.imagenet import MEAN_SUBTRACTED
from edgecv.models.registry import ModelRecord, Option, Paper, register

if TYPE_CHECKING:
    import keras

_STRIDE = 32
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # VGG-16's convolutions, mirrored in the decoder
_SHAPE = (352, 480, 3)  # CamVid's 360×480, to a multiple of 32


@register(
    ModelRecord(
        name="segnet",
        task="segmentation",
        summary="encoder-decoder that unpools with the encoder's stored indices",
        paper=Paper(
            "Badrinarayanan, Kendall, Cipolla",
            2017,
            "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
            "1511.00561",
        ),
        input_shape=_SHAPE,
        classes=11,
        parameters=29_465_227,
        macs=104_133_427_200,
        preprocessing=MEAN_SUBTRACTED,
        options=(Option("alpha", float, 1.0, 0.01, 4.0, "width multiplier α: channels of every layer"),),
        weights_note="the authors publish weights for Caffe only",
        minimum_size=_STRIDE,
    )
)
def segnet(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = 11,
    *,
    alpha: float = 1.0,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "segnet",
) -> keras.Model:
    """Build SegNet with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (352, 480, 3); height and width multiples of 32.
    classes : int
        Default: CamVid's 11.
    alpha : float
        Width multiplier.
    include_top : bool
        False ends with the last (N, H, W, 64 α) map.
    classifier_activation : {"softmax", None}
        None ends with the logits.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to (N, H, W, classes).

    Raises
    ------
    InputError
        A shape or class count that cannot be built.
    """
    import keras

    from edgecv.layers.convolution import convolve
    from edgecv.layers.heads import softmax
    from edgecv.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling

    shape = check_image_shape(name, input_shape, _SHAPE, _STRIDE)
    check_classes(name, classes)
    check_multiple(name, shape, _STRIDE)

    def width(filters: int) -> int:
        return max(1, round(filters * alpha))

    x: Any = keras.layers.Input(shape, name="image")
    image, places = x, []
    for block, (filters, count) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            x = convolve(x, width(filters), 3, bias=True, name=f"encoder{block}_{number}")
        x, where = MaxPoolingWithIndices(name=f"pool{block}")(x)
        places.append(where)
    for block in reversed(range(1, len(_BLOCKS) + 1)):
        filters, count = _BLOCKS[block - 1]
        x = MaxUnpooling(name=f"unpool{block}")([x, places[block - 1]])
        for number in reversed(range(1, count + 1)):
            # The last of a block gives as many channels as the next unpooling has indices.
            last = number == 1 and block > 1
            filled = _BLOCKS[block - 2][0] if last else filters
            if block == 1 and number == 1:
                break
            x = convolve(x, width(filled), 3, bias=True, name=f"decoder{block}_{number}")
    if include_top:
        x = keras.layers.Conv2D(classes, 3, padding="same", name="scores")(x)
        x = softmax(x, classifier_activation, "probabilities")
    return keras.Model(image, x, name=name)
