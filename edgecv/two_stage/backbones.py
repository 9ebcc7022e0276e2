"""The shared feature map under a two-stage detector. No Keras needed until one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecv_runtime.errors import InputError

BACKBONES = ("vgg16", "resnet50", "mobilenet_v2", "plain")

FEATURES = "features"
"""Name of the layer whose output the regions are cut out of."""

# What Caffe's networks take of pixels that come as x / 127.5 - 1.
_CAFFE_MEAN = (123.68, 116.779, 103.939)

_PLAIN_WIDTHS = (32, 64, 96)  # of the stages of the plain backbone, each ended by a pooling
_PLAIN_LAST = 128


@dataclass(frozen=True)
class Backbone:
    """A feature map and what it was made from.

    Attributes
    ----------
    image : Keras tensor (N, H, W, 3)
        Pixels as ``x / 127.5 - 1``.
    features : Keras tensor (N, H / stride, W / stride, C)
        Output of the layer `FEATURES`.
    stride : int
    """

    image: Any
    features: Any
    stride: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return int(self.features.shape[1]), int(self.features.shape[2])

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return int(self.image.shape[1]), int(self.image.shape[2])


def stride_of(name: str) -> int:
    """Pixels of the input a place of the map.

    Raises
    ------
    InputError
        No such backbone.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone must be one of {', '.join(BACKBONES)}; received {name!r}")
    return 8 if name == "plain" else 16


def build_backbone(name: str, shape: tuple[int, int, int], alpha: float = 1.0) -> Backbone:
    """The layers of a classifier up to stride 16, or those of a small plain network up to stride 8.

    Layers are named as in the classifier, so that its weights can be taken over:
    `edgecv.models.fcn.initialize_from`.

    Parameters
    ----------
    name : {"vgg16", "resnet50", "mobilenet_v2", "plain"}
        VGG-16 ends before its last pooling (Girshick 2015, section 2.2), ResNet-50 with its fourth stage (the C4 of
        He et al. 2017), MobileNet v2 with its last block at stride 16.
    shape : (height, width, channels)
        Height and width multiples of the stride.
    alpha : float
        Width multiplier of ``mobilenet_v2`` and ``plain``.

    Raises
    ------
    InputError
        No such backbone, a width multiplier that it does not have, or a size that is no multiple of the stride.
    """
    import keras

    stride = stride_of(name)
    if shape[0] % stride or shape[1] % stride:
        raise InputError(
            f"height and width must be multiples of {stride} pixels for backbone {name}; received {shape[0]}x{shape[1]}"
        )
    if alpha != 1.0 and name in ("vgg16", "resnet50"):
        raise InputError(f"backbone {name} has one width: alpha must be 1; received {alpha}")
    image = keras.layers.Input(shape, name="image")
    x = _BUILDERS[name](image, alpha)
    return Backbone(image, keras.layers.Identity(name=FEATURES)(x), stride)


def caffe_pixels(image: Any) -> Any:
    """Pixels less ImageNet's mean, as the official weights of VGG and ResNet expect them."""
    import keras

    return keras.layers.Rescaling(127.5, [127.5 - mean for mean in _CAFFE_MEAN], name="caffe_pixels")(image)


def _vgg16(image: Any, alpha: float) -> Any:
    from edgecv.models.vgg import vgg16

    network = vgg16(tuple(image.shape[1:]), include_top=False)
    return _up_to(network, "block5_conv3", caffe_pixels(image))


def _resnet50(image: Any, alpha: float) -> Any:
    from edgecv.models.resnet import bottleneck_body

    return bottleneck_body(caffe_pixels(image), (3, 4, 6))


def _mobilenet_v2(image: Any, alpha: float) -> Any:
    from edgecv.models.mobilenet_v2 import mobilenet_v2

    network = mobilenet_v2(tuple(image.shape[1:]), alpha=alpha, include_top=False)
    return _up_to(network, "block_12_add", image)


def _up_to(network: Any, last: str, image: Any) -> Any:
    """The layers of a network as far as `last`, one by one on another input: its graph, not a model within ours."""
    import keras

    from edgecv.receptive_field import flat, steps_of

    model = keras.Model(network.input, network.get_layer(last).output)
    values = {id(flat(model.inputs)[0]): image}
    for step in steps_of(model):
        if not step.node.is_input:
            arguments, options = step.node.arguments.fill_in(values)
            values.update(zip(map(id, step.outputs), flat(step.layer(*arguments, **options)), strict=True))
    return values[id(flat(model.outputs)[0])]


def _plain(image: Any, alpha: float) -> Any:
    """3×3 convolutions with batch normalisation, pooled three times: for devices, and to learn on a processor."""
    from edgecv.layers.convolution import convolve, max_pool
    from edgecv.layers.shapes import make_divisible

    x = image
    for stage, width in enumerate(_PLAIN_WIDTHS, start=1):
        x = convolve(x, make_divisible(width * alpha), 3, name=f"stage{stage}")
        x = max_pool(x, 2, 2, "valid", f"stage{stage}_pool")
    x = convolve(x, make_divisible(_PLAIN_LAST * alpha), 3, name="stage4")
    return convolve(x, make_divisible(_PLAIN_LAST * alpha), 3, name="stage5")


_BUILDERS = {"vgg16": _vgg16, "resnet50": _resnet50, "mobilenet_v2": _mobilenet_v2, "plain": _plain}
