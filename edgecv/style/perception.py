"""A classifier as the judge of style transfer: the feature maps in which content and style are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.receptive_field import steps_of
from edgecv.style.losses import content_loss, gram, style_loss, total_variation
from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, cv2

if TYPE_CHECKING:
    import keras

    from edgecv.models.registry import Preprocessing

Array = npt.NDArray[np.float32]

_SCALES = 5  # of the published network, VGG-19: its five blocks
_CONTENT_STRIDE = 8  # of conv4_2, the published content layer
_SMALLEST = 4  # side of the smallest map whose Gram matrix says something
# The picture itself stands for full size where the first convolution halves it: there are the colours.
_MAPS = (
    "InputLayer",
    "ReLU",
    "Activation",
    "LeakyReLU",
    "PReLU",
    "Add",
    "Conv2D",
    "DepthwiseConv2D",
    "BatchNormalization",
)

PARTS = ("content", "style", "variation")
"""What the loss of a picture is made of, in order."""


@dataclass(frozen=True)
class Weights:
    """α, β (eq. 7) and the weight of total variation.

    Content and style are counted in units of how far the other picture is: content 1 is as far from the content picture
    as the style picture is, style 1 as far from the style as the content picture is. So a weight means the same for
    every network and picture. Variation is the pixels' own, of values 0 to 1.
    """

    content: float = 1.0
    style: float = 1.0
    variation: float = 10.0

    def __post_init__(self) -> None:
        values = (self.content, self.style, self.variation)
        if any(not 0 <= value < float("inf") for value in values) or not any(values[:2]):
            raise InputError(f"weights must not be negative, and content or style above 0; received {values}")


def default_layers(model: keras.Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Content and style layers where nobody names them: the last map of each scale, as VGG-19's blocks.

    Returns
    -------
    content : tuple of str
        The last map at stride 8, or of the coarsest scale above it.
    style : tuple of str
        The last maps of up to five scales.

    Raises
    ------
    InputError
        The model has no feature map whose size divides the input's.
    """
    (side, _) = _input_size(model)
    last: dict[int, str] = {}
    for step in steps_of(model):
        shape = tuple(step.outputs[0].shape)
        if type(step.layer).__name__ in _MAPS and len(shape) == 4 and min(shape[1:3]) >= _SMALLEST:
            # Maps of odd sizes lie between two powers of two: 57 of 113 positions are stride 2 again.
            stride = 2 ** round(float(np.log2(side / shape[1])))
            last[stride] = step.name
    found = sorted(last.items())[:_SCALES]
    if len(found) < 2:
        raise InputError(f"{model.name} has no feature map of at least {_SMALLEST}x{_SMALLEST}: name layers of it")
    content = [name for stride, name in found if stride <= _CONTENT_STRIDE]
    return (content[-1],), tuple(name for _, name in found)


def _input_size(model: keras.Model) -> tuple[int, int]:
    shape = tuple(model.input_shape) if isinstance(model.input_shape, tuple) else ()
    if len(shape) != 4 or None in shape[1:] or shape[3] != 3:
        raise InputError(f"the network must take (N, height, width, 3) of a fixed size; it takes {model.input_shape}")
    return int(shape[1]), int(shape[2])


class PerceptualNetwork:
    """A frozen network and the layers in which pictures are compared.

    Parameters
    ----------
    model : keras.Model
        Any functional classifier of RGB pictures, built at the size of the pictures. It is left as it is.
    preprocessing : Preprocessing
        What it expects of pixels 0..255.
    content_layers, style_layers : sequence of str, optional
        Default: `default_layers`.

    Raises
    ------
    InputError
        Another kind of model, or a layer that is not in it or gives no map.
    """

    def __init__(
        self,
        model: keras.Model,
        preprocessing: Preprocessing,
        content_layers: Sequence[str] | None = None,
        style_layers: Sequence[str] | None = None,
    ) -> None:
        import keras

        self.size = _input_size(model)
        usual = default_layers(model)
        self.content_layers = tuple(content_layers if content_layers is not None else usual[0])
        self.style_layers = tuple(style_layers if style_layers is not None else usual[1])
        maps = {step.name: step.outputs[0] for step in steps_of(model)}
        wanted = (*self.content_layers, *self.style_layers)
        if not wanted:
            raise InputError("at least one content or style layer is required; received none")
        for name in wanted:
            if name not in maps or len(maps[name].shape) != 4:
                raise InputError(f"{name!r} is no feature map of {model.name}: `edgecv info` lists its layers")
        self._extractor = keras.Model(model.inputs[0], [maps[name] for name in wanted], name=f"{model.name}_maps")
        self._mean = np.array(preprocessing.mean, np.float32)
        self._std = np.array(preprocessing.std, np.float32)

    def maps(self, images: Any) -> tuple[list[Any], list[Any]]:
        """Content and style maps of pictures (N, H, W, 3) in 0..1."""
        outputs = self._extractor((images * 255.0 - self._mean) / self._std, training=False)
        found = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        return found[: len(self.content_layers)], found[len(self.content_layers) :]

    def fit(self, image: Any) -> Array:
        """(H, W, 3) in 0..1 of this network's size: the picture scaled to cover it, and its middle."""
        return fit(image, self.size)


