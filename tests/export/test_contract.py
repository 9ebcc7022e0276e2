"""The proof of an artefact, by hand."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecv_export.contract import Proof, choose_images, prove
from edgecv_export.plan import Plan
from edgecv_runtime.errors import CheckFailedError


def model_of(raw: Any, activation: Any = None) -> Any:
    """In place of a loaded artefact: answers to a picture filled with i with row i."""
    table = np.array(raw, np.float32)
    finish = activation or (lambda values: values)

    def raw_outputs(image: np.ndarray) -> list[np.ndarray]:
        return [table[int(image[0, 0, 0])][None]]

    return SimpleNamespace(
        task="classification",
        manifest=SimpleNamespace(outputs=[SimpleNamespace(name="scores")]),
        raw_outputs=raw_outputs,
        outputs=lambda image: [finish(values) for values in raw_outputs(image)],
        comparable=list,
        activate=lambda outputs: [finish(values) for values in outputs],
    )


def pictures(count: int) -> list[np.ndarray]:
    return [np.full((8, 8, 3), index, np.uint8) for index in range(count)]


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_what_is_told() -> None:
    expected = np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    proof = prove(
        model_of([[0.8, 0.2], [0.55, 0.45]]), Plan("tflite", "dynamic"), pictures(2), [expected], "calibration"
    )
    assert proof.to_dict() == {
        "images": 2, "origin": "calibration", "max_abs": pytest.approx(0.15), "agreement": 0.5,
    }  # fmt: skip
    assert type(proof.to_dict()["max_abs"]) is float
    # Twice the largest difference, one and a half the root mean square: of 0.1, 0.1, 0.15 and 0.15.
    np.testing.assert_allclose(proof.golden.tolerance, [[0.3, 1.5 * np.sqrt((0.01 + 0.0225) / 2)]], rtol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_integer_artefacts_are_compared_at_the_logits_and_judged_by_probability(precision: str) -> None:
    expected = np.array([[4.0, 0.0], [0.0, 4.0]], np.float32)
    proof = prove(
        model_of([[3.0, 0.0], [0.0, 4.0]], softmax), Plan("onnx", precision), pictures(2), [expected], "generated"
    )
    assert proof.max_abs == pytest.approx(softmax(np.array([4.0, 0]))[0] - softmax(np.array([3.0, 0]))[0], abs=1e-6)
    assert proof.agreement == 1.0
    # The logits' standard deviation is 2: the floors are 0.2 and 0.02 of it. Twice 1, one and a half 0.5 are above.
    np.testing.assert_allclose(proof.golden.tolerance, [[2.0, 0.75]], rtol=1e-5)


def test_the_floors_of_an_exact_artefact() -> None:
    expected = np.array([[4.0, 0.0], [0.0, 4.0]], np.float32)
    for precision, floors in (
        ("fp32", [4e-4, 4e-5]), ("fp16", [2e-2, 2e-3]), ("dynamic", [8e-2, 8e-3]), ("int8", [0.4, 0.04]),
        ("mixed", [0.4, 0.04]), ("int16x8", [0.1, 0.01]),
    ):  # fmt: skip
        proof = prove(model_of(expected), Plan("tflite", precision), pictures(2), [expected], "generated")
        np.testing.assert_allclose(proof.golden.tolerance, [floors], rtol=1e-6)
        assert (proof.max_abs, proof.agreement) == (0.0, 1.0)


def test_the_floors_of_probabilities() -> None:
    """In eighths: of an integer file from elsewhere a tenth may go from one class of eight to another."""
    expected = np.array([[0.5, 0.25, 0.125, 0, 0, 0, 0, 0.125], [0, 0.75, 0, 0, 0, 0, 0, 0]], np.float32)
    proof = prove(model_of(expected), Plan("tflite", "int8"), pictures(2), [expected], "generated")
    np.testing.assert_allclose(proof.golden.tolerance, [[0.1, 0.05]], rtol=1e-6)


@pytest.mark.parametrize(
    ("precision", "limit"), [("fp32", 1e-3), ("fp16", 0.05), ("dynamic", 0.5), ("int8", 0.8), ("mixed", 0.8)]
)
def test_the_limit(precision: str, limit: float) -> None:
    expected = np.array([[1.0, 0.0]], np.float32)
    plan = Plan("onnx", precision)
    check = partial(prove, plan=plan, images=pictures(1), expected=[expected], origin="generated")
    assert isinstance(check(model_of([[1 - 0.9 * limit, 0.0]])), Proof)
    with pytest.raises(CheckFailedError) as caught:
        check(model_of([[1 - 1.1 * limit, 0.0]]))
    assert str(caught.value) == (
        f"the onnx {precision} artefact differs from its float source by {1.1 * limit:.3g} "
        f"(at most {limit:g} is accepted): nothing was written"
    )


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(CheckFailedError, match="differs from its float source by nan"):
        prove(model_of([[np.nan, 0.0]]), Plan("onnx", "fp32"), pictures(1), [np.zeros((1, 2), np.float32)], "generated")


def test_the_chosen_pictures_are_spread_and_small() -> None:
    chosen = choose_images(pictures(10), (8, 8))
    assert [int(image[0, 0, 0]) for image in chosen] == [0, 3, 6, 9]
    assert len(choose_images(pictures(2), (8, 8))) == 2
    (large,) = choose_images([np.zeros((160, 320, 3), np.uint8)], (70, 70))
    assert large.shape == (80, 160, 3)  # an eighth of the shorter side for a crop to cut off
