"""Training networks share the detector's layers, and learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.data.shapes import SHAPE_CLASSES, ShapesSample, generate_shapes
from edgecv.detection.boxes import iou_matrix
from edgecv.two_stage.fit import TrainingOptions, normalise
from edgecv.two_stage.region_proposals import propose_regions, segment
from edgecv.two_stage.train import train_two_stage, training_network
from edgecv_runtime.errors import InputError

TINY: dict[str, Any] = {"backbone": "plain", "alpha": 0.25, "dense_width": 16, "roi_size": 3, "anchor_scale": 0.25}
PROPOSED: dict[str, Any] = {"proposals": 10, "candidates": 40}
MASKED: dict[str, Any] = {"detections": 4, "mask_width": 4, "mask_depth": 1, "keypoints": 4}
BUDGET = TrainingOptions(epochs=2, batch=4, regions=16, anchors=32, learning_rate=3e-3)


def build(name: str, **options: Any) -> Any:
    return edgecv.create_model(name, (48, 48, 3), len(SHAPE_CLASSES), **TINY, **options)


@pytest.fixture(scope="module")
def samples() -> list[ShapesSample]:
    return generate_shapes(8, 48, seed=3)


def test_the_training_network_gives_what_the_detector_gives(samples: list[ShapesSample]) -> None:
    """On the detector's own proposals its head says the same, before decoding."""
    model = build("faster_rcnn", **PROPOSED)
    images = normalise(np.stack([sample.image for sample in samples[:2]]))
    there = {layer.name: layer for layer in model.layers}
    import keras

    inner = keras.Model(model.input, [there["proposals"].output[0], there["roi_class"].output])
    regions, logits = (np.asarray(t) for t in inner(images))
    network = training_network(model, 10, 3)
    found = network([images, regions], training=False)
    np.testing.assert_allclose(np.asarray(found["logits"]), logits, atol=1e-5)
    heads = keras.Model(model.input, model.get_layer("roi_box").output)
    np.testing.assert_allclose(np.asarray(found["offsets"]), np.asarray(heads(images)), atol=1e-5)
    assert found["offsets"].shape == (2, 10, 12) and found["rpn_logits"].shape == (2, 36 * 9, 2)
    assert {id(w) for w in network.trainable_weights} == {id(w) for w in model.trainable_weights}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("fast_rcnn", {}), ("faster_rcnn", PROPOSED), ("mask_rcnn", {**PROPOSED, **MASKED})],
)
def test_the_loss_falls_and_comes_again(name: str, options: dict[str, Any], samples: list[ShapesSample]) -> None:
    histories = []
    for _ in range(2):
        import keras

        keras.utils.set_random_seed(1)
        histories.append(train_two_stage(build(name, **options), samples, BUDGET))
    assert histories[0][1] < histories[0][0]
    assert histories[0] == pytest.approx(histories[1], rel=1e-4)


@pytest.mark.slow
def test_rcnn_learns_warped_regions(samples: list[ShapesSample]) -> None:
    from edgecv.two_stage.rcnn import train_rcnn

    model = edgecv.create_model("rcnn", (32, 32, 3), 3, backbone="plain", alpha=0.25, dense_width=16)
    history = train_rcnn(model, samples, BUDGET)
    assert history[1] < history[0]


def test_what_cannot_be_trained_is_refused(samples: list[ShapesSample]) -> None:
    model = build("fast_rcnn", regions=5)
    with pytest.raises(InputError, match="makes no proposals: proposals for every picture are required"):
        train_two_stage(model, samples)
    with pytest.raises(InputError, match="there must be proposals for every picture: 8; received 1"):
        train_two_stage(model, samples, proposals=[np.zeros((1, 4))])
    with pytest.raises(InputError, match=r"pictures must be \(48, 48, 3\).*received \(64, 64, 3\)"):
        train_two_stage(model, generate_shapes(1, 64))
    with pytest.raises(InputError, match="at least one picture"):
        train_two_stage(model, [])
    with pytest.raises(InputError, match="epochs must be at least 1; received 0"):
        TrainingOptions(epochs=0)
    with pytest.raises(InputError, match=r"share in \(0, 1\]"):
        TrainingOptions(share=0)
    with pytest.raises(InputError, match="a two-stage detector is required; autoencoder has no layers"):
        training_network(edgecv.create_model("autoencoder"), 4, 1)


# -- region proposals --------------------------------------------------------------------------------------------------


def test_segments_of_plain_areas_are_those_areas() -> None:
    image = np.zeros((20, 30, 3), np.float32)
    image[5:15, 10:20] = [200, 0, 0]
    image[2, 2] = [90, 90, 90]  # smaller than what may stand alone
    labels = segment(image, 100, 4)
    assert labels.max() == 1 and len(np.unique(labels[5:15, 10:20])) == 1
    assert (labels == labels[5, 5]).sum() == 500


def test_shapes_are_among_the_proposals(samples: list[ShapesSample]) -> None:
    best = np.concatenate(
        [iou_matrix(sample.boxes, propose_regions(sample.image, method="own")).max(axis=1) for sample in samples]
    )
    assert (best >= 0.5).mean() >= 0.9
    few = propose_regions(samples[0].image, 300)
    assert few.shape == (300, 4) and not few[-1].any()
    np.testing.assert_array_equal(propose_regions(samples[0].image, 3), few[:3])
    large = propose_regions(samples[0].image.repeat(6, axis=0).repeat(6, axis=1))
    assert large.max() <= 288 and (large[:, 2:] - large[:, :2] >= 4).all()
    with pytest.raises(InputError, match="method must be auto, opencv or own"):
        propose_regions(samples[0].image, method="x")
    with pytest.raises(InputError, match="count must be at least 1"):
        propose_regions(samples[0].image, 0)
