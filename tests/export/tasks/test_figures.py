"""How far results agree, worked by hand; which decoder is chosen, and what an artefact may leave to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.models.registry import Preprocessing
from edgecv_export.plan import Plan
from edgecv_export.tasks import Compared, choose_decoder, split_outputs, task_names, task_of
from edgecv_export.tasks.matched_boxes import matches
from edgecv_runtime.errors import CheckFailedError, InputError, UnsupportedError
from edgecv_runtime.manifest import DecoderSpec, TensorSpec
from edgecv_runtime.results import Anomaly, Detections, Pose, Segmentation
from edgecv_runtime.results_picture import Picture

INT8 = Plan("onnx", "int8")
UNIT = Preprocessing(mean=(0.0,) * 3, std=(255.0,) * 3)


def compared(*pairs: tuple[Any, Any], answers: Any = 0.0, wanted: Any = 0.0, plan: Plan = INT8) -> Compared:
    return Compared(plan, ("o",), (np.float32(answers),), (np.float32(wanted),), lambda: pairs)


def objects(*rows: tuple[float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 5)
    scores = np.linspace(0.9, 0.5, len(table), dtype=np.float32)
    return Detections(table[:, :4].astype(np.float32), scores, table[:, 4].astype(np.int64))


def test_matched_boxes() -> None:
    one = objects((0, 0, 10, 10, 0), (20, 20, 30, 30, 1))
    assert matches(one, one) == 2
    assert matches(one, objects((0, 0, 10, 20, 0), (20, 20, 30, 41, 1))) == 1  # overlaps of 100/200 and 100/210
    assert matches(one, objects((0, 0, 10, 10, 1))) == 0  # another class
    assert matches(objects((0, 0, 10, 10, 0), (0, 0, 10, 10, 0)), objects((0, 0, 10, 10, 0))) == 1  # one pair each
    assert matches(one, objects()) == 0


def test_agreement_of_each_task() -> None:
    one = objects((0, 0, 10, 10, 0), (20, 20, 30, 30, 1))
    figures = task_of("detection").figures(compared((one, one), (one, objects()), (objects(), objects())))
    assert figures == {"agreement": pytest.approx(4 / 6), "objects": 2}
    assert task_of("detection").figures(compared((objects(), objects())))["agreement"] is None
    masks = [np.array([[0, 1], [2, value]], np.uint8) for value in (2, 0)]
    pair = (Segmentation(masks[0]), Segmentation(masks[1]))
    assert task_of("segmentation").figures(compared(pair)) == {"agreement": 0.75}
    points = [Pose(np.float32([[0, 0], [x, y]]), np.float32([1, 1])) for x, y in ((3, 4), (0, 0))]
    assert task_of("pose").figures(compared((points[0], points[1])))["keypoint_distance"] == pytest.approx(2.5)
    maps = [Anomaly(np.zeros((2, 2), np.float32), score) for score in (0.5, 0.2)]
    assert task_of("anomaly").figures(compared((maps[0], maps[1])))["score_difference"] == pytest.approx(0.3)
    paintings = [Picture(np.full((2, 2, 3), value, np.uint8)) for value in (7, 10)]
    assert task_of("image").figures(compared((paintings[0], paintings[1])))["pixel_difference"] == 3


def test_scores_that_are_further_off_than_they_vary_are_refused() -> None:
    wanted = np.float32([[[[0, 2]]]])  # variance 1
    task = task_of("segmentation")
    task.check(compared(answers=wanted + 0.9, wanted=wanted))
    with pytest.raises(CheckFailedError, match="error .mean square 1.21. is larger than .* vary by .1."):
        task.check(compared(answers=wanted + 1.1, wanted=wanted))


def specs(**shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, (1, *shape), "float32") for name, shape in shapes.items())


def test_usual_decoders() -> None:
    def usual(task: str, *shape: int) -> DecoderSpec:
        return choose_decoder(task, None, specs(o=shape), UNIT)[1]

    assert usual("segmentation", 4, 4, 3) == DecoderSpec("segmentation", {"layout": "NHWC"})
    assert usual("pose", 4, 4, 14) == DecoderSpec("heatmap-pose", {"layout": "NHWC"})
    assert usual("pose", 28).name == "regression-pose"
    assert usual("anomaly", 4, 4, 3).parameters == {"mean": [0.0] * 3, "std": [255.0] * 3}
    for task, shape, message in (
        ("segmentation", (4,), "must give .N, height, width, classes.; received"),
        ("pose", (27,), "2 x keypoints"),
        ("anomaly", (4,), "must rebuild its input"),
        ("detection", (4, 4), r"decoder=\('ssd', .*its outputs are o \[1, 4, 4\]"),
        ("image", (4, 4, 3), "what a value of the picture .* stands for must be said"),
    ):
        with pytest.raises(InputError, match=message):
            usual(task, *shape)
    with pytest.raises(UnsupportedError, match="a segmentation model has one output; received 2 .a, b."):
        choose_decoder("segmentation", None, specs(a=(4, 4, 3), b=(4, 4, 3)), UNIT)


def test_given_decoders() -> None:
    outputs = specs(boxes=(9, 4), scores=(9, 3))
    task, spec = choose_decoder(None, ("ssd", {"outputs": {}}), outputs, UNIT)
    assert (task, spec) == ("detection", DecoderSpec("ssd", {"outputs": {}}))
    with pytest.raises(InputError, match="decoder 'ssd' reads detection models; received task 'pose'"):
        choose_decoder("pose", ("ssd", {}), outputs, UNIT)
    with pytest.raises(InputError, match="decoder must be one of .*; received 'sdd'"):
        choose_decoder(None, ("sdd", {}), outputs, UNIT)


def test_what_is_left_to_the_device() -> None:
    roles = {"outputs": {"boxes": "b", "scores": "s"}}
    assert split_outputs(DecoderSpec("ssd", roles), ["b", "s"]) == {"s": ("sigmoid", "softmax")}
    assert split_outputs(DecoderSpec("ssd", {**roles, "activation": "sigmoid"}), ["b", "s"]) == {}  # logits already
    assert split_outputs(DecoderSpec("blazeface", roles), ["b", "s"]) == {}  # its usual activation is a sigmoid
    assert split_outputs(DecoderSpec("classification"), ["o"]) == {"o": ("softmax", "sigmoid")}
    assert split_outputs(DecoderSpec("anomaly"), ["o"]) == {"o": ("sigmoid",)}
    assert split_outputs(DecoderSpec("embedding"), ["o"]) == {}
    assert split_outputs(DecoderSpec("yolov8"), ["o"]) == {}  # finishes a part of its output


def test_every_task_has_its_file() -> None:
    for name in task_names():
        assert task_of(name).name == name
    with pytest.raises(UnsupportedError, match="received task 'sound'"):
        task_of("sound")
