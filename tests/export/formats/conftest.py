"""By hand: the manifest as JSON, the pixels with OpenCV and numpy. Nothing of edgecv takes part."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@dataclass(frozen=True)
class Road:
    """What a manifest says of the way in and the way out."""

    manifest: dict[str, Any]

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """(1, H, W, C) uint8."""
        spec = self.manifest["inputs"][0]
        assert spec["dtype"] == "uint8"
        assert spec["layout"] == "NHWC"
        assert spec["normalization"] == "in-graph"
        _, height, width, channels = spec["shape"]
        rule = spec["resize"]
        assert rule["interpolation"] == "linear"
        if rule["mode"] == "crop":
            factor = rule["crop_fraction"] * min(image.shape[0] / height, image.shape[1] / width)
            rows, columns = round(factor * height), round(factor * width)
            top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
            image = image[top : top + rows, left : left + columns]
        else:
            assert rule["mode"] == "stretch"
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if spec["color"] == "GRAY":
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
        else:
            assert spec["color"] == "RGB"
        assert image.shape == (height, width, channels)
        return image[None]

    def scores(self, raw: np.ndarray) -> np.ndarray:
        """(classes,) probabilities."""
        spec = self.manifest["outputs"][0]
        values = raw[0].astype(np.float64)
        assert raw.dtype == spec["dtype"]
        if spec["quantization"] is not None:
            values = (values - spec["quantization"]["zero_point"]) * spec["quantization"]["scale"]
        decoder = self.manifest["decoder"]
        assert decoder["name"] == "classification"
        if decoder["parameters"]["activation"] == "softmax":
            values = np.exp(values - values.max())
            values /= values.sum()
        else:
            assert decoder["parameters"]["activation"] == "none"
        return values


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], tuple[Path, Road]]:
    """The members of a bundle as files, and its manifest."""

    def unpack(bundle: Path) -> tuple[Path, Road]:
        folder = tmp_path_factory.mktemp("unpacked")
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(folder)
        return folder, Road(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))

    return unpack


@pytest.fixture(scope="session")
def pictures_of(
    digits: tuple[list[np.ndarray], np.ndarray], scenes: tuple[np.ndarray, ...]
) -> Callable[[str], list[np.ndarray]]:
    """Pictures for ``"lenet"`` or ``"mobilenet"``: ones of the input's size, and ones that must be resized."""
    resized = [cv2.resize(image, (45, 51), interpolation=cv2.INTER_CUBIC) for image in digits[0][:3]]
    return lambda name: [*digits[0], *resized] if name == "lenet" else list(scenes[6:])


# Largest difference from Keras in probability. Integer formats: what these two networks lose, with room; on the
# random weights of the MobileNet it says little of accuracy.
LIMITS = {"fp32": 1e-4, "fp16": 1e-2, "dynamic": 0.15, "int8": 0.25, "int16x8": 0.15}


@pytest.fixture(scope="session")
def assert_near() -> Callable[..., None]:
    """Compare (N, classes) answers with the float source's, and with what the bundle itself answers."""
    import edgecv_runtime as ert

    def check(answers: np.ndarray, one: Any, pictures: list[np.ndarray]) -> None:
        precision = one.bundle.manifest.precision
        expected = one.source.predict(pictures)
        assert np.abs(answers - expected).max() <= LIMITS[precision]
        with ert.load(one.path) as model:
            itself = np.stack([model.outputs(image)[0][0] for image in pictures])
        # Left to their defaults, ONNX Runtime and OpenVINO round a dynamic model's activations too.
        np.testing.assert_allclose(answers, itself, atol=5e-3 if precision == "dynamic" else 1e-5)
        # Of ten classes that random weights hold for about equally probable, rounding may choose another.
        if one.bundle.manifest.name == "lenet" or precision in ("fp32", "fp16"):
            assert float((answers.argmax(1) == expected.argmax(1)).mean()) >= 0.98

    return check
