"""What may happen to a picture and its boxes while a detector learns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
Image = npt.NDArray[np.float32]


def mirror(image: npt.NDArray, boxes: Boxes) -> tuple[npt.NDArray, Boxes]:
    """Left and right exchanged: (H, W, C) and (n, 4) xyxy pixels to the same."""
    width = image.shape[1]
    turned = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    return image[:, ::-1], turned


def light(image: npt.NDArray, rng: np.random.Generator, strength: float = 1.0) -> Image:
    """Brightness, contrast and the balance of the colours changed at random.

    Parameters
    ----------
    image : (H, W, C), pixels 0..255
    rng : numpy.random.Generator
    strength : float
        1 changes brightness by up to 32, contrast and each channel by up to a quarter and a tenth; 0 nothing.

    Returns
    -------
    (H, W, C) float32, 0..255
    """
    contrast = 1 + strength * rng.uniform(-0.25, 0.25)
    balance = 1 + strength * rng.uniform(-0.1, 0.1, image.shape[2])
    brightness = strength * rng.uniform(-32, 32)
    changed = (image - 127.5) * contrast * balance + 127.5 + brightness
    return np.clip(changed, 0, 255).astype(np.float32)
