"""Fixtures for models: weights that are far from their initial values, and a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def randomise() -> Callable[..., None]:
    """Give every weight of a model a seeded value, batch statistics and normalisation included."""

    def fill(model: Any, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        for layer in model.layers:
            values = []
            for weight in layer.weights:
                shape = tuple(weight.shape)
                kind = weight.path.rsplit("/", 1)[-1]
                if kind in ("gamma", "moving_variance", "variance"):
                    values.append(generator.uniform(0.5, 1.5, shape))
                elif kind in ("beta", "moving_mean", "mean", "bias"):
                    values.append(generator.normal(0, 0.2, shape))
                elif kind == "count":
                    values.append(np.zeros(shape))
                else:
                    # He's rule keeps the signal alive through a hundred layers.
                    fan_in = np.prod(shape[:2]) if "depthwise" in type(layer).__name__.lower() else np.prod(shape[:-1])
                    values.append(generator.normal(0, np.sqrt(2 / fan_in), shape))
            if values:
                layer.set_weights(values)
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()

    return fill


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """(N, height, width, 3) float32 pixels 0..255."""

    def draw(height: int, width: int, count: int = 1, seed: int = 1) -> np.ndarray:
        return np.random.default_rng(seed).uniform(0, 255, (count, height, width, 3)).astype(np.float32)

    return draw
