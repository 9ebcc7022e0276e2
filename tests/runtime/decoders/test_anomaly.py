"""Anomalies by reconstruction: errors worked by hand, in every layout and on every scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.drawing import draw
from edgecv_runtime.errors import BundleError, InputError, UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, Normalization, TensorSpec
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Anomaly

Make = Callable[..., Any]
PLAIN = Geometry((4, 4), (1.0, 1.0), (0.0, 0.0))


def manifest_of(given: InputSpec, shape: tuple[int, ...], **parameters: Any) -> Manifest:
    return Manifest(
        name="m",
        task="anomaly",
        architecture={"name": "foreign"},
        format="onnx",
        precision="fp32",
        inputs=(given,),
        outputs=(TensorSpec("rebuilt", shape, "float32"),),
        decoder=DecoderSpec("anomaly", parameters),
    )


GRAY = InputSpec("image", (1, 4, 4, 1), "uint8", color="GRAY")


def test_errors_by_hand() -> None:
    """Pixels 51 are 0.2; rebuilt as 0.2 but for one place, 0.7: an error of 0.25 there."""
    seen = np.full((4, 4, 1), 51, np.uint8)
    rebuilt = np.full((4, 4, 1), 0.2, np.float32)
    rebuilt[1, 2] = 0.7
    head = make_decoder(manifest_of(GRAY, (1, 4, 4, 1), mean=[0.0], std=[255.0], threshold=0.2))
    found = head.decode_seen([rebuilt], PLAIN, seen)
    assert found.score == pytest.approx(0.25, abs=1e-6) and found.anomalous and found.peak == (2, 1)
    wanted = np.zeros((4, 4))
    wanted[1, 2] = 0.25
    np.testing.assert_allclose(found.map, wanted, atol=1e-6)
    # 15 of 16 places are right: the 0.9 quantile lies between the 14th and the 15th of them, both 0.
    assert make_decoder(manifest_of(GRAY, (1, 4, 4, 1), std=[255.0], quantile=0.9)).decode_seen(
        [rebuilt], PLAIN, seen
    ).score == pytest.approx(0, abs=1e-6)
    smooth = make_decoder(manifest_of(GRAY, (1, 4, 4, 1), std=[255.0], smooth=3)).decode_seen([rebuilt], PLAIN, seen)
    # The border is mirrored: in the corner row 1 and column 2 count twice.
    assert smooth.score == pytest.approx(0.25 / 9 * 4, abs=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_pixels_in_every_type_and_layout(dtype: str) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    rebuilt = generator.normal(0, 1, (4, 4, 3)).astype(np.float32)
    mean, std = np.array([100.0, 120.0, 140.0]), np.array([50.0, 60.0, 70.0])
    wanted = np.square((pixels - mean) / std - rebuilt).mean(axis=2)
    tensor = {"uint8": pixels, "int8": (pixels.astype(int) - 128).astype(np.int8), "float32": np.float32(pixels)}[dtype]
    parameters = {"mean": mean.tolist(), "std": std.tolist()}
    given = InputSpec("image", (1, 4, 4, 3), dtype)
    found = make_decoder(manifest_of(given, (1, 4, 4, 3), **parameters)).decode_seen([rebuilt], PLAIN, tensor)
    np.testing.assert_allclose(found.map, wanted, rtol=1e-5)
    first = replace(given, shape=(1, 3, 4, 4), layout="NCHW")
    head = make_decoder(manifest_of(first, (1, 3, 4, 4), layout="NCHW", **parameters))
    found = head.decode_seen([rebuilt.transpose(2, 0, 1)], PLAIN, tensor.transpose(2, 0, 1))
    np.testing.assert_allclose(found.map, wanted, rtol=1e-5)


def test_an_input_that_is_normalised_is_on_the_scale_already() -> None:
    given = InputSpec("image", (1, 4, 4, 1), "float32", color="GRAY", normalization=Normalization((0.0,), (255.0,)))
    seen = np.full((4, 4, 1), 0.5, np.float32)
    found = make_decoder(manifest_of(given, (1, 4, 4, 1))).decode_seen([np.zeros((4, 4, 1), np.float32)], PLAIN, seen)
    assert found.score == pytest.approx(0.25)


def test_logits_are_finished() -> None:
    head = make_decoder(manifest_of(GRAY, (1, 4, 4, 1), std=[255.0], activation="sigmoid"))
    seen = np.full((4, 4, 1), 255, np.uint8)
    finished = head.activate([np.zeros((1, 4, 4, 1), np.float32)])
    assert head.decode_seen([output[0] for output in finished], PLAIN, seen).score == pytest.approx(0.25)  # (1 - ½)²


def test_back_in_the_source() -> None:
    """A picture 8 wide and 4 high whose middle square was seen, at half its size."""
    geometry = Geometry((4, 8), (1.0, 1.0), (2.0, 0.0))
    rebuilt = np.zeros((4, 4, 1), np.float32)
    rebuilt[3, 0] = 1
    found = make_decoder(manifest_of(GRAY, (1, 4, 4, 1))).decode_seen(
        [rebuilt], geometry, np.zeros((4, 4, 1), np.uint8)
    )
    assert found.map.shape == (4, 8) and found.peak == (2, 3) and found.map.sum() == 1


@pytest.mark.parametrize(
    ("shape", "parameters", "message"),
    [
        ((1, 4, 2, 1), {}, r"reads the input rebuilt, \(batch, 4, 4, 1\); the manifest says \[1, 4, 2, 1\]"),
        ((1, 4, 4, 1), {"smooth": 2}, "smooth must be an odd number of pixels; the manifest says 2"),
        ((1, 4, 4, 1), {"std": [1.0, 2.0]}, "mean and std must be one number, or one for each of 1 channel"),
        ((1, 4, 4, 1), {"std": [0.0]}, "std of decoder 'anomaly' must be a list of a number in"),
    ],
)
def test_refused(shape: tuple[int, ...], parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        make_decoder(manifest_of(GRAY, shape, **parameters))


def test_outputs_alone_say_nothing() -> None:
    head = make_decoder(manifest_of(GRAY, (1, 4, 4, 1)))
    with pytest.raises(UnsupportedError, match="without the picture it rebuilds"):
        head.decode([np.zeros((4, 4, 1), np.float32)], PLAIN)


def test_the_result() -> None:
    scores = np.zeros((4, 6), np.float32)
    scores[2, 5] = 0.5
    result = Anomaly(scores, 0.5, threshold=0.4)
    assert result.to_dict() == {"score": 0.5, "threshold": 0.4, "anomalous": True, "peak": [5, 2], "size": [4, 6]}
    assert result.summary == "anomalous 0.5 [5 2]" and len(result) == 1 and result.top() is result
    assert list(result) == [((5, 2), 0.5, "anomalous")]
    assert Anomaly(scores, 0.5).anomalous is None and Anomaly(scores, 0.5, 0.6).summary.startswith("normal")
    with pytest.raises(InputError, match="must be .H, W.; received shape"):
        Anomaly(scores[0], 0.5)


def test_drawn() -> None:
    grey = np.full((60, 80, 3), 100, np.uint8)
    scores = np.zeros((60, 80), np.float32)
    scores[50:, 70:] = 1
    drawn = draw(grey, Anomaly(scores, 1.0, threshold=1.0))
    assert drawn[55, 75].tolist() == [165, 65, 65]  # half of (230, 30, 30)
    assert drawn[40, 20].tolist() == [100, 100, 100]
    with pytest.raises(InputError, match="a map must have the picture's size"):
        draw(grey[:30], Anomaly(scores, 1.0))
