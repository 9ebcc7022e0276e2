"""The choices that an integer artefact is made by."""

from __future__ import annotations

import json

import pytest

from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.recipe import PLAIN, Recipe
from edgecv_runtime.errors import InputError


@pytest.mark.parametrize("estimator", ["minmax", "percentile", "entropy", "mse"])
def test_estimators(estimator: str) -> None:
    assert Recipe(estimator=estimator).estimator == estimator


@pytest.mark.parametrize("estimator", ["MSE", "max", ""])
def test_an_unknown_estimator(estimator: str) -> None:
    with pytest.raises(InputError) as caught:
        Recipe(estimator=estimator)
    assert str(caught.value) == (
        f"the range estimator must be one of minmax, percentile, entropy, mse; received {estimator!r}"
    )


@pytest.mark.parametrize("images", [0, -1])
def test_no_images(images: int) -> None:
    with pytest.raises(InputError, match=f"^at least one calibration image is required; received images={images}$"):
        Recipe(images=images)
    assert Recipe(images=1).images == 1


@pytest.mark.parametrize("widen", [0.0, -1.0, float("nan")])
def test_a_width_that_is_none(widen: float) -> None:
    with pytest.raises(InputError, match="^widen must be above 0; received"):
        Recipe(widen=widen)


def test_the_report_tells_what_differs_from_the_default() -> None:
    assert Recipe().to_dict() == {}
    assert PLAIN.to_dict() == {"adaround": False, "correct": False}
    recipe = Recipe("mse", 50, True, False, False, ("a", "b"), 16.0, object(), {"a": Range(0, 1)})
    assert recipe.trained
    assert recipe.to_dict() == {
        "estimator": "mse", "images": 50, "equalize": True, "adaround": False, "correct": False,
        "float_layers": ["a", "b"], "widen": 16.0, "trained": True,
    }  # fmt: skip
    assert json.loads(json.dumps(recipe.to_dict())) == recipe.to_dict()
    assert not Recipe().trained
