"""Every format × precision: what is taken, what is refused, and why."""

from __future__ import annotations

import pytest

from edgecv_export.plan import Plan, check_pictures, check_recipe
from edgecv_export.quantize.recipe import Recipe
from edgecv_runtime.errors import InputError, UnsupportedError

FORMATS = ("tflite", "onnx", "openvino")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("precision", "calibrated", "integer"),
    [
        ("fp32", False, False), ("fp16", False, False), ("dynamic", False, False), ("int8", True, True),
        ("mixed", True, True),
    ],
)  # fmt: skip
def test_every_format_takes_these(format: str, precision: str, calibrated: bool, integer: bool) -> None:
    plan = Plan(format, precision)
    assert (plan.format, plan.precision) == (format, precision)
    assert (plan.calibrated, plan.integer) == (calibrated, integer)
    assert plan.searched == (precision in ("int8", "mixed"))


def test_int16x8_is_for_tflite_alone() -> None:
    plan = Plan("tflite", "int16x8")
    assert plan.calibrated
    assert plan.integer
    assert not plan.searched
    for format, name in (("onnx", "ONNX"), ("openvino", "OpenVINO")):
        with pytest.raises(UnsupportedError) as caught:
            Plan(format, "int16x8")
        assert str(caught.value) == (
            "int16x8 (int16 activations, int8 weights) is a TFLite scheme that "
            f"{name} has no kernels for: use --format tflite, or fp16"
        )


@pytest.mark.parametrize("precision", ["int4", "INT8", "", "float32"])
def test_an_unknown_precision(precision: str) -> None:
    with pytest.raises(InputError) as caught:
        Plan("tflite", precision)
    assert str(caught.value) == (
        f"precision must be one of fp32, fp16, dynamic, int8, int16x8, mixed; received {precision!r}"
    )


@pytest.mark.parametrize("format", ["coreml", "TFLite", ""])
def test_an_unknown_format(format: str) -> None:
    with pytest.raises(InputError) as caught:
        Plan(format, "fp32")
    assert str(caught.value) == f"format must be one of tflite, onnx, openvino; received {format!r}"


# -- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["int8", "mixed", "int16x8"])
def test_integers_need_calibration(precision: str) -> None:
    plan = Plan("tflite", precision)
    check_pictures(plan, "pictures", None, None)
    with pytest.raises(InputError) as caught:
        check_pictures(plan, None, None, None)
    assert str(caught.value) == (
        f"{precision} needs calibration images: pass a folder of typical pictures (--calibrate DIR)"
    )


def test_a_budget_needs_pictures_to_measure_it_on() -> None:
    plan = Plan("onnx", "fp16")
    check_pictures(plan, None, "eval", 1.0)
    with pytest.raises(InputError) as caught:
        check_pictures(plan, None, None, 1.0)
    assert str(caught.value) == "max_drop needs labelled pictures to measure the drop on: pass --eval DIR too"


@pytest.mark.parametrize("max_drop", [-0.1, 100.5, float("nan"), float("inf")])
def test_a_budget_is_points(max_drop: float) -> None:
    for fine in (0, 0.5, 100):
        check_pictures(Plan("onnx", "fp32"), None, "eval", fine)
    with pytest.raises(InputError) as caught:
        check_pictures(Plan("onnx", "fp32"), None, "eval", max_drop)
    assert str(caught.value) == f"max_drop must be percentage points, 0 to 100; received {max_drop:g}"


@pytest.mark.parametrize(
    ("precision", "max_drop"), [("int8", None), ("mixed", None), ("int16x8", 1.0), ("fp32", 1.0), ("dynamic", 0.0)]
)
def test_training_pictures_serve_the_search(precision: str, max_drop: float | None) -> None:
    check_pictures(Plan("tflite", "int8"), "pictures", "eval", 0.0, "lessons")
    check_pictures(Plan("tflite", "mixed"), "pictures", "eval", 0.5, "lessons")
    with pytest.raises(InputError) as caught:
        check_pictures(Plan("tflite", precision), "pictures", "eval", max_drop, "lessons")
    assert str(caught.value) == (
        "training pictures serve the search for int8 or mixed within a budget: pass --precision int8, --eval DIR and "
        "--max-drop too"
    )


# -- recipe and layers in float ----------------------------------------------------------------------------------


def test_what_is_made_of_them() -> None:
    assert check_recipe(Plan("onnx", "int8"), None, (), None).to_dict() == {}
    assert check_recipe(Plan("onnx", "mixed"), None, ["a", "b"], None).float_layers == ("a", "b")
    own = Recipe(estimator="mse")
    assert check_recipe(Plan("onnx", "int8"), own, (), None) is own
    kept = Recipe(float_layers=("a",))
    assert check_recipe(Plan("onnx", "mixed"), kept, (), None) is kept
    for precision in ("int8", "mixed"):
        assert check_recipe(Plan("onnx", precision), None, (), 0.5).to_dict() == {}
    # Where nothing is searched, a budget is checked, and the way to the artefact is the caller's.
    assert check_recipe(Plan("tflite", "int16x8"), own, (), 0.5) is own


@pytest.mark.parametrize("precision", ["fp32", "fp16", "dynamic"])
def test_a_recipe_is_for_integers(precision: str) -> None:
    with pytest.raises(InputError) as caught:
        check_recipe(Plan("onnx", precision), Recipe(), (), None)
    assert str(caught.value) == f"a recipe is for int8, int16x8 and mixed; received precision {precision}"


@pytest.mark.parametrize("precision", ["fp32", "int8", "dynamic"])
def test_float_layers_are_for_mixed(precision: str) -> None:
    with pytest.raises(InputError) as caught:
        check_recipe(Plan("onnx", precision), None, ("a",), None)
    assert str(caught.value) == f"layers stay in float in precision mixed only; received precision {precision}"


def test_mixed_needs_a_word_on_what_stays_in_float() -> None:
    for recipe in (None, Recipe(estimator="mse")):
        with pytest.raises(InputError) as caught:
            check_recipe(Plan("onnx", "mixed"), recipe, (), None)
        assert str(caught.value) == (
            "mixed needs to know what stays in float: name layers (--float-layers A,B), or give a budget to search "
            "within (--eval DIR --max-drop PT)"
        )


@pytest.mark.parametrize("precision", ["int8", "mixed"])
def test_a_search_chooses_itself(precision: str) -> None:
    for recipe, layers in ((None, ("a",)), (Recipe(), ()), (Recipe(float_layers=("a",)), ())):
        with pytest.raises(InputError) as caught:
            check_recipe(Plan("onnx", precision), recipe, layers, 0.5)
        assert str(caught.value) == (
            "with max_drop the search chooses: leave out float_layers and recipe (--float-layers)"
        )


def test_layers_are_named_in_one_place() -> None:
    with pytest.raises(InputError, match="^pass either float_layers or a recipe with float_layers, not both$"):
        check_recipe(Plan("onnx", "mixed"), Recipe(), ("a",), None)
