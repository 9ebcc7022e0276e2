"""SSD on VGG-16: default boxes on six maps of falling size (Liu et al. 2016, arXiv:1512.02325)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecv.layers.detection_heads import activated, halved, rows
from edgecv.layers.shapes import check_classes, check_image_shape
from edgecv.models.imagenet import MEAN_SUBTRACTED
from edgecv.models.registry import ModelRecord, Option, Paper, Preprocessing, register

if TYPE_CHECKING:
    import keras

PAPER = Paper("Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg", 2016, "SSD: Single Shot MultiBox Detector", "1512.02325")

_SHAPE = (300, 300, 3)
_CLASSES = 20  # Pascal VOC, without its background
_SMALLEST = 0.1
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # VGG-16: filters and convolutions of each block
_DENSE = 1024  # channels of fc6 and fc7, made convolutions

# The further maps (section 3 and figure 2): channels before and after, stride, padding of the second convolution.
_EXTRAS = ((256, 512, 2, "same"), (128, 256, 2, "same"), (128, 256, 1, "valid"), (128, 256, 1, "valid"))

# Of each map, the ratios beside 1 (section 3.1: conv4_3, conv10_2 and conv11_2 leave out 3 and 1/3).
_RATIOS: tuple[tuple[int, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))

# Eq. 4 over the five maps behind conv4_3, from 0.2 to 0.9, in whole percents as the published network has them: steps
# of ⌊70 / 4⌋; conv4_3 has 0.1 (section 3.1). The last is what follows the last map's.
_SCALES = (_SMALLEST, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)


def grids(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of the maps that a picture of `size` leaves: 38, 19, 10, 5, 3 and 1 of 300."""
    found = [halved(size, 3), halved(size, 4)]
    for _, _, stride, padding in _EXTRAS:
        height, width = found[-1]
        if padding == "valid" and min(height, width) < 3:
            break  # a small picture ends earlier
        found.append(halved((height, width), 1) if stride == 2 else (height - 2, width - 2))
    return found


def _decoder(shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    from edgecv.detection.anchors import plain_numbers, ssd_anchors

    maps = grids((shape[0], shape[1]))
    stretch = options["smallest"] / _SMALLEST
    scales = [scale * stretch for scale in _SCALES[: len(maps) + 1]]
    return "ssd", {
        "anchors": plain_numbers(ssd_anchors(maps, scales, _RATIOS[: len(maps)])),
        "variances": [0.1, 0.1, 0.2, 0.2],
        "outputs": {"boxes": "boxes", "scores": "scores"},
    }


@register(
    ModelRecord(
        name="ssd300",
        task="detection",
        summary="default boxes on six maps of VGG-16; hard negatives",
        paper=PAPER,
        input_shape=_SHAPE,
        classes=_CLASSES,
        parameters=26_285_486,
        macs=31_373_537_792,
        preprocessing=Preprocessing(MEAN_SUBTRACTED.mean, MEAN_SUBTRACTED.std),
        options=(
            Option("alpha", float, 1.0, 0.05, 2.0, "width multiplier α: channels of every layer"),
            Option("smallest", float, _SMALLEST, 0.02, 0.5, "scale of the first map's default boxes, of the picture"),
        ),
        weights_note="start it from VGG-16: edgecv.models.fcn.initialize_from",
        minimum_size=64,
        decoder=_decoder,
    )
)
def ssd300(
    input_shape: tuple[int, int, int] | None = None,
    classes: int = _CLASSES,
    *,
    alpha: float = 1.0,
    smallest: float = _SMALLEST,
    include_top: bool = True,
    classifier_activation: str | None = "softmax",
    name: str = "ssd300",
) -> keras.Model:
    """Build SSD on VGG-16 with fresh weights.

    Parameters
    ----------
    input_shape : (height, width, channels), optional
        Default (300, 300, 3), at least 64 x 64; smaller pictures leave fewer maps. Pixels less ImageNet's mean, RGB.
    classes : int
        Without the background.
    alpha : float
        Width multiplier of every layer but the predictions; 1 is the published network.
    smallest : float
        Scale of the first map's default boxes; the others grow with it. Only the decoder's boxes depend on it.
    include_top : bool
        False ends with the (N, H/16, W/16, 1024 α) map of fc7.
    classifier_activation : {"softmax", None}
        None ends with the logits of the scores.
    name : str

    Returns
    -------
    keras.Model
        From (N, H, W, C) to ``boxes`` (N, A, 4), offsets from the default boxes, and ``scores`` (N, A, 1 + classes),
        the background first; A is 8732 at 300 × 300.

    Raises
    ------
    InputError
        A shape or class count that cannot be built.

    Notes
    -----
    The blocks are named as in `vgg16`.
    """
    import keras

    shape = check_image_shape(name, input_shape, _SHAPE, 64)
    check_classes(name, classes)
    image = keras.layers.Input(shape, name="image")
    x, fine = _base(image, alpha)
    if not include_top:
        return keras.Model(image, x, name=name)
    maps = [fine, x, *_further_maps(x, len(grids(shape[:2])) - 2, alpha)]

    def predict(columns: int, role: str) -> list[Any]:
        return [
            keras.layers.Conv2D((2 + 2 * len(ratios)) * columns, 3, padding="same", name=f"{role}_conv{index}")(part)
            for index, (part, ratios) in enumerate(zip(maps, _RATIOS, strict=False), start=1)
        ]

    boxes = rows(predict(4, "boxes"), 4, "boxes")
    scores = activated(predict(classes + 1, "scores"), classes + 1, classifier_activation, "softmax", "scores")
    return keras.Model(image, [boxes, scores], name=name)


def _base(image: Any, alpha: float) -> tuple[Any, Any]:
    """VGG-16 with its dense layers made convolutions: the map of fc7, and the normalised one of conv4_3."""
    from edgecv.layers.convolution import max_pool
    from edgecv.layers.l2_scale import l2_scale

    x, fine = image, None
    for block, (filters, count) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            x = _convolve(x, filters, 3, f"block{block}_conv{number}", alpha)
        if block == 4:
            fine = l2_scale(x, "block4_normalised")
        # The last pooling keeps the size: what follows is dilated instead (section 3, "Base network").
        x = max_pool(x, *((3, 1) if block == 5 else (2, 2)), "same", f"block{block}_pool")
    x = _convolve(x, _DENSE, 3, "fc6", alpha, dilation_rate=6)
    return _convolve(x, _DENSE, 1, "fc7", alpha), fine


def _further_maps(x: Any, count: int, alpha: float) -> list[Any]:
    """The smaller maps behind fc7."""
    maps = []
    for index, (before, after, stride, padding) in enumerate(_EXTRAS[:count], start=8):
        x = _convolve(x, before, 1, f"conv{index}_1", alpha)
        x = _convolve(x, after, 3, f"conv{index}_2", alpha, strides=stride, padding=padding)
        maps.append(x)
    return maps


def _convolve(x: Any, filters: int, kernel: int, name: str, alpha: float, **how: Any) -> Any:
    import keras

    how = {"padding": "same", "kernel_initializer": "he_normal", **how}
    width = max(8, round(filters * alpha))
    return keras.layers.Conv2D(width, kernel, activation="relu", name=name, **how)(x)
