"""From a picture to the input tensor, and back again for coordinates.

The one place where pixels are resized and normalised: calibration, evaluation, verification and the device all
call it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.images import Image, LazyImage, as_rgb, cv2, read_image
from edgecv_runtime.manifest import InputSpec, Resize

# The manifest's words for OpenCV's.
_INTERPOLATION = {
    "nearest": "INTER_NEAREST",
    "linear": "INTER_LINEAR",
    "cubic": "INTER_CUBIC",
    "area": "INTER_AREA",
}

_SIGN_BIT = np.uint8(0x80)


@dataclass(frozen=True)
class Geometry:
    """How the input tensor's pixels lie in the source image.

    ``source = offset + input * scale`` for x and for y, where a pixel covers [i, i + 1).

    Attributes
    ----------
    source_size : (height, width) of the source image, pixels
    scale : (x, y) source pixels per input pixel
    offset : (x, y) source position of the input's left upper corner, pixels
    """

    source_size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_source(self, points: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map (..., 2) x, y input positions to source pixels."""
        return np.asarray(points, np.float32) * np.array(self.scale, np.float32) + np.array(self.offset, np.float32)


def preprocess(image: Any, spec: InputSpec) -> tuple[npt.NDArray[Any], Geometry]:
    """Turn one picture into the model's input.

    Parameters
    ----------
    image : array or LazyImage
        What `as_rgb` takes: uint8 or uint16, grey, RGB or RGBA. Or a picture of a video that is not converted yet.
    spec : InputSpec
        The manifest's description of the input.

    Returns
    -------
    tensor : (1, H, W, C) or (1, C, H, W), of the input's dtype
    geometry : Geometry

    Raises
    ------
    InputError
        The image is not one (shape, dtype), or the input's dtype cannot hold its values.
    """
    return Preprocessor(spec)(image)


class Preprocessor:
    """`preprocess` for one input, with what depends on the input alone worked out once.

    Between two inferences the processor's caches are cold, and each thing looked up or converted anew costs
    microseconds.
    """

    read = staticmethod(read_image)

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec
        self._size, self._rule, self._color = spec.size, spec.resize, spec.color
        self._dtype = np.dtype(spec.dtype)
        self._moments: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None
        if spec.normalization is not None:
            self._moments = np.array(spec.normalization.mean, np.float32), np.array(spec.normalization.std, np.float32)
        # Pixels as they are, in an int8 tensor: the same bits with the zero point moved by 128.
        self._signed = spec.normalization is None and spec.dtype == "int8"

    def __call__(self, image: Any) -> tuple[npt.NDArray[Any], Geometry]:
        picture = image if isinstance(image, LazyImage) else as_rgb(image)
        resized, geometry = resize(picture, self._size, self._rule)
        tensor: npt.NDArray[Any] = resized if self._color == "RGB" else _recolor(resized, self._color)
        if self._signed:
            tensor = (tensor ^ _SIGN_BIT).view(np.int8)
        elif self._moments is not None:
            tensor = self._normalize(tensor, *self._moments)
        if self._spec.layout == "NCHW":
            tensor = tensor.transpose(2, 0, 1)
        return np.ascontiguousarray(tensor, self._dtype)[None], geometry

    def _normalize(self, image: Image, mean: npt.NDArray[np.float32], std: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Normalise, and quantize where the input is an integer."""
        spec = self._spec
        tensor: npt.NDArray[Any] = (image.astype(np.float32) - mean) / std
        if spec.quantization is not None:
            return quantize(tensor, spec.quantization.scale, spec.quantization.zero_point, self._dtype)
        if self._dtype.kind != "f":
            raise InputError(
                f"input {spec.name!r} is normalised and {self._dtype}, but its quantization is not given: "
                "a manifest for such a model must state scale and zero point"
            )
        return tensor


def resize(image: Image | LazyImage, size: tuple[int, int], rule: Resize) -> tuple[Image, Geometry]:
    """Resize (H, W, C) uint8 to (height, width) by the manifest's rule.

    ``crop`` takes its region out of the source first and resizes only that: the same picture as resizing first
    and cropping then, up to rounding to whole source pixels, for a fraction of the work. Of a picture that is not
    decoded yet no more than that is.
    """
    height, width = image.size if isinstance(image, LazyImage) else image.shape[:2]
    if rule.mode == "crop":
        top, left, crop_height, crop_width = crop_region((height, width), size, rule.crop_fraction)
        if isinstance(image, LazyImage):
            region = image.region(top, left, crop_height, crop_width)
        else:
            region = image[top : top + crop_height, left : left + crop_width]
        return _scale(region, size, rule), _geometry((height, width), (crop_height, crop_width), size, (left, top))
    whole = image() if isinstance(image, LazyImage) else image
    if rule.mode == "letterbox":
        return _letterbox(whole, size, rule)
    return _scale(whole, size, rule), _geometry((height, width), (height, width), size, (0, 0))


def _geometry(
    source: tuple[int, int], region: tuple[int, int], size: tuple[int, int], offset: tuple[float, float]
) -> Geometry:
    return Geometry(source, (region[1] / size[1], region[0] / size[0]), offset)


def crop_region(source: tuple[int, int], size: tuple[int, int], fraction: float) -> tuple[int, int, int, int]:
    """Top, left, height, width of the region that ``crop`` takes: centred, with the aspect of `size`."""
    height, width = source
    unit = min(height / size[0], width / size[1]) * fraction
    crop_height = round(size[0] * unit) or 1
    crop_width = round(size[1] * unit) or 1
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def _letterbox(image: Image, size: tuple[int, int], rule: Resize) -> tuple[Image, Geometry]:
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    inner = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    top, left = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2) if rule.align == "center" else (0, 0)
    canvas = np.full((*size, image.shape[2]), rule.pad_value, np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = _scale(image, inner, rule)
    scale = (width / inner[1], height / inner[0])
    return canvas, Geometry((height, width), scale, (-left * scale[0], -top * scale[1]))


def _scale(image: Image, size: tuple[int, int], rule: Resize) -> Image:
    if image.shape[:2] == size:
        return image
    opencv = cv2("resizing an image")
    flag = getattr(opencv, _INTERPOLATION[rule.interpolation])
    scaled: Image = opencv.resize(image, (size[1], size[0]), interpolation=flag)
    return scaled


def _recolor(image: Image, color: str) -> Image:
    if color == "RGB":
        return image
    if color == "BGR":
        return image[:, :, ::-1]
    # ITU-R BT.601 luma with OpenCV's 15-bit weights, so that a device without OpenCV gives the same grey.
    weights = np.array([9798, 19235, 3735], np.int32)
    return ((image.astype(np.int32) @ weights + 16384) >> 15).astype(np.uint8)[:, :, None]


def quantize(real: npt.NDArray[Any], scale: float, zero_point: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """``q = clip(round(real / scale) + zero_point)`` (Jacob et al. 2018, eq. 1), ties to even."""
    limits = np.iinfo(dtype)
    quantized: npt.NDArray[Any] = np.clip(np.rint(real / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return quantized


def dequantize(quantized: npt.NDArray[Any], scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """``real = scale * (q - zero_point)`` (Jacob et al. 2018, eq. 1)."""
    real: npt.NDArray[np.float32] = quantized.astype(np.float32)
    real -= np.float32(zero_point)
    real *= np.float32(scale)
    return real
