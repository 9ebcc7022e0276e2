"""Pictures out of tensors, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.drawing import draw
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results_picture import Picture

WHOLE = Geometry((4, 4), (1.0, 1.0), (0.0, 0.0))


def manifest(shape: tuple[int, ...] = (1, 4, 4, 3), **parameters: Any) -> Manifest:
    return Manifest(
        name="painter",
        task="image",
        architecture={"name": "custom"},
        format="tflite",
        precision="fp32",
        inputs=(InputSpec(name="image", shape=(1, 4, 4, 3), dtype="uint8"),),
        outputs=(TensorSpec(name="pixels", shape=shape, dtype="float32"),),
        decoder=DecoderSpec("image", parameters),
    )


def test_values_become_pixels() -> None:
    values = np.zeros((4, 4, 3), np.float32)
    values[0, 0] = (0.5, 1.0, 2.0)
    values[1, 1] = (-1.0, 0.002, 0.0)
    found = make_decoder(manifest(scale=255.0)).decode([values], WHOLE)
    assert isinstance(found, Picture) and found.image.shape == (4, 4, 3)
    assert found.image[0, 0].tolist() == [128, 255, 255]  # 127.5 to even; what is beyond 255 is 255
    assert found.image[1, 1].tolist() == [0, 1, 0]
    assert found.image.sum() == 128 + 255 + 255 + 1
    moved = make_decoder(manifest((1, 3, 4, 4), layout="NCHW", scale=127.5, offset=127.5))
    assert moved.decode([values.transpose(2, 0, 1)], WHOLE).image[3, 3].tolist() == [128, 128, 128]


def test_grey_and_a_last_sigmoid() -> None:
    decoder = make_decoder(manifest((1, 4, 4, 1), activation="sigmoid", scale=255.0))
    (values,) = decoder.activate([np.zeros((1, 4, 4, 1), np.float32)])
    assert values == pytest.approx(0.5)
    assert decoder.decode([values[0]], WHOLE).image.tolist() == np.full((4, 4), 128).tolist()


def test_a_picture_has_the_source_s_size() -> None:
    """A ramp stays a ramp when it is stretched; the middles of places keep their values."""
    ramp = np.broadcast_to(np.array([10, 20, 30, 40], np.float32)[None, :, None], (4, 4, 3))
    found = make_decoder(manifest()).decode([ramp], Geometry((12, 12), (3.0, 3.0), (0.0, 0.0)))
    assert found.image.shape == (12, 12, 3)
    assert found.image[5, 1::3, 0].tolist() == [10, 20, 30, 40]
    assert found.image[5, 2:5, 0].tolist() == [13, 17, 20]
    assert found.image[5, [0, 11], 0].tolist() == [10, 40]


def test_what_the_model_did_not_see_is_black() -> None:
    white = np.full((4, 4, 3), 255, np.float32)
    found = make_decoder(manifest()).decode([white], Geometry((4, 8), (1.0, 1.0), (2.0, 0.0)))
    assert found.image[:, :, 0].tolist() == [[0, 0, 255, 255, 255, 255, 0, 0]] * 4


def test_refused() -> None:
    with pytest.raises(BundleError, match=r"decoder 'image' reads \(batch, H, W, 1 or 3\); the manifest says"):
        make_decoder(manifest((1, 4, 4, 2)))
    with pytest.raises(BundleError, match="a picture has no classes; the manifest names 2 labels"):
        make_decoder(replace(manifest(), labels=("a", "b")))
    with pytest.raises(InputError, match=r"a picture must be \(H, W, 3\) or \(H, W\) uint8; received"):
        Picture(np.zeros((4, 4, 3), np.float32))


def test_a_picture_in_words() -> None:
    picture = Picture(np.full((2, 3, 3), 7, np.uint8))
    assert picture.to_dict() == {"size": [2, 3], "mean": [7.0, 7.0, 7.0]}
    assert repr(picture) == "<Picture 3×2, mean 7>" and len(picture) == 1 and picture.top(3) is picture
    assert next(iter(picture)) is picture.image


def test_a_picture_is_drawn_in_place_of_the_other() -> None:
    grey = Picture(np.arange(4, dtype=np.uint8).reshape(2, 2))
    assert draw(np.zeros((2, 2, 3), np.uint8), grey)[:, :, 2].tolist() == [[0, 1], [2, 3]]
