"""Pictures in: from a file or an array to one (H, W, 3) uint8 RGB image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime._require import require
from edgecv_runtime.errors import InputError
from edgecv_runtime.files import existing_file, list_files

Image = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})


class LazyImage(ABC):
    """A picture that waits in its decoder's own form until somebody looks at its pixels.

    Attributes
    ----------
    size : (height, width)
    """

    size: tuple[int, int]

    @abstractmethod
    def __call__(self) -> Image:
        """(H, W, 3) uint8 RGB; the same array each time."""

    @abstractmethod
    def region(self, top: int, left: int, height: int, width: int) -> Image:
        """(height, width, 3) uint8 RGB: the very pixels that the whole picture has there."""


def cv2(purpose: str) -> Any:
    """OpenCV, or an error that says what to install for `purpose`."""
    try:
        import cv2  # the statement is quicker than importlib, and every frame passes here
    except ImportError:
        return require("cv2", install="edgecv-runtime[cv]", purpose=purpose)
    return cv2


def read_image(path: str | Path) -> Image:
    """Read an image file, upright and in colour.

    The EXIF orientation is applied, grey becomes RGB, an alpha channel is dropped and 16 bits become 8.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    (H, W, 3) uint8, RGB

    Raises
    ------
    MissingFileError
        No such file.
    InputError
        The file is empty or not an image.
    MissingPackageError
        OpenCV is not installed.
    """
    path = existing_file(path, "image")
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if encoded.size == 0:
        raise InputError(f"{path} is empty (0 bytes): an image file is required")
    image = _decode(encoded)
    if image is None:
        raise InputError(f"{path} is not an image that can be decoded ({encoded.size:,} bytes)")
    return image


def _decode(encoded: npt.NDArray[np.uint8]) -> Image | None:
    opencv = cv2("reading an image file")
    try:
        bgr = opencv.imdecode(encoded, opencv.IMREAD_COLOR)
    except opencv.error:
        return None  # a damaged header claims a size that OpenCV refuses
    if bgr is None:
        return None
    rgb: Image = opencv.cvtColor(bgr, opencv.COLOR_BGR2RGB)
    return rgb


def as_rgb(image: Any) -> Image:
    """Take an image array of any usual kind to (H, W, 3) uint8 RGB, without a copy where it is that already.

    Parameters
    ----------
    image : array
        (H, W) or (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) RGBA (alpha is dropped), uint8 or uint16
        (full scale 65535; the high byte is kept, as OpenCV does when it decodes).

    Raises
    ------
    InputError
        Another shape or dtype, or an empty image.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"an image must be a numpy array or a path; received {type(image).__name__}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        hint = ". Is it a batch? Pass a list of images" if image.ndim == 4 else ""
        if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] > 4:
            hint = ". Channels must come last: image.transpose(1, 2, 0)"
        raise InputError(
            f"an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); received shape {image.shape}{hint}"
        )
    rgb: Image = image
    if image.dtype == np.uint8:
        if image.shape[2] == 3:
            return rgb  # what a camera gives leaves here
    elif image.dtype == np.uint16:
        rgb = (image >> 8).astype(np.uint8)
    else:
        hint = ". For values 0..1: (255 * image).round().astype('uint8')" if image.dtype.kind == "f" else ""
        raise InputError(f"an image must be uint8 (0..255) or uint16; received {image.dtype}{hint}")
    return np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb[:, :, :3]


def list_images(folder: str | Path) -> list[Path]:
    """Image files in a folder and below, by suffix, in sorted order.

    Raises
    ------
    MissingFileError
        No such folder.
    InputError
        The folder holds no image file.
    """
    return list_files(folder, IMAGE_SUFFIXES, "image")
