"""Targets of pose networks: by hand, and found again by the decoders of the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.pose.joints import JOINTS, SKELETON, skeleton_of
from edgecv.pose.targets import UNSEEN, encode_heatmaps, encode_points
from edgecv_runtime.decoders import make_decoder
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import DecoderSpec, InputSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry

SIZE = (48, 96)  # height, width


def decoded(decoder: str, output: np.ndarray) -> np.ndarray:
    """(K, 2): what the runtime reads from one picture's output, in pixels."""
    manifest = Manifest(
        name="m",
        task="pose",
        architecture={"name": "foreign"},
        format="onnx",
        precision="fp32",
        inputs=(InputSpec("image", (1, *SIZE, 3), "uint8"),),
        outputs=(TensorSpec("output", (1, *output.shape), "float32"),),
        decoder=DecoderSpec(decoder, {}),
    )
    pose: Any = make_decoder(manifest).decode([output], Geometry(SIZE, (1.0, 1.0), (0.0, 0.0)))
    return pose.keypoints


def test_points_by_hand_and_back() -> None:
    joints = np.array([[[24.0, 12.0], [96.0, 48.0], [7.0, 7.0]]])
    coded = encode_points(joints, [[True, True, False]], SIZE)
    assert coded.tolist() == [[0.25, 0.25, 1.0, 1.0, UNSEEN, UNSEEN]]
    assert coded.dtype == np.float32
    np.testing.assert_allclose(decoded("regression-pose", coded[0])[:2], joints[0, :2])


def test_heat_by_hand() -> None:
    # Cells of 8 pixels: the joint lies in the middle of cell (row 2, column 3).
    maps = encode_heatmaps([[[28.0, 20.0], [1.0, 1.0]]], [[True, False]], SIZE, (6, 12), sigma=2.0)
    assert maps.shape == (1, 6, 12, 2)
    assert maps[0, 2, 3, 0] == 1
    assert maps[0, 2, 5, 0] == pytest.approx(np.exp(-0.5))  # two cells away: one sigma
    assert maps[0, 4, 5, 0] == pytest.approx(np.exp(-1.0))
    assert (maps[..., 1] == UNSEEN).all()


def test_heat_is_found_again_within_a_quarter_of_a_cell() -> None:
    rng = np.random.default_rng(0)
    cells = (12, 24)  # of 4 pixels
    joints = rng.uniform([4, 4], [92, 44], (40, 5, 2))  # not in the cells of the border
    maps = encode_heatmaps(joints, np.ones((40, 5), bool), SIZE, cells)
    away = np.abs(np.stack([decoded("heatmap-pose", one) for one in maps]) - joints)
    assert away.max() <= 0.25 * 4 + 1e-4
    assert away.max() > 0.2 * 4  # a quarter is what one step of the decoder leaves


@pytest.mark.parametrize(
    ("joints", "visible", "sigma", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), 1.0, r"must be \(N, K, 2\) and \(N, K\); received shapes \(2, 3\)"),
        (np.zeros((2, 3, 2)), np.zeros((2, 2)), 1.0, r"received shapes \(2, 3, 2\) and \(2, 2\)"),
        (np.zeros((2, 3, 2)), np.zeros((2, 3)), 0.0, "sigma must be above 0 cells; received 0.0"),
    ],
)
def test_refused(joints: np.ndarray, visible: np.ndarray, sigma: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_heatmaps(joints, visible, SIZE, (6, 12), sigma)


def test_the_skeleton_joins_all_joints() -> None:
    reached = {0}
    for _ in JOINTS:
        reached |= {b for pair in SKELETON for b in pair if reached & set(pair)}
    assert reached == set(range(14))
    assert skeleton_of(14) == [list(pair) for pair in SKELETON]
    assert skeleton_of(17) is None
