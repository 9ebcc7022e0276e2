from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.manifest import DecoderSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry
from edgecv_runtime.results import Classification

SCORES = np.array([0.1, 0.5, 0.1, 0.3], np.float32)
NAMES = ("a", "b", "c", "d")


def test_ranking_with_ties_in_order_of_class_index() -> None:
    result = Classification.from_scores(SCORES, NAMES)
    assert result.indices.tolist() == [1, 3, 0, 2]
    np.testing.assert_array_equal(result.scores, SCORES[[1, 3, 0, 2]])
    assert result.labels == ("b", "d", "a", "c")
    assert Classification.from_scores(np.zeros(1000, np.float32)).indices.tolist() == list(range(1000))


def test_top_len_and_iteration() -> None:
    result = Classification.from_scores(SCORES, NAMES)
    assert len(result) == 4 and len(result.top(2)) == 2 and len(result.top(9)) == 4
    assert [(index, label) for index, _, label in result.top(2)] == [(1, "b"), (3, "d")]
    assert [type(value) for value in next(iter(result))] == [int, float, str]
    for k in (0, -1):
        with pytest.raises(InputError, match=f"k must be at least 1; received {k}"):
            result.top(k)


def test_without_names() -> None:
    assert Classification.from_scores(SCORES).top(1).labels == ("class 1",)


def test_dict_is_json_and_repr_shows_the_best() -> None:
    result = Classification.from_scores(SCORES, NAMES)
    assert json.loads(json.dumps(result.top(2).to_dict())) == {
        "indices": [1, 3],
        "scores": [0.5, pytest.approx(0.3)],
        "labels": ["b", "d"],
    }
    assert repr(result) == "<Classification b 0.500, d 0.300, a 0.100, …>"
    assert repr(result.top(1)) == "<Classification b 0.500>"


def test_frozen_and_validated() -> None:
    result = Classification.from_scores(SCORES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.scores = SCORES  # type: ignore[misc]
    with pytest.raises(InputError, match=r"vectors of one length; received shapes \(2,\) and \(3,\)"):
        Classification(np.zeros(2, np.int64), np.zeros(3, np.float32))
    with pytest.raises(InputError, match="vectors of one length"):
        Classification(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.float32))


def test_scores_that_are_not_numbers_rank_last() -> None:
    result = Classification.from_scores(np.array([np.nan, 0.5, np.inf, 0.7], np.float32))
    assert result.indices.tolist() == [2, 3, 1, 0]


# -- the decoder ---------------------------------------------------------------------------------------------------

HERE = Geometry((6, 8), (1.0, 1.0), (0.0, 0.0))


def decoder(tiny: object, activation: str = "none", **changes: object) -> object:
    from edgecv_runtime.decoders import make_decoder

    manifest: Manifest = tiny.manifest("onnx", **changes)  # type: ignore[attr-defined]
    if "decoder" not in changes:
        parameters = {"activation": activation}
        manifest = dataclasses.replace(manifest, decoder=DecoderSpec("classification", parameters))
    return make_decoder(manifest)


def test_activations_by_hand(tiny: object) -> None:
    logits = np.array([[0.0, np.log(2.0), np.log(3.0), np.log(4.0)]], np.float32)
    np.testing.assert_allclose(decoder(tiny, "softmax").activate([logits])[0], [[0.1, 0.2, 0.3, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(
        decoder(tiny, "sigmoid").activate([logits])[0], [[1 / 2, 2 / 3, 3 / 4, 4 / 5]], rtol=1e-6
    )
    np.testing.assert_array_equal(decoder(tiny, "none").activate([logits])[0], logits)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_activations_do_not_overflow(tiny: object, activation: str) -> None:
    values = decoder(tiny, activation).activate([np.array([[-1e5, 1e5, 0, 3e38]], np.float32)])[0]
    assert np.isfinite(values).all() and values.max() == 1


def test_decode_takes_any_singleton_shape(tiny: object) -> None:
    result = decoder(tiny).decode([np.array([[[0.1, 0.2, 0.9, 0.3]]], np.float32)], HERE)
    assert result.top(1).labels == ("cat",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": DecoderSpec("yolo")}, "decoder must be one of anomaly, blazeface, .*; the manifest says 'yolo'"),
        ({"decoder": DecoderSpec("classification", {"activation": "relu"})}, "takes activation = none | softmax"),
        ({"decoder": DecoderSpec("classification", {"activation": []})}, "takes activation"),
        ({"decoder": DecoderSpec("classification", {"threshold": 1})}, "takes activation"),
        ({"labels": ("a", "b")}, "one label per class: 4 classes, 2 labels"),
        ({"outputs": (TensorSpec("scores", (), "float32"),)}, r"must be \(batch, classes\); the manifest says \[\]"),
        ({"outputs": (TensorSpec("scores", (4,), "float32"),)}, r"must be \(batch, classes\)"),
        ({"outputs": (TensorSpec("scores", (1, 7, 7, 4), "float32"),)}, r"must be \(batch, classes\)"),
        ({"outputs": (TensorSpec("scores", (1, 4, 1, 1), "float32"),)}, r"must be \(batch, classes\)"),
        ({"outputs": (TensorSpec("a", (1, 4), "float32"),) * 2}, "must have one output; the manifest names 2"),
    ],
)
def test_manifests_that_cannot_be_decoded(tiny: object, changes: dict[str, object], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        decoder(tiny, **changes)


def test_labels_are_counted_again_where_the_classes_are_dynamic(tiny: object) -> None:
    dynamic = decoder(tiny, outputs=(TensorSpec("scores", (None, None), "float32"),))
    assert dynamic.decode([np.zeros(4, np.float32)], HERE).labels == ("ant", "bee", "cat", "dog")
    with pytest.raises(BundleError, match="5 classes, 4 labels"):
        dynamic.decode([np.zeros(5, np.float32)], HERE)


def test_ranking_waits_until_it_is_asked_for_and_is_made_once() -> None:
    result = Classification.from_scores(SCORES, NAMES)
    assert "indices" not in vars(result)
    assert result.indices is result.indices
    copied = copy.copy(Classification.from_scores(SCORES, NAMES))
    assert pickle.loads(pickle.dumps(copied)).indices.tolist() == np.argsort(-SCORES, kind="stable").tolist()
    with pytest.raises(AttributeError, match="no attribute 'index'"):
        result.index  # noqa: B018
    with pytest.raises(InputError, match=r"scores must be a vector.*\(1, 4\)"):
        Classification.from_scores(np.zeros((1, 4), np.float32))