def fit(image: Any, size: tuple[int, int]) -> Array:
    """Scale a picture until it covers (height, width), and take its middle: (height, width, 3) float32 in 0..1."""
    from edgecv_runtime.images import as_rgb

    picture = as_rgb(image)
    factor = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    shape = [max(wanted, round(side * factor)) for wanted, side in zip(size, picture.shape[:2], strict=True)]
    opencv = cv2("scaling a picture")
    kind = opencv.INTER_AREA if factor < 1 else opencv.INTER_CUBIC
    scaled = opencv.resize(picture, (shape[1], shape[0]), interpolation=kind)
    top, left = (shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2
    return scaled[top : top + size[0], left : left + size[1]].astype(np.float32) / 255


def as_pixels(image: npt.ArrayLike) -> Image:
    """(H, W, 3) in 0..1 to uint8."""
    pixels: Image = np.rint(np.clip(np.asarray(image, np.float32), 0, 1) * 255).astype(np.uint8)
    return pixels


class Goal:
    """What a picture is to look like: the losses of any picture against it.

    Parameters
    ----------
    network : PerceptualNetwork
    style : (H, W, 3) float32 in 0..1
        Of the network's size, as `PerceptualNetwork.fit` gives it.
    references : (N, H, W, 3) float32 in 0..1
        Content pictures: how far they are from the style is the unit of every style layer, and how far the style is
        from them that of every content layer.
    weights : Weights
    """

    def __init__(
        self, network: PerceptualNetwork, style: Array, references: Array, weights: Weights | None = None
    ) -> None:
        self.network = network
        self.weights = weights or Weights()
        self._style, self._references = style, references
        self.grams = [_numpy(gram(values)) for values in network.maps(style[None])[1]]

    @cached_property
    def units(self) -> Mapping[str, list[float]]:
        """Of each content and style layer."""
        there, _ = self.network.maps(self._style[None])
        content, style = self.network.maps(self._references)
        return {
            "content": [_unit(content_loss(a, b)) for a, b in zip(content, there, strict=True)],
            "style": [_unit(style_loss(a, b)) for a, b in zip(style, self.grams, strict=True)],
        }

    def losses(self, images: Any, wanted: Sequence[Any]) -> Any:
        """The weighed parts of the loss of pictures: (N, 3), in the order of `PARTS`. Differentiable.

        Parameters
        ----------
        images : (N, H, W, 3) tensor in 0..1
        wanted : sequence of (N, h, w, C)
            The content maps of what the pictures are to show.
        """
        from keras import ops

        content, style = self.network.maps(images)
        nothing = ops.zeros_like(images[:, 0, 0, 0])
        shown, painted = nothing, nothing
        # w_l of eq. 5: every layer counts alike, in its own unit.
        for values, there, unit in zip(content, wanted, self.units["content"], strict=True):
            shown = shown + content_loss(values, there) / (unit * len(content))
        for values, there, unit in zip(style, self.grams, self.units["style"], strict=True):
            painted = painted + style_loss(values, there) / (unit * len(style))
        weights = self.weights
        parts = (weights.content * shown, weights.style * painted, weights.variation * total_variation(images))
        return ops.stack(parts, axis=-1)

    def of(self, images: npt.ArrayLike, contents: npt.ArrayLike) -> dict[str, float]:
        """Mean losses of pictures (N, H, W, 3) against their contents, without the weights.

        Content is 1 where it is as far from the content as the style picture is, style 1 where it is as far from the
        style as the content pictures are.
        """
        rows = []
        for image, content in zip(np.asarray(images, np.float32), np.asarray(contents, np.float32), strict=True):
            wanted, _ = self.network.maps(content[None])
            rows.append(_numpy(self.losses(image[None], wanted))[0])
        weights = (self.weights.content, self.weights.style, self.weights.variation)
        means = np.mean(rows, axis=0)
        return {
            name: float(value / weight) if weight else float(value)
            for name, value, weight in zip(PARTS, means, weights, strict=True)
        }


def _unit(values: Any) -> float:
    """The mean, and never 0: a picture may be its own style."""
    return max(float(_numpy(values).mean()), 1e-12)


def _numpy(value: Any) -> Array:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(value), np.float32)
