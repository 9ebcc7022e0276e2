"""What may happen to a picture of a face without its becoming another person's."""

from __future__ import annotations

from typing import Any


def face_augmentation(strength: float = 1.0, seed: int = 0) -> Any:
    """Layers that change pictures at random while training, and leave them alone otherwise.

    Mirroring, turning by up to 10°, shifting and zooming by up to a twelfth, brightness and contrast by a quarter:
    what alignment leaves, and light. These are Keras's own layers, which do all that pictures alone need; what has
    boxes, masks or keypoints, or must go on after an interruption, is for `edgecv.augment`.

    Parameters
    ----------
    strength : float
        Factor on all but the mirroring; 0 leaves only that.
    seed : int

    Returns
    -------
    keras.Sequential
        (N, H, W, C) float32 pixels 0..255 to the same.
    """
    import keras

    layers = keras.layers
    twelfth, edge = strength / 12, {"fill_mode": "nearest"}
    changes: list[Any] = [layers.RandomFlip("horizontal", seed=seed)]
    if strength > 0:
        changes += [
            layers.RandomRotation(strength * 10 / 360, seed=seed + 1, **edge),
            layers.RandomTranslation(twelfth, twelfth, seed=seed + 2, **edge),
            layers.RandomZoom((-twelfth, twelfth), seed=seed + 3, **edge),
            layers.RandomBrightness(strength / 4, value_range=(0, 255), seed=seed + 4),
            layers.RandomContrast(strength / 4, value_range=(0, 255), seed=seed + 5),
        ]
    return keras.Sequential(changes, name="augmentation")
