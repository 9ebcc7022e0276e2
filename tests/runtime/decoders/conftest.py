"""A decoder made from a few words, as a manifest would give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, Resize, TensorSpec
from edgecv_runtime.preprocess import Geometry, resize


@pytest.fixture(scope="session")
def decoder() -> Callable[..., Any]:
    """``decoder("yolox", {"output": (1, 21, 7)}, size=(32, 32), strides=[8, 16, 32])``."""

    def make(
        name: str,
        shapes: dict[str, tuple[int | None, ...]],
        /,
        *,
        size: tuple[int, int] = (64, 64),
        labels: tuple[str, ...] | None = None,
        **parameters: Any,
    ) -> Any:
        manifest = Manifest(
            name="m",
            task="any",
            architecture={"name": "foreign"},
            format="onnx",
            precision="fp32",
            inputs=(InputSpec("image", (1, *size, 3), "uint8"),),
            outputs=tuple(TensorSpec(title, shape, "float32") for title, shape in shapes.items()),
            decoder=DecoderSpec(name, parameters),
            labels=labels,
        )
        return make_decoder(manifest)

    return make


@pytest.fixture(scope="session")
def plain() -> Geometry:
    """Input pixels are source pixels, of a 64×64 picture."""
    return Geometry((64, 64), (1.0, 1.0), (0.0, 0.0))


@pytest.fixture(scope="session")
def letterboxed() -> Geometry:
    """A picture 200 wide and 100 high, centred in 64×64: 3.125 source pixels an input pixel, 16 rows above."""
    _, geometry = resize(np.zeros((100, 200, 3), np.uint8), (64, 64), Resize("letterbox"))
    assert geometry == Geometry((100, 200), (3.125, 3.125), (0.0, -50.0))
    return geometry
